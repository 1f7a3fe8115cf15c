"""The shard sets of the study of the multisensory network: what they are made of, and how."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
from logged_command import run_logged

PIPELINES = Path(__file__).resolve().parents[1]
SYNC_RECIPE = PIPELINES / "sync_tiny.toml"
SEPARATION_RECIPE = PIPELINES / "separation_tiny.toml"

SetName = Literal["strikes", "scenes", "speech", "speech8", "sounds"]
TESTED_FOLD = "1"
"""Of ESC; the others train."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenData:
    """What is not synthesized."""

    grid: tuple[Path, Path] | None
    """Folders of GRID's training and test sentences."""
    sounds: Path | None
    """Folder of ESC-10 or ESC-50."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenes:
    """Synthesized clips of a set, as the head of its recipe has them."""

    clips: int
    seed: int
    words: tuple[str, ...]
    """Of `avdata synth`."""
    recipe: Path


def _set(*settings: str) -> tuple[str, ...]:
    return tuple(word for text in settings for word in ("--set", text))


SCENES: dict[SetName, Scenes] = {
    "strikes": Scenes(
        clips=1400,
        seed=0,
        words=(
            *("--duration", "6"),
            *_set("fps=30", "size_px=80", "max_objects=1", "off_screen_probability=0"),
            *_set("silent_probability=0.5", "min_radius=0.12", "max_radius=0.25"),
        ),
        recipe=SYNC_RECIPE,
    ),
    "scenes": Scenes(
        clips=1200,
        seed=5,
        words=(
            *("--duration", "4", "--size", "72"),
            *_set("fps=15", "max_objects=1", "off_screen_probability=0"),
            *_set("silent_probability=0.2", "min_radius=0.12", "max_radius=0.25"),
        ),
        recipe=SEPARATION_RECIPE,
    ),
}

SPEECH_BUILDS: dict[SetName, tuple[str, ...]] = {
    "speech": (
        *("--recipe", str(SYNC_RECIPE)),
        *_set("video.fps=25", "video.short_side_px=56"),
    ),
    "speech8": ("--recipe", str(SEPARATION_RECIPE)),
}
"""Options of `avdata build`."""


def make_set(out: Path, name: SetName, given: GivenData, *, clips: int | None) -> None:
    """Make a shard set that is missing, under OUT/sets, of media under OUT/media.

    Args:
        out: OUT.
        name: Of the set.
        given: What is not synthesized.
        clips: Of the set, in place of its own number.
    """
    shards, log = out / "sets" / name, out / "logs" / f"set-{name}.txt"
    if (shards / "dataset.json").exists():
        return
    click.echo(f"set {name} -> {shards}", err=True)
    words: tuple[object, ...]
    options: tuple[str, ...]
    if name == "sounds":
        assert given.sounds is not None
        listing, media = out / "media" / "sounds.csv", given.sounds
        _list_sounds(given.sounds, listing)
        options = ("--recipe", str(SEPARATION_RECIPE), *_set('fields=["audio"]'))
    elif name in SPEECH_BUILDS:
        assert given.grid is not None
        media, options = out / "media" / "speech", SPEECH_BUILDS[name]
        listing = media / "listing.csv"
        words = ("prepare", *given.grid, "--out", media, "--whole", "--label", "command")
        words += ("--limit", clips, "--tested", clips // 3) if clips else ("--tested", 256)
        run_logged(PIPELINES / "grid_words.py", words, log=log)
    else:
        scenes, media = SCENES[name], out / "media" / name
        listing, options = media / "listing.csv", ("--recipe", str(scenes.recipe))
        words = ("synth", media, "--clips", clips or scenes.clips, "--seed", scenes.seed)
        run_logged("avdata", (*words, *scenes.words), log=log)
    words = ("build", "--source", listing, "--media", media, "--out", shards)
    run_logged("avdata", (*words, *options), log=log)


def _list_sounds(folder: Path, listing: Path) -> None:
    """Write the listing of ESC's recordings, one of its folds to test, the others to train.

    Raises:
        UsageError: There are none.
    """
    path = folder / "labels.csv"
    if not path.exists():
        raise click.UsageError(f"{folder} has no labels.csv with columns file, fold, category")
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    rows = [
        (row["file"], row["category"], "test" if row["fold"] == TESTED_FOLD else "train")
        for row in found
    ]
    listing.parent.mkdir(parents=True, exist_ok=True)
    with listing.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
