"""A folder of scenes: movies, listing, ground truth; any number of workers, resumed by rerunning.

::

    OUT/synth.json            SetRecord, written first: what the folder holds
    OUT/media/clip_000000.mp4
    OUT/listing.csv           path,id,label,split; written last, with the ground truth
    OUT/ground_truth.jsonl
"""

import csv
import io
import logging
import multiprocessing
import signal
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from avdata.atomic_writing import write_atomically
from avdata.errors import AvdataError, ConfigError
from avdata.schema import Spec
from avdata.synthetic.config import SceneConfig
from avdata.synthetic.ground_truth import ClipTruth, truth_of, truth_to_line
from avdata.synthetic.movie import write_movie
from avdata.synthetic.picture import render_frames
from avdata.synthetic.scene import Scene, sample_scene
from avdata.synthetic.sound import render_sound

logger = logging.getLogger(__name__)

RECORD_NAME = "synth.json"
LISTING_NAME = "listing.csv"
GROUND_TRUTH_NAME = "ground_truth.jsonl"
MEDIA_FOLDER = "media"
FRAMES_IN_MEMORY = 128
FORMAT_VERSION = 1
"""Changes whenever the same settings give other pictures, sound or answers."""


class SetRecord(Spec):
    """`synth.json`: everything that the contents of the folder follow from."""

    format_version: int = FORMAT_VERSION
    num_clips: int = Field(ge=1, le=999_999)
    seed: int = Field(ge=0, lt=2**63)
    test_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of clips, the last ones of the listing, with split ``test``."""
    scene: SceneConfig = SceneConfig()

    @property
    def num_train(self) -> int:
        return self.num_clips - round(self.num_clips * self.test_fraction)

    def clip_id(self, index: int) -> str:
        return f"clip_{index:06d}"

    def clip_path(self, index: int) -> str:
        """Relative to the folder of the set."""
        return f"{MEDIA_FOLDER}/{self.clip_id(index)}.mp4"

    def split(self, index: int) -> str:
        return "train" if index < self.num_train else "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenClip:
    """One clip that is on disk."""

    index: int
    label: str
    truth_line: str
    num_bytes: int
    resumed: bool
    """It was complete before this run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetReport:
    """What a finished set holds."""

    num_clips: int
    num_resumed: int
    media_bytes: int
    listing: Path
    ground_truth: Path


def write_set(
    out: Path,
    record: SetRecord,
    *,
    num_workers: int = 1,
    on_clip: Callable[[WrittenClip], None] = lambda _: None,
) -> SetReport:
    """Write all clips of `record` under `out`, or those that are missing.

    Args:
        out: A new or empty folder, or one that an earlier run with an equal record left.
        record: What to write; the files' contents follow from it alone.
        num_workers: Processes; 1 works in this one.
        on_clip: Called as each clip is finished, in any order.

    Raises:
        ConfigError: `out` holds something else.
    """
    if num_workers < 1:
        raise ConfigError(f"{num_workers} workers; at least 1 is needed")
    _claim(out, record)
    clips: list[WrittenClip | None] = [None] * record.num_clips
    written = _in_processes if num_workers > 1 else _in_this_process
    with closing(written(out, record, num_workers)) as finished:
        for clip in finished:
            clips[clip.index] = clip
            on_clip(clip)
    complete = [clip for clip in clips if clip is not None]
    assert len(complete) == record.num_clips
    truth = "".join(clip.truth_line + "\n" for clip in complete)
    write_atomically(out / GROUND_TRUTH_NAME, truth.encode())
    write_atomically(out / LISTING_NAME, _listing(record, complete).encode())
    return SetReport(
        num_clips=len(complete),
        num_resumed=sum(c.resumed for c in complete),
        media_bytes=sum(c.num_bytes for c in complete),
        listing=out / LISTING_NAME,
        ground_truth=out / GROUND_TRUTH_NAME,
    )


def clip_truth(record: SetRecord, index: int) -> ClipTruth:
    """The answers of clip `index`, without drawing it."""
    return _truth(record, index, sample_scene(record.scene, seed=record.seed, index=index))


def _truth(record: SetRecord, index: int, scene: Scene) -> ClipTruth:
    path, split = record.clip_path(index), record.split(index)
    return truth_of(scene, clip_id=record.clip_id(index), path=path, split=split)


def write_clip(out: Path, record: SetRecord, index: int) -> WrittenClip:
    """Write the movie of clip `index` unless it is there."""
    path = out / record.clip_path(index)
    scene = sample_scene(record.scene, seed=record.seed, index=index)
    resumed = path.exists()  # a movie appears by rename, so it is complete
    if not resumed:
        write_movie(
            path,
            frames=_frames(scene),
            frame_times_s=None,
            fps=Fraction(record.scene.fps),
            sound=render_sound(scene),
            sample_rate_hz=record.scene.sample_rate_hz,
        )
    truth = _truth(record, index, scene)
    return WrittenClip(
        index=index,
        label=truth.label,
        truth_line=truth_to_line(truth),
        num_bytes=path.stat().st_size,
        resumed=resumed,
    )


def _frames(scene: Scene) -> Generator[NDArray[np.uint8], None, None]:
    """All pictures of a scene, holding few of them at a time."""
    times_s = scene.frame_times_s
    for first in range(0, len(times_s), FRAMES_IN_MEMORY):
        yield from render_frames(scene, times_s[first : first + FRAMES_IN_MEMORY])


def _claim(out: Path, record: SetRecord) -> None:
    path = out / RECORD_NAME
    if not path.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out} is not empty and has no {RECORD_NAME}; give a new folder")
        (out / MEDIA_FOLDER).mkdir(parents=True, exist_ok=True)
        write_atomically(path, f"{record.model_dump_json(indent=2)}\n".encode())
        return
    try:
        seen = SetRecord.model_validate_json(path.read_text())
    except (ValidationError, OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{path} was not written by this version of avdata; give a new folder"
        ) from None
    if seen != record:
        raise ConfigError(
            f"{out} holds another set: {_differences(seen, record)}; give a new folder, or repeat "
            f"the settings in {path} to resume it"
        )
    (out / MEDIA_FOLDER).mkdir(exist_ok=True)


def _differences(seen: SetRecord, asked: SetRecord) -> str:
    parts = []
    for name in SetRecord.model_fields:
        if name != "scene" and getattr(seen, name) != getattr(asked, name):
            parts.append(f"{name} is {getattr(seen, name)}, asked {getattr(asked, name)}")
    for name in SceneConfig.model_fields:
        there, now = getattr(seen.scene, name), getattr(asked.scene, name)
        if there != now:
            parts.append(f"{name} is {there}, asked {now}")
    return ", ".join(parts)


def _listing(record: SetRecord, clips: list[WrittenClip]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "id", "label", "split"])
    for clip in clips:
        i = clip.index
        writer.writerow([record.clip_path(i), record.clip_id(i), clip.label, record.split(i)])
    return text.getvalue()


def _in_this_process(
    out: Path, record: SetRecord, num_workers: int
) -> Generator[WrittenClip, None, None]:
    for index in range(record.num_clips):
        yield write_clip(out, record, index)


def _in_processes(
    out: Path, record: SetRecord, num_workers: int
) -> Generator[WrittenClip, None, None]:
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=spawn, initializer=_leave_interrupts)
    try:
        jobs = [pool.submit(write_clip, out, record, i) for i in range(record.num_clips)]
        for job in as_completed(jobs):
            yield job.result()
    finally:  # after an interrupt too: clips under way are finished, the others dropped
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Workers leave Ctrl-C to the parent, which lets them finish the clip in hand."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read_set_record(out: Path) -> SetRecord:
    """What the folder `out` holds.

    Raises:
        AvdataError: It is not a folder of scenes.
    """
    try:
        return SetRecord.model_validate_json((out / RECORD_NAME).read_text())
    except (ValidationError, OSError, UnicodeDecodeError) as error:
        raise AvdataError(
            f"{out} has no readable {RECORD_NAME} ({type(error).__name__}); "
            "make it with `avdata synth`"
        ) from None
