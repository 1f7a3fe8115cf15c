"""`avdata index` on tars of stock webdataset: every form, times on one clock, all rejects."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
import soundfile
import webdataset
from click.testing import CliRunner, Result
from flash_and_beep import BEEP_S, EVENTS_S, FLASH_S, MOVIES, make
from PIL import Image

from avdata import ShardSet
from avdata.cli import main
from avdata.schema import AudioSpec
from avdata.shards.foreign_sound import read_foreign_sound

RATE_HZ = 24000


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["index", *map(str, arguments)], prog_name="avdata")


def write_tar(path: Path, samples: Mapping[str, Mapping[str, object]]) -> Path:
    """A tar as the webdataset package writes it, encoders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for key, members in samples.items():
            writer.write({"__key__": key, **members})
    return path


def index(directory: Path, *options: object) -> tuple[ShardSet, dict[str, object]]:
    done = invoke(directory, "--json", *options)
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    return ShardSet(facts["out"]), facts


def rejects(shards: ShardSet) -> dict[str, tuple[str, str]]:
    return {row["key"]: (row["reason"], row["message"]) for row in shards.rejects.to_pylist()}


def tone(seconds: float, rate: int = 44100, channels: int = 1, hz: float = 440.0) -> np.ndarray:
    """float (n, c)."""
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def sound(form: str, seconds: float, rate: int = 44100, channels: int = 1) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone(seconds, rate, channels), rate, format=form)
    return out.getvalue()


def jpeg(shade: int, size: tuple[int, int] = (48, 64)) -> bytes:
    return simplejpeg.encode_jpeg(np.full((*size, 3), shade, np.uint8))


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


def starts(on: np.ndarray, step_s: float) -> np.ndarray:
    return np.flatnonzero(np.diff(np.concatenate([[0], on.astype(int)])) == 1) * step_s


# videos


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("movies")
    return {name: make(folder / f"m{i}", movie) for i, (name, movie) in enumerate(MOVIES.items())}


def test_flash_and_beep_stay_together(movies: dict[str, Path], tmp_path: Path) -> None:
    samples = {
        f"clip{i:02d}": {path.suffix[1:]: path.read_bytes(), "json": {"name": name}, "txt": name}
        for i, (name, path) in enumerate(movies.items())
        if path.suffix != ".ts"
    }
    write_tar(tmp_path / "a.tar", samples)
    shards, facts = index(tmp_path)
    assert (facts["ok"], facts["samples"], facts["frames"]) == (12, 12, "copy")
    for sample, key in enumerate(shards.keys):
        row = shards.manifest.slice(sample, 1).to_pylist()[0]
        frames = shards.read_frames(sample, range(row["num_frames"]))
        assert frames.shape[1:3] == (256, 384)
        lit = frames.mean((1, 2, 3)) > 120
        heard = np.abs(shards.read_audio(sample)[0].astype(int))
        events = np.array(EVENTS_S) - row["decoded_start_s"]
        flashes = starts(lit, 1 / 16)
        assert np.abs(flashes - events).max() <= 1 / 16 + 1 / 30, key
        beeps = starts(_envelope(heard) > 6000, 1 / RATE_HZ)
        assert np.abs(beeps - events).max() <= 0.005, key
        assert row["num_frames"] == len(row["frame_times_s"])
        assert shards.read_meta(sample) == {"name": samples[key]["txt"]}
    assert FLASH_S > BEEP_S


def _envelope(wave: np.ndarray) -> np.ndarray:
    """Maximum over the next 2 ms."""
    return np.max([np.roll(wave, -k) for k in range(0, 48, 4)], axis=0)


def test_times_by_packets_are_those_of_decoded_pictures(
    movies: dict[str, Path], tmp_path: Path
) -> None:
    samples = {f"c{i}": {p.suffix[1:]: p.read_bytes()} for i, p in enumerate(movies.values())}
    del samples["c12"]  # MPEG-TS
    write_tar(tmp_path / "in" / "a.tar", samples)
    by_packets, _ = index(tmp_path / "in", "--out", tmp_path / "one")
    by_decoding, _ = index(tmp_path / "in", "--out", tmp_path / "two", "--decode")
    for one, two in zip(
        by_packets.manifest.read().to_pylist(), by_decoding.manifest.read().to_pylist(), strict=True
    ):
        assert (one.pop("num_corrupt_frames"), two.pop("num_corrupt_frames")) == (None, 0)
        assert one == two


def test_native_rates_differ_from_row_to_row(movies: dict[str, Path], tmp_path: Path) -> None:
    names = ("30 fps", "29.97 fps", "7 fps")
    write_tar(
        tmp_path / "a.tar", {f"c{i}": {"mp4": movies[n].read_bytes()} for i, n in enumerate(names)}
    )
    shards, _ = index(tmp_path, "--fps", "native", "--short-side", 32)
    assert shards.spec.video is not None
    assert shards.spec.video.fps == "native"
    rates = shards.manifest["frame_fps"].to_pylist()
    assert rates == pytest.approx([30, 30000 / 1001, 7], rel=1e-4)
    assert shards.read_frames(2, [0, 3]).shape == (2, 32, 48, 3)


def test_sound_beside_the_video_wins_over_the_sound_in_it(
    movies: dict[str, Path], tmp_path: Path
) -> None:
    beside = sound("WAV", 3.0, 16000)
    write_tar(tmp_path / "a.tar", {"c": {"mp4": movies["30 fps"].read_bytes(), "wav": beside}})
    shards, _ = index(tmp_path)
    row = shards.manifest.read().to_pylist()[0]
    assert (row["native_sample_rate_hz"], row["audio_codec"]) == (16000, "pcm_s16le")
    assert row["duration_s"] == pytest.approx(3.0)
    assert shards.read_bytes(0, "audio") == beside


# pictures


def test_numbered_pictures_with_each_form_of_sound(tmp_path: Path) -> None:
    forms = {
        "flac": sound("FLAC", 2.0, 44100, 2),
        "wav": sound("WAV", 2.0, 8000),
        "ogg": sound("OGG", 2.0),
        "mp3": sound("MP3", 2.0),
        "npy": tone(2.0, 44100).T.astype(np.float32),
        "m4a": encoded_aac(2.0),
    }
    samples = {
        f"c.{suffix}".replace(".", "-"): {
            **{f"{k:04d}.jpg": jpeg(10 * k) for k in range(8)},
            suffix: data,
            "cls": 3,
        }
        for suffix, data in forms.items()
    }
    write_tar(tmp_path / "train" / "a.tar", samples)
    shards, facts = index(tmp_path, "--fps", 4, "--npy-rate", 44100)
    assert (facts["ok"], facts["frames"]) == (6, "jpeg")
    assert shards.spec.labels == ("3",)
    table = shards.manifest.read()
    assert set(table["split"].to_pylist()) == {"train"}
    for sample, key in enumerate(shards.keys):
        frames = shards.read_frames(sample, [6, 2, 2])
        assert frames.mean((1, 2, 3)) == pytest.approx([60, 20, 20], abs=1.5), key
        wave = shards.read_audio(sample, 4000, 44000)[0].astype(float)
        assert len(wave) == 40000
        assert np.sqrt((wave**2).mean()) == pytest.approx(0.5 * 32768 / 2**0.5, rel=0.05), key
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert np.argmax(spectrum) * RATE_HZ / len(wave) == pytest.approx(440, abs=1)


def encoded_aac(seconds: float) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        wave = np.ascontiguousarray(tone(seconds).T.astype(np.float32))
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def test_one_picture_stands_for_the_whole_sound(tmp_path: Path) -> None:
    samples = {
        "a.b/c": {"jpg": jpeg(70), "wav": sound("WAV", 2.5), "cls": 0},
        "d/e": {"png": png(90), "wav": sound("WAV", 1.5), "cls": 1},
    }
    write_tar(tmp_path / "x.tar", samples)
    shards, _ = index(tmp_path)
    assert shards.keys == ["a.b/c", "d/e"]
    table = shards.manifest.read()
    assert table["num_frames"].to_pylist() == [1, 1]
    assert (1 / np.array(table["frame_fps"])).tolist() == pytest.approx([2.5, 1.5])
    assert [int(shards.read_frames(s, [0]).mean()) for s in (0, 1)] == pytest.approx(
        [70, 90], abs=1
    )


def test_sets_of_one_field(tmp_path: Path) -> None:
    write_tar(tmp_path / "s" / "a.tar", {"k": {"flac": sound("FLAC", 1.0), "txt": "dog"}})
    shards, facts = index(tmp_path / "s", "--fields", "audio")
    assert shards.spec.fields == ("audio",)
    assert shards.spec.labels == ("dog",)
    assert shards.read_audio(0).shape == (1, 24000)
    write_tar(tmp_path / "p" / "a.tar", {"k": {"jpg": jpeg(9), "json": {"label": "cat"}}})
    shards, facts = index(tmp_path / "p", "--fields", "frames")
    assert facts["ok"] == 1
    assert shards.manifest["labels"].to_pylist() == [["cat"]]


# sound


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("form", ["FLAC", "WAV"])
def test_windows_of_sound_are_those_of_the_whole(form: str, rate: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (rate * 9, 2))
    out = io.BytesIO()
    soundfile.write(out, noise, rate, format=form)
    spec = AudioSpec(layout="stereo")

    def read(start: int, stop: int) -> np.ndarray:
        return read_foreign_sound(out.getvalue(), spec, start, stop, start_s=0.25, npy_rate_hz=1)

    whole = read(0, 9 * RATE_HZ).astype(int)
    assert whole.shape == (2, 9 * RATE_HZ)
    assert (whole[:, round(8.76 * RATE_HZ) :] == 0).all()
    for start in (0, 1, 777, 8 * RATE_HZ - 5):
        window = read(start, start + 3000)
        assert np.abs(window - whole[:, start : start + 3000]).max() <= 1
    if rate == RATE_HZ:
        first = np.clip(np.round(noise[6000:6100].T * 32768), -32768, 32767)
        assert np.abs(whole[:, :100] - first).max() <= 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"#EXTM3U\nhttp://127.0.0.1/x", "neither an .npy array nor a container"),
        (b"RIFF\0\0\0\0WAVEjunk", "Invalid data|End of file"),
        (b"\x93NUMPY\x01\x00", "reading array header"),
    ],
)
def test_what_is_no_sound(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_foreign_sound(data, AudioSpec(), 0, 100, start_s=0.0, npy_rate_hz=8000)


# keys, sources, labels, rejects


def test_every_sample_is_in_one_table_with_its_reason(
    movies: dict[str, Path], tmp_path: Path
) -> None:
    movie = movies["30 fps"].read_bytes()
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(movie)
    samples: dict[str, dict[str, object]] = {
        "good": {"mp4": movie, "json": {"id": "a"}},
        "again": {"mp4": movie, "json": {"id": "a"}},
        "no-video": {"txt": "nothing", "json": {"id": "b"}},
        "no-id": {"mp4": movie, "json": {"url": "c"}},
        "no-facts": {"mp4": movie, "json": b"{"},
        "two": {"mp4": movie, "mkv": movie, "json": {"id": "d"}},
        "playlist": {"mp4": f"#EXTM3U\n{secret}\n".encode(), "json": {"id": "e"}},
        "cut": {"mp4": movies["mov"].read_bytes()[:3000], "json": {"id": "f"}},
        "silent": {"webm": video_alone(), "json": {"id": "g"}},
        "short": {"mp4": movie, "wav": sound("WAV", 0.2), "json": {"id": "h"}},
        "rateless": {"mp4": movie, "npy": np.zeros(9), "json": {"id": "i"}},
    }
    write_tar(tmp_path / "in" / "a.tar", samples)
    shards, facts = index(tmp_path / "in", "--source", "id")
    assert facts["samples"] == len(samples)
    assert shards.keys == ["good", "again"]
    assert shards.manifest["source_index"].to_pylist() == [0, 0]
    assert shards.manifest["clip_index"].to_pylist() == [0, 1]
    expected = {
        "no-video": ("no_audio", "no sound among its members ['json', 'txt']"),
        "no-id": ("malformed_line", "names no source as 'id'; it has ['url']"),
        "no-facts": ("malformed_line", "its json member is no JSON"),
        "two": ("duplicate", "members mp4, mkv could all be the video; keep one"),
        "playlist": ("format_not_allowed", "none of the containers mp4"),
        "cut": ("not_media", "its media cannot be read"),
        "silent": ("no_audio", "webm has no sound"),
        "short": ("too_short", "together last 0.200 s; --min-duration is 0.5"),
        "rateless": ("audio_undecodable", "give it as --npy-rate"),
    }
    found = rejects(shards)
    assert found.keys() == expected.keys()
    for key, (reason, text) in expected.items():
        assert found[key][0] == reason
        assert text in found[key][1]
    rows = [*shards.manifest["row_index"].to_pylist(), *shards.rejects["row_index"].to_pylist()]
    assert sorted(rows) == list(range(len(samples)))


def video_alone() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(10):
            picture = np.full((48, 64, 3), 20 * k, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def test_a_movie_that_breaks_off_is_rejected(tmp_path: Path) -> None:
    """The header of a fast-start file is whole when the rest is not."""
    path = tmp_path / "movie.mp4"  # its header moves to the front, which needs a file
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    write_tar(tmp_path / "a.tar", {"whole": {"mp4": data}, "half": {"mp4": data[: len(data) // 2]}})
    shards, _ = index(tmp_path, "--fields", "frames")
    assert shards.keys == ["whole"]
    assert rejects(shards)["half"][0] == "truncated"
    assert "its header says 4.000 s" in rejects(shards)["half"][1]


@pytest.mark.parametrize(
    ("option", "labels"),
    [
        ("auto", [["7"], ["x", "y"], ["z"], []]),
        ("cls", [["7"], [], [], []]),
        ("txt", [["words"], [], ["z"], ["a caption"]]),
        ("kind", [[], ["k"], [], []]),
        ("none", [[], [], [], []]),
    ],
)
def test_labels(option: str, labels: list[list[str]], tmp_path: Path) -> None:
    picture = {"jpg": jpeg(1)}
    samples: dict[str, dict[str, object]] = {
        "a": {**picture, "cls": 7, "txt": "words"},
        "b": {**picture, "json": {"labels": ["x", "y"], "kind": "k"}},
        "c": {**picture, "txt": "z\n"},
        "d": {**picture, "json": {"caption": "q"}, "txt": "a caption"},
    }
    write_tar(tmp_path / "a.tar", samples)
    shards, _ = index(tmp_path, "--fields", "frames", "--label", option)
    assert shards.manifest["labels"].to_pylist() == labels
    assert shards.spec.labels == tuple(sorted({label for row in labels for label in row}))


def test_labels_that_are_captions(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"a": {"jpg": jpeg(1), "txt": "w " * 150}, "b": {"jpg": jpeg(1)}})
    shards, _ = index(tmp_path, "--fields", "frames")
    assert "has 299 characters" in rejects(shards)["a"][1]
    assert "--label none" in rejects(shards)["a"][1]


def test_keys_that_repeat_from_tar_to_tar(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_tar(tmp_path / f"{name}.tar", {"0": {"jpg": jpeg(1)}, "1": {"jpg": jpeg(2)}})
    write_tar(tmp_path / "c.tar", {"9": {"jpg": jpeg(1)}})
    with tarfile.open(tmp_path / "c.tar", "a") as tar:  # apart from its json
        for name in ("x.json", "9.json", "9.txt"):
            tar.addfile(_entry(name, b"{}"), io.BytesIO(b"{}"))
    shards, _ = index(tmp_path, "--fields", "frames")
    assert shards.keys == ["0", "1", "b/0", "b/1", "9"]
    assert shards.manifest["source_index"].to_pylist() == [0, 1, 2, 3, 4]
    reasons = [(r["key"], r["reason"], r["members"]) for r in shards.rejects.to_pylist()]
    assert reasons == [
        ("x", "no_video", ["x.json"]),
        ("9", "not_adjoining", ["9.json", "9.txt"]),
    ]


def _entry(name: str, data: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    return entry


def test_pictures_that_cannot_be_a_clip(tmp_path: Path) -> None:
    samples: dict[str, dict[str, object]] = {
        "good": {f"{k}.jpg": jpeg(k) for k in range(8)},
        "sizes": {"0.jpg": jpeg(1), "1.jpg": jpeg(1, (32, 32))},
        "twice": {"1.jpg": jpeg(1), "01.jpg": jpeg(1)},
        "none": {"0.jpg": b"GIF89a", "1.jpg": jpeg(1)},
    }
    write_tar(tmp_path / "a.tar", samples)
    unordered = {"b.2.jpg": jpeg(2), "b.1.jpg": jpeg(1)}
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for name, data in unordered.items():
            tar.addfile(_entry(name, data), io.BytesIO(data))
    shards, _ = index(tmp_path, "--fields", "frames", "--fps", 8)
    assert shards.keys == ["good"]
    texts = {key: message for key, (_, message) in rejects(shards).items()}
    assert "sizes [(32, 32), (64, 48)]" in texts["sizes"]
    assert "are picture 1; number" in texts["twice"]
    assert "neither JPEG nor PNG" in texts["none"]
    assert "in the order of their numbers" in texts["b"]
    done = invoke(tmp_path, "--fields", "frames", "--fps", "native", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout.splitlines()[-1])["ok"] == 0
    assert "give the one they were taken at as --fps" in str(rejects(ShardSet(tmp_path))["good"])


# avdata verify


def verify(directory: Path, *options: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(main, ["verify", str(directory), "--json", *options])
    facts = json.loads(done.stdout.splitlines()[-1])
    return done.exit_code, [
        f"{p['where']}: {p['seen']}; expected {p['expected']}" for p in facts["problems"]
    ]


def test_verify_reads_every_sample_of_an_index(movies: dict[str, Path], tmp_path: Path) -> None:
    movie = movies["mkv"].read_bytes()
    tar = write_tar(tmp_path / "a.tar", {"a": {"mkv": movie}, "b": {"mkv": movie}})
    write_tar(tmp_path / "b.tar", {"c": {"mkv": movie}})
    shards, _ = index(tmp_path)
    assert verify(tmp_path) == (0, [])
    data = bytearray(tar.read_bytes())
    start: int = shards.manifest["frames_offset_bytes"][1].as_py()
    data[start + 2000 : start + len(movie)] = bytes(len(movie) - 2000)
    tar.write_bytes(data)
    assert verify(tmp_path, "--quick") == (0, [])
    code, problems = verify(tmp_path)
    assert code == 1
    assert len(problems) == 1
    assert problems[0].startswith("b: does not decode (frame")
    tar.write_bytes(data + bytes(512))
    (tmp_path / "b.tar").unlink()
    code, problems = verify(tmp_path)
    assert code == 1
    again = "run `avdata index` again"
    assert problems == [
        f"a.tar: {len(data) + 512} bytes; expected {len(data)} as indexed; {again}",
        f"b.tar: no such file; expected a tar; {again}",
    ]


def test_an_index_is_not_repaired(tmp_path: Path) -> None:
    """A file beside a foreign tar is no sidecar of ours, whatever its name."""
    write_tar(tmp_path / "a.tar", {"a": {"jpg": jpeg(1)}})
    (tmp_path / "a.json").write_text("not ours")
    index(tmp_path, "--fields", "frames")
    (tmp_path / "a.tar").write_bytes(b"")
    done = CliRunner().invoke(main, ["verify", str(tmp_path), "--repair"], prog_name="avdata")
    refused(done, "is an index of tars that others made", "run `avdata index` again")
    assert (tmp_path / "a.json").exists()
    assert (tmp_path / "dataset.json").exists()


# the command


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    folder = tmp_path / "stills"
    write_tar(
        folder / "0.tar", {str(k): {"jpg": jpeg(k), "wav": sound("WAV", 1)} for k in range(3)}
    )
    return folder


def test_an_index_is_made_anew_and_tars_stay_as_they_are(stills: Path, tmp_path: Path) -> None:
    before = (stills / "0.tar").read_bytes()
    index(stills)
    names = {"0.tar", "manifest.parquet", "rejects.parquet", "dataset.json", "build.json"}
    assert names <= {path.name for path in stills.iterdir()}
    index(stills, "--sample-rate", 16000)
    shards, _ = index(stills, "--out", tmp_path / "else" / "where")
    assert shards.manifest["shard"].to_pylist() == ["../../stills/0.tar"] * 3
    assert shards.read_frames(2, [0]).shape == (1, 48, 64, 3)
    assert (stills / "0.tar").read_bytes() == before


def test_the_same_tars_give_the_same_tables(stills: Path, tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        (stills / f"{name}.tar").write_bytes((stills / "0.tar").read_bytes())
    one, _ = index(stills, "--out", tmp_path / "a", "--workers", 1)
    two, _ = index(stills, "--out", tmp_path / "b", "--workers", 3)
    assert one.manifest.read().equals(two.manifest.read())
    assert one.spec == two.spec


def refused(done: Result, *parts: str) -> None:
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("avdata: error: ")
    for part in parts:
        assert part in done.stderr


def test_what_cannot_be_indexed(stills: Path, tmp_path: Path) -> None:
    refused(invoke(tmp_path / "none"), "is no folder; give the folder of WebDataset tars")
    (tmp_path / "empty").mkdir()
    refused(invoke(tmp_path / "empty"), "holds no .tar files")
    refused(invoke(stills, "--fps", "fast"), "video.fps", "fast")
    refused(invoke(stills, "--fields", "frames,logmel"), "fields", "logmel")
    (stills / "1.tar.gz").write_bytes(b"\x1f\x8b")
    refused(invoke(stills), "1.tar.gz is compressed", "Unpack it to .tar")
    (stills / "1.tar.gz").unlink()


def test_nothing_usable_ends_with_3(tmp_path: Path) -> None:
    write_tar(tmp_path / "texts" / "a.tar", {"k": {"txt": "only"}})
    done = invoke(tmp_path / "texts")
    assert done.exit_code == 3
    assert "no sample has both frames and audio; for audio alone give --fields audio" in done.stderr
    assert rejects(ShardSet(tmp_path / "texts"))["k"][0] == "no_audio"


def test_a_set_of_avdata_build_is_not_overwritten(tiny_set: Path) -> None:
    (tiny_set / "build.json").write_text("{}")
    refused(invoke(tiny_set), "holds a build of `avdata build`", "another --out")
