"""`avdata export`: what was stored plays again, and sound and picture stay together."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import webdataset
from flash_and_beep import EVENTS_S, MOVIES, make
from PIL import Image

from avdata import ShardSet, decode_frame

FPS = 16
NAMES = ("B-frames, 29.97 fps, late audio", "late video", "30 fps")
"""One with late sound, one with late pictures, and one with neither."""


@pytest.fixture(scope="module", params=["shorten", "pad"])
def flashes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Flash-and-beep movies, where both streams are there, or padded where one is missing."""
    folder = tmp_path_factory.mktemp(f"flashes_{request.param}")
    (folder / "media").mkdir()
    for number, name in enumerate(NAMES):
        make(folder / "media" / f"movie_{number}", MOVIES[name])
    run = request.getfixturevalue("run")
    done = run(
        *("build", "--source", folder / "media", "--out", folder / "set", "--workers", 0),
        *("--set", "video.short_side_px=64", "--set", f"clips.uncovered={request.param}"),
    )
    assert done.exit_code == 0, done.output
    return ShardSet(folder / "set")


def stored_flashes_s(shards: ShardSet, sample: int) -> list[float]:
    bright = [decode_frame(jpeg).mean() > 120 for jpeg in shards.read_jpegs(sample)]
    return [k / FPS for k in range(1, len(bright)) if bright[k] and not bright[k - 1]]


def starts_s(times_s: np.ndarray, loud: np.ndarray) -> list[float]:
    """Times at which it becomes loud after 0.2 s of quiet."""
    there = times_s[loud]
    return [float(t) for i, t in enumerate(there) if i == 0 or t - there[i - 1] > 0.2]


def played(path: Path) -> tuple[list[float], list[float], int]:
    """Times of flashes and of beeps by the file's own timestamps, and the number of pictures."""
    with av.open(str(path)) as movie:
        pictures = [
            (f.time, f.to_ndarray(format="gray").mean() > 120) for f in movie.decode(video=0)
        ]
    with av.open(str(path)) as movie:
        times, loud = [], []
        for frame in movie.decode(audio=0):
            samples = frame.to_ndarray()
            mono = samples.reshape(-1, len(frame.layout.channels)).T[0]
            mono = samples[0] if frame.format.is_planar else mono
            full_scale = 2 ** (8 * mono.itemsize - 1) if mono.dtype.kind == "i" else 1.0
            times.append(frame.time + np.arange(len(mono)) / frame.sample_rate)
            loud.append(np.abs(mono / full_scale) > 0.1)
    lit = [
        t for (t, on), (_, before) in zip(pictures[1:], pictures, strict=False) if on and not before
    ]
    return lit, starts_s(np.concatenate(times), np.concatenate(loud)), len(pictures)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_flash_and_beep_stay_together(
    suffix: str, flashes: ShardSet, tmp_path: Path, run: Callable
) -> None:
    for sample, key in enumerate(flashes.keys):
        out = tmp_path / f"{key}{suffix}"
        done = run("export", flashes.directory, key, "-o", out)
        assert done.exit_code == 0, done.output
        sound = flashes.read_audio(sample)[0]
        rate_hz = flashes.spec.audio.sample_rate_hz if flashes.spec.audio else 0
        expected_beeps = starts_s(np.arange(len(sound)) / rate_hz, np.abs(sound) > 3276)
        assert len(expected_beeps) == len(EVENTS_S)
        lit, beeps, num_pictures = played(out)
        assert num_pictures == flashes.manifest["num_frames"][sample].as_py()
        assert np.allclose(lit, stored_flashes_s(flashes, sample), atol=0.002)
        assert np.allclose(beeps, expected_beeps, atol=0.01)
        # and so the flash comes within one stored frame, and a source frame, of its beep
        assert np.abs(np.subtract(lit, beeps)).max() < 1 / FPS + 0.07


def test_stored_sound_is_kept_bit_for_bit(built: Path, tmp_path: Path, run: Callable) -> None:
    shards = ShardSet(built)
    stored = shards.read_audio(2)
    for suffix in (".flac", ".wav"):
        out = tmp_path / f"x{suffix}"
        assert run("export", built, shards.keys[2], "-o", out).exit_code == 0
        samples, rate_hz = soundfile.read(out, dtype="int16", always_2d=True)
        assert np.array_equal(samples.T, stored)
        assert rate_hz == 24000
    assert (tmp_path / "x.flac").read_bytes() == shards.read_bytes(2, "audio")
    movie = tmp_path / "x.mkv"
    assert run("export", built, shards.keys[2], "-o", movie).exit_code == 0
    with av.open(str(movie)) as opened:
        assert opened.streams.audio[0].codec_context.name == "flac"
        got = np.concatenate([f.to_ndarray().ravel() for f in opened.decode(audio=0)])
    assert np.array_equal(got, stored[0])


def test_pictures_look_as_stored(built: Path, tmp_path: Path, run: Callable) -> None:
    shards = ShardSet(built)
    key, jpegs = shards.keys[1], shards.read_jpegs(1)
    done = run("export", built, key, "-o", tmp_path / "f_%03d.jpg", "--json")
    facts = json.loads(done.stdout)
    assert facts["frames"] == len(jpegs) == len(facts["files"]) == 12
    assert [Path(name).read_bytes() for name in facts["files"]] == [bytes(j) for j in jpegs]
    assert run("export", built, key, "-o", tmp_path / "one.png", "--frame", 5).exit_code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), decode_frame(jpegs[5]))
    assert run("export", built, key, "-o", tmp_path / "x.mp4").exit_code == 0
    with av.open(str(tmp_path / "x.mp4")) as movie:
        frames = [f.to_ndarray(format="rgb24") for f in movie.decode(video=0)]
        assert movie.streams.video[0].codec_context.color_range == 1
    for frame, jpeg in zip(frames, jpegs, strict=True):
        assert np.abs(frame.astype(int) - decode_frame(jpeg)).mean() < 4


@pytest.mark.parametrize("codec", ["h264", "copy"])
def test_other_frame_codecs(
    codec: str, build: Callable, tmp_path: Path, run: Callable, built: Path
) -> None:
    folder = build(tmp_path / codec, f"frames.codec={codec}")
    key = ShardSet(folder).keys[3]
    assert run("export", folder, key, "-o", tmp_path / "x.mp4").exit_code == 0
    assert run("export", folder, key, "-o", tmp_path / "x_%d.jpg").exit_code == 0
    reference = [decode_frame(jpeg).astype(int) for jpeg in ShardSet(built).read_jpegs(3)]
    with av.open(str(tmp_path / "x.mp4")) as movie:
        frames = [f.to_ndarray(format="rgb24") for f in movie.decode(video=0)]
    assert len(frames) == len(reference) == len(list(tmp_path.glob("x_*.jpg")))
    assert max(np.abs(a - b).mean() for a, b in zip(frames, reference, strict=True)) < 10


def test_ambisonics_play_as_two_channels_and_are_kept_in_mkv(tmp_path: Path) -> None:
    """A source on the left is loud on the left."""
    from avdata.shards.export_movie import MovieContent, encode_movie

    tone = (8000 * np.sin(np.arange(24000) * 0.1)).astype(np.int16)
    w_y_z_x = np.stack([tone, tone, 0 * tone, 0 * tone], 1)
    flac = io.BytesIO()
    soundfile.write(flac, w_y_z_x, 24000, format="FLAC", subtype="PCM_16")
    content = MovieContent(
        pictures=[np.zeros((34, 33, 3), np.uint8)] * 4,
        width_px=33,
        height_px=34,
        fps=4.0,
        flac=flac.getvalue(),
        num_channels=4,
    )
    encode_movie(tmp_path / "x.mp4", content)
    with av.open(str(tmp_path / "x.mp4")) as movie:
        assert (movie.streams.video[0].width, movie.streams.video[0].height) == (34, 34)
        sound = np.concatenate([f.to_ndarray() for f in movie.decode(audio=0)], 1)
    left, right = np.sqrt(np.mean(np.square(sound), 1))
    assert left == pytest.approx(8000 / 32768 / 2**0.5, rel=0.05)
    assert right < 0.01 * left
    encode_movie(tmp_path / "x.mkv", content)
    with av.open(str(tmp_path / "x.mkv")) as movie:
        assert movie.streams.audio[0].codec_context.layout.nb_channels == 4


def test_tars_of_others(tmp_path: Path, run: Callable) -> None:
    """A movie in somebody's tar comes out in sync, at the rate that it was indexed with."""
    movie = make(tmp_path / "movie", MOVIES["late audio"])
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as tar:
        tar.write({"__key__": "../up/clip", "mp4": movie.read_bytes(), "txt": "a flash"})
    assert run("index", tmp_path).exit_code == 0
    for suffix in ("mp4", "mkv", "flac", "jpg"):
        done = run("export", tmp_path, "--all", "-o", tmp_path / "out" / f"{{key}}.{suffix}")
        assert done.exit_code == 0, done.output
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f".._up_clip.{suffix}" for suffix in ("mp4", "mkv", "flac", "jpg")
    }
    for suffix in ("mp4", "mkv"):
        lit, beeps, _ = played(tmp_path / "out" / f".._up_clip.{suffix}")
        assert len(lit) == len(beeps) == len(EVENTS_S)
        assert np.abs(np.subtract(lit, beeps)).max() < 1 / FPS + 1 / 30


def test_several_samples(built: Path, tmp_path: Path, run: Callable) -> None:
    keys = ShardSet(built).keys
    out = tmp_path / "new" / "{key}.wav"
    assert run("export", built, keys[0], keys[4], "-o", out).exit_code == 0
    assert {p.stem for p in out.parent.iterdir()} == {keys[0], keys[4]}
    assert run("export", built, "--all", "-o", out).exit_code == 0
    assert {p.stem for p in out.parent.iterdir()} == set(keys)


def test_sets_of_some_fields(
    tmp_path: Path, make_tiny_set: Callable[..., Path], run: Callable
) -> None:
    sound = make_tiny_set(tmp_path / "sound", ("audio",))
    done = run("export", sound, "clip_0", "-o", tmp_path / "x.mp4")
    assert done.exit_code == 2
    assert "has no frames of clip_0; its fields are ['audio']" in done.stderr
    silent = make_tiny_set(tmp_path / "silent", ("frames",))
    assert run("export", silent, "clip_0", "-o", tmp_path / "x.mp4").exit_code == 0
    with av.open(str(tmp_path / "x.mp4")) as movie:
        assert not movie.streams.audio
        assert sum(1 for _ in movie.decode(video=0)) == 2
    assert "has no field 'audio'" in run("export", silent, "clip_0", "-o", "x.wav").stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["clip_0", "-o", "x.avi"], "-o x.avi: suffix '.avi' must be one of .mp4, .mov, .mkv"),
        (["clip_0", "-o", "x"], "suffix '' must be one of"),
        (["clip", "-o", "x.mp4"], "has no sample 'clip' among its 3; the closest keys are clip_"),
        (["-o", "x.mp4"], "name samples or give --all"),
        (["clip_0", "--all", "-o", "x.mp4"], "name samples or give --all"),
        (["clip_0", "clip_1", "-o", "x.mp4"], "several samples need {key} in the name"),
        (["clip_0", "-o", "x.png", "--frame", "2"], "--frame 2: clip_0 has frames 0 to 1"),
        (["clip_0", "-o", "x_%d_%d.png"], "2 numbers in the name; one is allowed"),
    ],
)
def test_faults_of_the_caller(
    arguments: list[str], text: str, tiny_set: Path, run: Callable, tmp_path: Path
) -> None:
    done = run("export", tiny_set, *arguments)
    assert done.exit_code == 2
    assert text in done.stderr


def test_ffmpeg_s_own_words_are_told(tmp_path: Path) -> None:
    from avdata.errors import ShardSetError
    from avdata.shards.export_movie import MovieContent, encode_movie

    content = MovieContent(
        pictures=[np.zeros((8, 8, 3), np.uint8)] * 99,
        width_px=8,
        height_px=8,
        fps=4.0,
        flac=b"no flac",
        num_channels=1,
    )
    with pytest.raises(ShardSetError, match=r"x.mp4 cannot be written, FFmpeg says: .*nvalid"):
        encode_movie(tmp_path / "x.mp4", content)
    assert list(tmp_path.iterdir()) == []
