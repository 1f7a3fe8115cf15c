"""A preview of a build: which media there are, and what a few clips built on trial take.

Nothing is written but a temporary folder, which is removed. The clips on trial are built in a
process of its own, as in a build, so that a bad file costs its time limit at most.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from avdata.build.job import BuildContext, ShardJob
from avdata.build.plan import BuildPlan, ShardPlan
from avdata.build.supervisor import Supervisor
from avdata.errors import BuildError, MediaError
from avdata.schema import ClipRef
from avdata.shards.sidecar import read_sidecar
from avdata.sources.resolve import MediaResolver, name_habits

MAX_LOOKED = 10_000
"""Clips whose files are looked for; of longer listings whole shards are, evenly spread."""
MAX_PROBED = 8
PROBE_TIMEOUT_S = 20.0
"""For one clip of the probe; a slower one counts as rejected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaLook:
    """The clips of a plan that have a file, and those that do not."""

    num_clips: int
    """Clips of the plan that the listing itself does not rule out."""
    num_looked: int
    """Clips that were looked for."""
    found: dict[str, int]
    """Clips with a file, by the name habit it was found by, most frequent first."""
    missing: dict[str, int]
    """Clips without a file, by each of the name habits that were tried."""
    num_missing: int
    first_missing: str
    """The listing line of the first one, and what was tried; empty when there is none."""
    examples: tuple[ClipRef, ...]
    """Up to `MAX_PROBED` of the found clips, spread over the listing."""
    listed_s: float
    """Seconds of the found clips whose listed span has an end."""
    num_open: int
    """Found clips whose listed span has none."""

    @property
    def num_found(self) -> int:
        return sum(self.found.values())

    @property
    def share(self) -> float:
        """Clips that were looked for, of all."""
        return self.num_looked / self.num_clips if self.num_clips else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Outcome of the clips built on trial."""

    num_probed: int
    num_ok: int
    reasons: dict[str, int]
    """Rejected ones by reason."""
    stored_s: float
    """Seconds of clips that were stored."""
    num_bytes: int
    seconds: float
    """Of one process, for the clips after the first, which loads libraries; for one clip, its."""
    num_timed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Time and size of the whole build, if the clips on trial are like the others."""

    hours: float
    num_bytes: float
    minutes: float


def look_for_media(plan: BuildPlan, resolver: MediaResolver) -> MediaLook:
    """Look for the file of each clip, up to `MAX_LOOKED`; no file is opened."""
    found, missing = Counter[str](), Counter[str]()
    there: list[ClipRef] = []
    num_clips = num_looked = num_missing = num_open = 0
    first_missing, listed_s = "", 0.0
    step = max(1, -(-plan.num_listed // MAX_LOOKED))
    for shard in plan.shards:
        num_clips += len(shard.clips)
        if shard.shard_index % step:
            continue
        for clip in shard.clips:
            num_looked += 1
            try:
                media = resolver.resolve(clip)
            except MediaError as error:
                num_missing += 1
                missing.update(name_habits(clip))
                first_missing = first_missing or f"line {clip.line_number}: {error.message}"
                continue
            found[media.habit] += 1
            there.append(clip)
            if clip.listed_end_s is None:
                num_open += 1
            else:
                listed_s += clip.listed_end_s - (clip.listed_start_s or 0.0)
    return MediaLook(
        num_clips=num_clips,
        num_looked=num_looked,
        found=dict(found.most_common()),
        missing=dict(missing),
        num_missing=num_missing,
        first_missing=first_missing,
        examples=tuple(_spread(there)),
        listed_s=listed_s,
        num_open=num_open,
    )


def _spread(clips: list[ClipRef]) -> Iterator[ClipRef]:
    """Up to `MAX_PROBED` clips at even distances."""
    count = min(MAX_PROBED, len(clips))
    return (clips[at * len(clips) // count] for at in range(count))


def probe(clips: tuple[ClipRef, ...], context: BuildContext) -> Probe:
    """Build `clips` in a temporary folder and measure it.

    Args:
        clips: At least one.
        context: Of the build; its folder is not touched.

    Raises:
        BuildError: The process does not start, or the temporary folder is full.
    """
    limits = context.config.limits
    limits = limits.model_copy(
        update={
            "clip_timeout_s": min(limits.clip_timeout_s, PROBE_TIMEOUT_S),
            "crash_attempts": 1,
            "timeout_attempts": 1,
        }
    )
    shard = ShardPlan(shard_index=0, clips=clips, rejects=())
    with tempfile.TemporaryDirectory(prefix="avdata-probe-") as folder:
        trial = replace(
            context,
            config=context.config.model_copy(update={"limits": limits}),
            out_dir=Path(folder),
            upload_to=None,
        )
        times = [0.0]
        with Supervisor(trial) as supervisor:
            supervisor.start()
            started = time.monotonic()
            for _ in supervisor.build(ShardJob(plan=shard)):
                times.append(time.monotonic() - started)
        report = read_sidecar(folder, shard.shard)
    if report is None:
        raise BuildError("the probe left no sidecar; build a few clips by --limit instead")
    return Probe(
        num_probed=len(clips),
        num_ok=len(report.rows),
        reasons=dict(Counter(row.reason for row in report.rejects).most_common()),
        stored_s=sum(row.duration_s for row in report.rows),
        num_bytes=report.num_bytes if report.rows else 0,
        seconds=times[-1] - times[1] if len(times) > 2 else times[-1],
        num_timed=max(len(times) - 2, 1),
    )


def estimate(look: MediaLook, probed: Probe, *, num_workers: int) -> Estimate:
    """Scale a probe up to all clips that have a file."""
    num_found = look.num_found / look.share
    mean_s = probed.stored_s / probed.num_ok if probed.num_ok else 0.0
    wanted_s = (look.listed_s + look.num_open * mean_s) / look.share
    return Estimate(
        hours=wanted_s / 3600,
        num_bytes=num_found * probed.num_bytes / probed.num_probed,
        minutes=num_found * probed.seconds / probed.num_timed / num_workers / 60,
    )


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk on which `folder` is or would be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free
