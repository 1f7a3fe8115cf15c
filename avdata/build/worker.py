"""`build_shard`: one shard from start to sidecar. The unit of work: picklable, idempotent.

Here is the one boundary where faults of media become rejected rows; a fault that is nobody's
known case becomes reason `unexpected`, with its traceback, and fails the run's exit status.
"""

import logging
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from avdata.build.plan import ShardPlan, reject
from avdata.build.sample import Sample, build_sample
from avdata.config import BuildConfig
from avdata.errors import FailureReason, MediaError
from avdata.schema import ClipRef, ManifestRow, RejectRow
from avdata.shards.sidecar import LogMelSums, ShardReport, write_sidecar
from avdata.shards.writer import ShardWriter
from avdata.sources.resolve import MediaResolver

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildContext:
    """What all shards of a build share."""

    config: BuildConfig
    out_dir: Path
    resolver: MediaResolver
    build_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardJob:
    """One shard to build."""

    plan: ShardPlan
    quarantine: Mapping[int, tuple[FailureReason, str]] = field(default_factory=dict)
    """row_index of clips that ended a worker before, with reason and message: not tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipDone:
    """Progress: one more row of a shard is settled."""

    row_index: int
    reason: str | None
    """Why it was rejected; None when it was stored."""


def build_shard(job: ShardJob, context: BuildContext) -> Iterator[ClipDone | ShardReport]:
    """Build, write and commit one shard.

    Yields a `ClipDone` after every row, in the plan's order (rows that the listing itself spoilt
    come first), and the `ShardReport` at the end.
    """
    plan, config = job.plan, context.config
    rows: list[ManifestRow] = []
    rejects = list(plan.rejects)
    for row in rejects:
        yield ClipDone(row_index=row.row_index, reason=row.reason)
    sums: LogMelSums | None = None
    with ShardWriter(context.out_dir / plan.shard) as writer:
        for ref in plan.clips:
            made = _build_or_reject(ref, job, context)
            if isinstance(made, RejectRow):
                rejects.append(made)
                yield ClipDone(row_index=ref.row_index, reason=made.reason)
                continue
            ranges = writer.add(ref.key, made.members)
            rows.append(made.manifest_row(shard=plan.shard, ranges=ranges, fields=config.fields))
            if made.logmel_sums is not None:
                sums = made.logmel_sums if sums is None else sums + made.logmel_sums
            yield ClipDone(row_index=ref.row_index, reason=None)
        sha256, num_bytes = writer.commit()
    report = ShardReport(
        shard=plan.shard,
        build_hash=context.build_hash,
        sha256=sha256,
        num_bytes=num_bytes,
        rows=rows,
        rejects=sorted(rejects, key=lambda row: row.row_index),
        logmel_sums=sums,
    )
    write_sidecar(context.out_dir, report)
    yield report


def _build_or_reject(ref: ClipRef, job: ShardJob, context: BuildContext) -> Sample | RejectRow:
    if ref.row_index in job.quarantine:
        reason, message = job.quarantine[ref.row_index]
        return reject(ref, reason, message)
    try:
        return build_sample(ref, config=context.config, resolver=context.resolver)
    except MediaError as error:
        return reject(ref, error.reason, error.message)
    except Exception as error:
        logger.exception("unexpected fault at %s (line %d)", ref.key, ref.line_number)
        return reject(
            ref,
            FailureReason.UNEXPECTED,
            f"{type(error).__name__}: {error}",
            traceback.format_exc(),
        )
