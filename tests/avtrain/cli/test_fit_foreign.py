"""Tars that stock webdataset wrote, in the habits of public tools, indexed and trained on."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
import soundfile
import webdataset
from click.testing import CliRunner
from flash_and_beep import Movie, make

from avdata.cli import main as avdata
from avtrain.cli import main as avtrain

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SOUND_ALONE = (
    "avid.audio.input=spectrogram",
    "avid.audio.num_bins=129",
    "data.split=",
    "schedule.max_steps=3",
)


def sound(form: str, seconds: float, hz: float) -> bytes:
    out = io.BytesIO()
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 44100)) / 44100)
    soundfile.write(out, wave, 44100, format=form)
    return out.getvalue()


def jpeg(shade: int) -> bytes:
    return simplejpeg.encode_jpeg(np.full((48, 64, 3), shade % 256, np.uint8))


def video2dataset(tmp_path: Path) -> Iterator[dict[str, object]]:
    """mp4, txt and json a sample, nine digits as key."""
    movies = [make(tmp_path / f"m{i}", Movie(bframes=i % 3)) for i in range(3)]
    for i in range(8):
        facts = {"url": f"https://example.org/{i}", "key": f"{i:09d}", "status": "success"}
        yield {
            "__key__": f"{i:09d}",
            "mp4": movies[i % 3].read_bytes(),
            "txt": "a caption",
            "json": facts,
        }


def pictures_and_sound(tmp_path: Path) -> Iterator[dict[str, object]]:
    """jpg, wav and cls a sample, in folders, as image-sound sets have them."""
    for i in range(8):
        key = f"n0{i % 2}.v1/{i}"
        yield {"__key__": key, "jpg": jpeg(30 * i), "wav": sound("WAV", 2, 200 + i), "cls": i % 2}


def numbered_frames(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Frames that were taken at 8 a second, with flac."""
    for i in range(8):
        frames = {f"{k:04d}.jpg": jpeg(10 * k + i) for k in range(16)}
        yield {"__key__": f"v{i}", **frames, "flac": sound("FLAC", 2, 300), "json": {"label": "x"}}


def audioset(tmp_path: Path) -> Iterator[dict[str, object]]:
    """ID_SECONDS.mp4, with dots, blanks and brackets in keys, and info.json beside it."""
    movie = make(tmp_path / "m", Movie(bframes=2)).read_bytes()
    for i in range(8):
        key = f"-id{i}_{10 * i}.000" if i % 2 else f"Track {i}.0 (Clean)"
        yield {"__key__": key, "mp4": movie, "info.json": {"labels": ["a", i]}}


@pytest.mark.parametrize(
    ("habit", "options", "codec"),
    [
        (audioset, (), "copy"),
        (video2dataset, (), "copy"),
        (pictures_and_sound, (), "jpeg"),
        (numbered_frames, ("--fps", "8"), "jpeg"),
    ],
)
def test_foreign_tars_are_trained_on(
    habit: object, options: tuple[str, ...], codec: str, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    pattern = str(folder / "%05d.tar")
    with webdataset.ShardWriter(pattern, maxcount=3, verbose=0) as writer:
        for sample in habit(tmp_path):  # type: ignore[operator]
            writer.write(sample)
    indexed = CliRunner().invoke(avdata, ["index", str(folder), *options, "--json"])
    assert indexed.exit_code == 0, indexed.output
    facts = json.loads(indexed.stdout.splitlines()[-1])
    assert (facts["ok"], facts["tars"], facts["frames"]) == (8, 3, codec)
    out = tmp_path / "run"
    sets = [part for text in (*tiny_run, *SOUND_ALONE) for part in ("--set", text)]
    trained = CliRunner().invoke(
        avtrain, ["fit", str(folder), "--out", str(out), "--device", "cpu", *sets, "--json"]
    )
    assert trained.exit_code == 0, trained.output
    facts = json.loads(trained.stdout.splitlines()[-1])
    assert facts["steps"] == 3
    assert np.isfinite(facts["loss"])
    evaluated = CliRunner().invoke(
        avtrain, ["eval", str(out), str(folder), "--task", "retrieval", "--device", "cpu", "--json"]
    )
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(evaluated.stdout)["num_samples"] == 8


def test_a_picture_that_does_not_decode_names_its_sample(
    tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    """Its packets are there, its times are known, and its data are not what they were."""
    movie = make(tmp_path / "m", Movie(suffix=".mkv")).read_bytes()
    with av.open(io.BytesIO(movie)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    broken = bytearray(movie)
    for at, size in places[5:]:
        broken[at + 20 : at + size] = bytes(max(size - 20, 0))
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(6):
            writer.write({"__key__": f"k{i}", "mkv": bytes(broken) if i == 3 else movie})
    assert CliRunner().invoke(avdata, ["index", str(tmp_path)]).exit_code == 0
    settings = (*tiny_run, *SOUND_ALONE, "data.max_bad_share=0")
    sets = [part for text in settings for part in ("--set", text)]
    trained = CliRunner().invoke(
        avtrain,
        ["fit", str(tmp_path), "--out", str(tmp_path / "run"), "--device", "cpu", *sets],
        prog_name="avtrain",
    )
    assert trained.exit_code == 2, trained.output
    assert "of sample k3 in" in trained.stderr
    assert "a.tar cannot be decoded" in trained.stderr
