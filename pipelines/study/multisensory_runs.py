"""The trainings and measurements of the study of the multisensory network, by name."""

from dataclasses import dataclass
from pathlib import Path

from multisensory_sets import SEPARATION_RECIPE, SYNC_RECIPE, SetName

RANDOM_PAIRING = ("sync.negatives.easy_share_start=1", "sync.negatives.easy_share_end=1")
WORDS = (
    *("--where", "split == 'test' or source_index < 240"),
    *("--set", "finetune.preset=multisensory-tiny"),
    *("--set", 'finetune.compute={precision = "fast", threads = 1}'),
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
    """{sets} in them, and in the options of measurements, is the folder of all sets."""
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
        name="speech-over-sounds",
        part="f",
        shards="speech8",
        recipe=SEPARATION_RECIPE,
        measured=(
            Measurement(
                task="separation",
                options=(
                    *("--set", "separation.other_label=false"),
                    *("--set", "separation.off_screen.shards={sets}/sounds"),
                    *("--set", "separation.off_screen.split=test"),
                ),
            ),
        ),
        settings=(
            "separation.off_screen.shards={sets}/sounds",
            "separation.off_screen.split=train",
            "schedule.max_steps=400",
        ),
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
