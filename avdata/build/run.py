"""Plan -> executor -> manifest and spec. Running it again does only what is missing."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from avdata.atomic_writing import remove_partial_files, write_atomically
from avdata.build.plan import BuildPlan, ShardPlan, software_versions
from avdata.build.worker import BuildContext, ClipDone, ShardJob
from avdata.config import BuildConfig
from avdata.errors import BuildError
from avdata.locking import folder_lock
from avdata.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    TableWriter,
)
from avdata.schema import BuildRecord, DatasetSpec
from avdata.shards.reader import DATASET_NAME
from avdata.shards.sidecar import LogMelSums, ShardReport, read_sidecar

logger = logging.getLogger(__name__)

BUILD_NAME = "build.json"


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
    execute: Callable[[list[ShardJob], BuildContext], Iterator[ClipDone | ShardReport]],
    on_progress: Callable[[ClipDone | ShardPlan], None],
) -> BuildSummary:
    """Build what is missing of `plan` in `context.out_dir`, then write manifest and spec.

    `on_progress` hears of every shard that was there before, then of every settled row.

    Raises:
        BuildError: The folder holds another build or another run works in it, or rows are missing.
    """
    started = time.monotonic()
    out_dir = context.out_dir
    busy = BuildError(f"another build is at work in {out_dir}; wait for it, or give another --out")
    with folder_lock(out_dir, busy=busy):
        _check_same_build(out_dir, plan)
        _write_record(out_dir, plan, context.config, listing_name)
        remove_partial_files(out_dir)
        jobs = []
        for shard in plan.shards:
            if _is_committed(out_dir, shard, plan.build_hash):
                on_progress(shard)
            else:
                jobs.append(ShardJob(plan=shard))
        if jobs:
            (out_dir / DATASET_NAME).unlink(missing_ok=True)
            for event in execute(jobs, context):
                if isinstance(event, ClipDone):
                    on_progress(event)
        return _finish(plan, context, listing_name, started, built_shards=len(jobs))


def _check_same_build(out_dir: Path, plan: BuildPlan) -> None:
    path = out_dir / BUILD_NAME
    if not path.exists():
        if any(out_dir.glob("*.tar")):
            raise BuildError(
                f"{out_dir} holds tar files and no {BUILD_NAME}; give an empty or a new --out"
            )
        return
    try:
        record = BuildRecord.model_validate_json(path.read_bytes())
    except (ValidationError, ValueError) as error:
        raise BuildError(f"{path} is damaged ({error}); give another --out") from None
    if record.build_hash != plan.build_hash:
        listing = "another listing" if record.listing_sha256 != plan.listing_sha256 else None
        raise BuildError(
            f"{out_dir} holds a build of {listing or 'other settings or software versions'} "
            f"({record.num_listed} rows of {record.listing_name}); this one has "
            f"{plan.num_listed} rows. Repeat that command to resume it, or give another --out"
        )


def _write_record(out_dir: Path, plan: BuildPlan, config: BuildConfig, listing_name: str) -> None:
    record = BuildRecord(
        build_hash=plan.build_hash,
        listing_name=listing_name,
        listing_sha256=plan.listing_sha256,
        num_listed=plan.num_listed,
        num_shards=len(plan.shards),
        config=config.model_dump(mode="json"),
    )
    write_atomically(out_dir / BUILD_NAME, record.model_dump_json(indent=1).encode())


def _is_committed(out_dir: Path, shard: ShardPlan, build_hash: str) -> bool:
    report = read_sidecar(out_dir, shard.shard)
    if report is None or report.build_hash != build_hash:
        return False
    tar = out_dir / shard.shard
    return tar.is_file() and tar.stat().st_size == report.num_bytes


def _finish(
    plan: BuildPlan,
    context: BuildContext,
    listing_name: str,
    started: float,
    *,
    built_shards: int,
) -> BuildSummary:
    out_dir, reasons = context.out_dir, Counter[str]()
    num_clips = num_bytes = 0
    sums: LogMelSums | None = None
    manifest = TableWriter(out_dir / MANIFEST_NAME, MANIFEST_SCHEMA)
    rejects = TableWriter(out_dir / REJECTS_NAME, REJECTS_SCHEMA)
    for shard in plan.shards:
        report = read_sidecar(out_dir, shard.shard)
        if report is None:
            raise BuildError(f"{shard.shard} was not built; run the same command again")
        settled = len(report.rows) + len(report.rejects)
        if settled != shard.num_rows:
            raise BuildError(
                f"{shard.shard} settles {settled} of {shard.num_rows} rows; delete its sidecar and "
                "run the same command again"
            )
        manifest.append(report.rows)
        rejects.append(report.rejects)
        reasons.update(row.reason for row in report.rejects)
        num_clips += len(report.rows)
        num_bytes += report.num_bytes
        if report.logmel_sums is not None:
            sums = report.logmel_sums if sums is None else sums + report.logmel_sums
    manifest.close()
    rejects.close()
    config = context.config
    spec = DatasetSpec(
        fields=config.fields,
        video=config.video if config.needs_video else None,
        audio=config.audio if config.needs_audio else None,
        logmel=config.logmel if "logmel" in config.fields else None,
        logmel_statistics=None if sums is None else sums.statistics(),
        num_shards=len(plan.shards),
        num_listed=plan.num_listed,
        num_clips=num_clips,
        num_rejected=reasons.total(),
        num_sources=plan.num_sources,
        labels=plan.labels,
        labels_hash=sha256(json.dumps(plan.labels).encode()).hexdigest(),
        build_hash=plan.build_hash,
        listing_name=listing_name,
        software=software_versions(),
    )
    assert spec.num_listed == spec.num_clips + spec.num_rejected
    write_atomically(out_dir / DATASET_NAME, spec.model_dump_json(indent=1).encode())
    return BuildSummary(
        listed=spec.num_listed,
        ok=spec.num_clips,
        rejected=spec.num_rejected,
        reasons=dict(reasons.most_common()),
        shards=spec.num_shards,
        bytes=num_bytes,
        seconds=round(time.monotonic() - started, 3),
        built_shards=built_shards,
    )
