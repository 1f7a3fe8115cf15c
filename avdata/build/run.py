"""Plan -> executor -> manifest and spec. Running it again does only what is missing."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

from pydantic import ValidationError

from avdata.atomic_writing import remove_partial_files
from avdata.build.commit import is_committed
from avdata.build.job import BuildContext, ClipDone, ShardJob
from avdata.build.plan import BuildPlan, ShardPlan, software_versions
from avdata.build.set_tables import write_tables
from avdata.config import BuildConfig
from avdata.errors import BuildError
from avdata.locking import folder_lock
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME
from avdata.schema import BuildRecord, DatasetSpec, shard_name
from avdata.shards.build_record import BUILD_NAME
from avdata.shards.reader import DATASET_NAME
from avdata.shards.sidecar import read_sidecars
from avdata.storage import Location

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSummary:
    """What a finished build came to: ``listed == ok + rejected``."""

    listed: int
    ok: int
    rejected: int
    reasons: dict[str, int]
    """Rejected clips by reason, most frequent first."""
    shards: int
    bytes: int
    """Of all shards."""
    seconds: float
    built_shards: int
    """Shards that this run made; the others were there."""


def run_build(
    plan: BuildPlan,
    context: BuildContext,
    *,
    listing_name: str,
    execute: Callable[[Iterable[ShardJob], BuildContext], Iterator[ClipDone]],
    on_progress: Callable[[ClipDone | ShardPlan], None],
) -> BuildSummary:
    """Build what is missing of `plan` in `context.location`, then write manifest and spec.

    Shards are taken from the plan one by one, as workers become free. `on_progress` hears of
    every shard that was there before, and of every settled row of the others.

    Raises:
        BuildError: The folder holds another build or another run works in it, or rows are missing.
    """
    started = time.monotonic()
    out_dir, location = context.out_dir, context.location
    busy = BuildError(f"another build is at work in {location}; wait for it, or give another --out")
    with folder_lock(out_dir, busy=busy):
        _check_same_build(location, plan)
        _write_record(location, plan, context.config, listing_name)
        remove_partial_files(out_dir)
        jobs = _Jobs(plan, location, on_progress)
        first = next(jobs, None)
        if first is not None:
            location.delete(DATASET_NAME)
            for event in execute(chain([first], jobs), context):
                on_progress(event)
        summary = _finish(plan, context, listing_name, started, built_shards=jobs.num_jobs)
        if context.upload_to is not None:
            shutil.rmtree(out_dir)
        else:
            remove_partial_files(out_dir)  # of workers that were killed
        return summary


class _Jobs(Iterator[ShardJob]):
    """The shards of a plan that are not committed, found as they are asked for."""

    def __init__(
        self, plan: BuildPlan, location: Location, on_progress: Callable[[ShardPlan], None]
    ) -> None:
        self._sizes, self._build_hash = location.sizes(), plan.build_hash
        reports = read_sidecars(location, _shard_names(plan), self._sizes)
        self._shards = zip(plan.shards, reports, strict=True)
        self._on_progress = on_progress
        self.num_jobs = 0

    def __next__(self) -> ShardJob:
        for shard, report in self._shards:
            if not is_committed(report, self._sizes.get(shard.shard), self._build_hash):
                self.num_jobs += 1
                return ShardJob(plan=shard)
            self._on_progress(shard)
        raise StopIteration


def _shard_names(plan: BuildPlan) -> list[str]:
    return [shard_name(index) for index in range(len(plan.shards))]


def _check_same_build(location: Location, plan: BuildPlan) -> None:
    try:
        data = location.read(BUILD_NAME)
    except FileNotFoundError:
        if any(name.endswith(".tar") for name in location.sizes()):
            raise BuildError(
                f"{location} holds tar files and no {BUILD_NAME}; give an empty or a new --out"
            ) from None
        return
    try:
        record = BuildRecord.model_validate_json(data)
    except (ValidationError, ValueError) as error:
        place = location.place(BUILD_NAME)
        raise BuildError(f"{place} is damaged ({error}); give another --out") from None
    if record.kept_columns != plan.kept_columns:
        seen, asked = (", ".join(n) or "none" for n in (record.kept_columns, plan.kept_columns))
        raise BuildError(
            f"{location} holds a build with --keep-column {seen}; this one has {asked}. Repeat "
            "that command to resume it, or give another --out"
        )
    if record.build_hash != plan.build_hash:
        listing = "another listing" if record.listing_sha256 != plan.listing_sha256 else None
        raise BuildError(
            f"{location} holds a build of {listing or 'other settings or software versions'} "
            f"({record.num_listed} rows of {record.listing_name}); this one has "
            f"{plan.num_listed} rows. Repeat that command to resume it, or give another --out"
        )


def _write_record(
    location: Location, plan: BuildPlan, config: BuildConfig, listing_name: str
) -> None:
    record = BuildRecord(
        build_hash=plan.build_hash,
        listing_name=listing_name,
        listing_sha256=plan.listing_sha256,
        num_listed=plan.num_listed,
        num_shards=len(plan.shards),
        kept_columns=plan.kept_columns,
        config=config.model_dump(mode="json"),
    )
    location.write(BUILD_NAME, record.model_dump_json(indent=1).encode())


def _finish(
    plan: BuildPlan,
    context: BuildContext,
    listing_name: str,
    started: float,
    *,
    built_shards: int,
) -> BuildSummary:
    location, out_dir = context.location, context.out_dir
    totals = write_tables(
        out_dir,
        ((shard.shard, shard.num_rows) for shard in plan.shards),
        read_sidecars(location, _shard_names(plan), location.sizes()),
        plan.kept_columns,
    )
    if context.upload_to is not None:
        for name in (REJECTS_NAME, MANIFEST_NAME):
            context.upload_to.upload(out_dir / name, name)
            (out_dir / name).unlink()
    config = context.config
    spec = DatasetSpec(
        fields=config.fields,
        video=config.video if config.needs_video else None,
        audio=config.audio if config.needs_audio else None,
        logmel=config.logmel if "logmel" in config.fields else None,
        clips=config.clips,
        logmel_statistics=totals.logmel_sums.statistics() if totals.logmel_sums else None,
        num_shards=len(plan.shards),
        num_listed=plan.num_listed,
        num_clips=totals.num_clips,
        num_rejected=totals.num_rejected,
        num_sources=plan.num_sources,
        labels=plan.labels,
        labels_hash=sha256(json.dumps(plan.labels).encode()).hexdigest(),
        kept_columns=plan.kept_columns,
        build_hash=plan.build_hash,
        listing_name=listing_name,
        software=software_versions(),
    )
    assert spec.num_listed == spec.num_clips + spec.num_rejected
    location.write(DATASET_NAME, spec.model_dump_json(indent=1).encode())
    return BuildSummary(
        listed=spec.num_listed,
        ok=spec.num_clips,
        rejected=spec.num_rejected,
        reasons=totals.reasons,
        shards=spec.num_shards,
        bytes=totals.num_bytes,
        seconds=round(time.monotonic() - started, 3),
        built_shards=built_shards,
    )
