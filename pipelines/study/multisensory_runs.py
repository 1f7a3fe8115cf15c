"""The trainings and measurements of the study of the multisensory network, by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PIPELINES = Path(__file__).resolve().parents[1]

SetName = Literal["strikes", "scenes", "speech", "speech8"]
SPEECH_SETS = ("speech", "speech8")
"""Made of GRID."""

SYNC_RECIPE = PIPELINES / "sync_tiny.toml"
SEPARATION_RECIPE = PIPELINES / "separation_tiny.toml"

RANDOM_PAIRING = ("sync.negatives.easy_share_start=1", "sync.negatives.easy_share_end=1")
WORDS = (
    *("--where", "split == 'test' or source_index < 240"),
    *("--set", "finetune.preset=multisensory-tiny"),
    *("--set", 'finetune.compute={precision = "bf16", threads = 1}'),
    *("--set", "finetune.clip_s=2.88"),
    *("--set", "finetune.test_clips=1"),
)
"""The first word of a sentence, one of four, of 240 labeled sentences, each nearly whole."""

SPEECH = (
    "sync.view.clip_frames=38",
    "sync.view.fps=25",
    "sync.view.min_shift_s=0.3",
    "sync.view.short_side_px=56",
    "sync.view.crop_px=48",
    "schedule.epochs=40",
)
"""1.5 of 3 s, at the rate of the recordings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One call of `avtrain eval`."""

    task: str
    options: tuple[str, ...] = ()
    needs_boxes: bool = False
    """The true boxes of the scenes are given to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One training, or the run of another name, and what is measured of it."""

    name: str
    part: str
    """Letter of the claims that need it."""
    shards: SetName
    recipe: Path
    measured: tuple[Measurement, ...]
    settings: tuple[str, ...] = ()
    run_of: str | None = None
    """Measure the run of this name: nothing else is trained."""


SEPARATION = (Measurement(task="separation"),)
SYNC = Measurement(task="sync")


def _separation(name: str, *settings: str) -> PlannedRun:
    return PlannedRun(
        name=name,
        part="c",
        shards="scenes",
        recipe=SEPARATION_RECIPE,
        measured=SEPARATION,
        settings=(*settings, "schedule.max_steps=600"),
    )


def _words(name: str, *options: str, run_of: str) -> PlannedRun:
    return PlannedRun(
        name=name,
        part="e",
        shards="speech",
        recipe=SYNC_RECIPE,
        measured=(Measurement(task="finetune", options=(*WORDS, *options)),),
        run_of=run_of,
    )


PLANNED_RUNS = (
    PlannedRun(
        name="sync",
        part="a",
        shards="strikes",
        recipe=SYNC_RECIPE,
        measured=(SYNC, Measurement(task="localization", needs_boxes=True)),
    ),
    PlannedRun(
        name="speech-sync",
        part="be",
        shards="speech",
        recipe=SYNC_RECIPE,
        measured=(
            Measurement(
                task="sync",
                options=("--set", "sync.offsets.max_s=0.7", "--set", "sync.offsets.step_s=0.1"),
            ),
        ),
        settings=SPEECH,
    ),
    _separation("on-off"),
    _separation("on-off-pit", 'separation.objective="on-off+pit"'),
    _separation("pit", 'separation.objective="pit"', "separation.use_video=false"),
    PlannedRun(
        name="speech-separation",
        part="d",
        shards="speech8",
        recipe=SEPARATION_RECIPE,
        measured=(
            Measurement(task="separation", options=("--set", "separation.other_label=false")),
        ),
        settings=("schedule.max_steps=1200",),
    ),
    PlannedRun(
        name="speech-pairing",
        part="e",
        shards="speech",
        recipe=SYNC_RECIPE,
        measured=(),
        settings=(*SPEECH, *RANDOM_PAIRING),
    ),
    _words("words", run_of="speech-sync"),
    _words("words-silent", "--set", "finetune.sound=false", run_of="speech-sync"),
    _words("words-scratch", "--random", run_of="speech-sync"),
    _words(
        "words-scratch-silent", "--random", "--set", "finetune.sound=false", run_of="speech-sync"
    ),
    _words("words-pairing", run_of="speech-pairing"),
)


def runs_of_parts(parts: str) -> tuple[PlannedRun, ...]:
    """The runs that the claims with these letters need, in an order that may be made in."""
    return tuple(run for run in PLANNED_RUNS if set(run.part) & set(parts))


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
