"""A folder of short movies with sound, some of them bad, and how to build it."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avdata.synthetic.movie import write_movie

NUM_GOOD = 22
NUM_BAD = 4


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 movies of a second or two, a silent one, a truncated one, an empty one, and text."""
    folder = tmp_path_factory.mktemp("media") / "made"
    folder.mkdir()
    for i in range(NUM_GOOD):
        rng = np.random.default_rng(i)
        duration_s = float(rng.uniform(1.0, 2.5))
        pictures = rng.integers(0, 255, (round(25 * duration_s), 4, 6, 3), np.uint8)
        n = np.arange(round(16000 * duration_s))
        write_movie(
            folder / f"clip_{i:02d}.mp4",
            frames=(np.kron(p, np.ones((16, 16, 1), np.uint8)) for p in pictures),
            frame_times_s=None,
            fps=Fraction(25),
            sound=(0.2 * np.sin(n * 0.05 * (i + 1))).astype(np.float32)[:, None],
            sample_rate_hz=16000,
        )
    write_movie(
        folder / "silent.mp4",
        frames=(np.zeros((64, 64, 3), np.uint8) for _ in range(25)),
        frame_times_s=None,
        fps=Fraction(25),
        sound=None,
        sample_rate_hz=16000,
    )
    good = (folder / "clip_00.mp4").read_bytes()
    (folder / "clip_07_truncated.mp4").write_bytes(good[: len(good) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no movie\n" * 100)
    return folder


@pytest.fixture(scope="session")
def settings() -> list[str]:
    return ["--set", "shards.clips_per_shard=4", "--set", "video.short_side_px=64"]


@pytest.fixture(scope="session")
def command(media: Path, settings: list[str]) -> Callable[[Path, int], list[str]]:
    """Command line of a build of `media`."""

    def make(out: Path, workers: int) -> list[str]:
        arguments = ["build", "--source", str(media), "--out", str(out), "--json"]
        code = "from avdata.cli import main; main()"
        return [sys.executable, "-c", code, *arguments, "--workers", str(workers), *settings]

    return make


def last_json(output: str) -> dict[str, object]:
    """The object on the last line."""
    value = json.loads(output.strip().splitlines()[-1])
    assert isinstance(value, dict)
    return value


@pytest.fixture(scope="session")
def run() -> Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]:
    """Run a command to its end, with its output."""
    return lambda command: subprocess.run(command, capture_output=True, text=True, timeout=170)


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    command: Callable[[Path, int], list[str]],
    run: Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"],
) -> Path:
    """A build in one process, without Ray."""
    out = tmp_path_factory.mktemp("undisturbed") / "set"
    done = run(command(out, 0))
    assert done.returncode == 0, done.stderr
    facts = last_json(done.stdout)
    assert facts["listed"] == NUM_GOOD + NUM_BAD
    assert facts["ok"] == NUM_GOOD
    assert facts["reasons"] == {"not_media": 3, "no_audio": 1}
    return out
