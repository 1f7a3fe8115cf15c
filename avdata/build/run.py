"""Plan -> executor -> manifest and spec. Running it again does only what is missing."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from pydantic import ValidationError

from avdata.atomic_writing import remove_partial_files
from avdata.build.job import BuildContext, ClipDone, ShardJob
from avdata.build.plan import BuildPlan, ShardPlan, software_versions
from avdata.build.rebuild import RebuildOptions, Survey, remove_shards, survey_shards
from avdata.config import BuildConfig
from avdata.errors import BuildError
from avdata.locking import folder_lock
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME
from avdata.schema import BuildRecord, DatasetSpec, shard_name
from avdata.shards.build_record import BUILD_NAME
from avdata.shards.reader import DATASET_NAME
from avdata.shards.set_tables import write_tables
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
    rebuilt_shards: int
    """Those of them that were there before: rejects were retried, or source files had changed."""
    changed_sources: int
    """Source files that changed since their clips were stored."""


def run_build(
    plan: BuildPlan,
    context: BuildContext,
    *,
    listing_name: str,
    execute: Callable[[Iterable[ShardJob], BuildContext], Iterator[ClipDone]],
    on_progress: Callable[[ClipDone | ShardPlan | Survey], None],
    options: RebuildOptions,
) -> BuildSummary:
    """Build what is missing of `plan` in `context.location`, then write manifest and spec.

    Shards are taken from the plan one by one, as workers become free. `on_progress` hears of
    every shard that stays as it was, then of the survey of them all, and of every settled row of
    the others.

    Raises:
        BuildError: The folder holds another build or another run works in it, source files have
            changed and `options` refuse that, or rows are missing.
    """
    started = time.monotonic()
    out_dir, location = context.out_dir, context.location
    busy = BuildError(f"another build is at work in {location}; wait for it, or give another --out")
    with folder_lock(out_dir, busy=busy):
        # what a run that was ended in the midst of it was to remove
        remove_shards(location, _check_same_build(location, plan))
        record = _record(plan, context.config, listing_name)
        _write_record(location, record)
        remove_partial_files(out_dir)
        survey = survey_shards(plan, context, options, on_progress)
        on_progress(survey)
        if len(survey.stay) < len(plan.shards):
            location.delete(DATASET_NAME)
        if survey.again:
            removing = record.model_copy(update={"being_removed": tuple(survey.again)})
            _write_record(location, removing)
            remove_shards(location, survey.again)
            _write_record(location, record)
        if len(survey.stay) < len(plan.shards):
            jobs = (ShardJob(plan=shard) for shard in _shards_but(plan, survey.stay))
            for event in execute(jobs, context):
                on_progress(event)
        summary = _finish(plan, context, listing_name, survey)
        if context.upload_to is not None:
            shutil.rmtree(out_dir)
        else:
            remove_partial_files(out_dir)  # of workers that were killed
        return replace(summary, seconds=round(time.monotonic() - started, 3))


def _shards_but(plan: BuildPlan, stay: set[int]) -> Iterator[ShardPlan]:
    return (plan.shards[index] for index in range(len(plan.shards)) if index not in stay)


def _shard_names(plan: BuildPlan) -> list[str]:
    return [shard_name(index) for index in range(len(plan.shards))]


def _check_same_build(location: Location, plan: BuildPlan) -> tuple[int, ...]:
    """Indices of the shards that an earlier run was about to remove."""
    try:
        data = location.read(BUILD_NAME)
    except FileNotFoundError:
        if any(name.endswith(".tar") for name in location.sizes()):
            raise BuildError(
                f"{location} holds tar files and no {BUILD_NAME}; give an empty or a new --out"
            ) from None
        return ()
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
    return record.being_removed


def _record(plan: BuildPlan, config: BuildConfig, listing_name: str) -> BuildRecord:
    return BuildRecord(
        build_hash=plan.build_hash,
        listing_name=listing_name,
        listing_sha256=plan.listing_sha256,
        num_listed=plan.num_listed,
        num_shards=len(plan.shards),
        kept_columns=plan.kept_columns,
        config=config.model_dump(mode="json"),
    )


def _write_record(location: Location, record: BuildRecord) -> None:
    location.write(BUILD_NAME, record.model_dump_json(indent=1).encode())


def _finish(
    plan: BuildPlan, context: BuildContext, listing_name: str, survey: Survey
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
        seconds=0.0,
        built_shards=len(plan.shards) - len(survey.stay),
        rebuilt_shards=len(survey.again),
        changed_sources=len(survey.changed),
    )
