"""A small set out of synthesized movies, and the command that makes it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avdata.cli.entry import main

NUM_CLIPS = 7
SETTINGS = ("shards.clips_per_shard=3", "video.short_side_px=32", "video.fps=8")

Run = Callable[..., Result]
Build = Callable[..., Path]


@pytest.fixture(scope="session")
def run() -> Run:
    """`(*arguments) -> Result`: call `avdata`."""
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="session")
def listing(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A table of 7 movies of 1.5 s, and of one that is not there."""
    folder = tmp_path_factory.mktemp("synthesized") / "clips"
    made = run(
        "synth", folder, "--clips", NUM_CLIPS, "--size", 64, "--duration", 1.5, "--workers", 1
    )
    assert made.exit_code == 0, made.output
    table = folder / "listing.csv"
    table.write_text(table.read_text() + "media/not_there.mp4,not_there,class_0,train\n")
    return table


@pytest.fixture(scope="session")
def build(listing: Path, run: Run) -> Build:
    """`(out, *settings) -> out`: build the listing in this process."""

    def make(out: Path, *settings: str) -> Path:
        words = [w for s in (*SETTINGS, *settings) for w in ("--set", s)]
        done = run("build", "--source", listing, "--out", out, "--workers", 0, *words)
        assert done.exit_code == 0, done.output
        return out

    return make


@pytest.fixture(scope="session")
def built_template(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    return build(tmp_path_factory.mktemp("built") / "set")


@pytest.fixture
def built(built_template: Path, tmp_path: Path) -> Path:
    """A finished set of 7 clips and a reject in 3 shards."""
    return Path(shutil.copytree(built_template, tmp_path / "built"))
