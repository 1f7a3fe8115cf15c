"""`build_shard`: one shard from start to sidecar. The unit of work: idempotent, resumable.

Faults of media become rejected rows here, by `avdata.build.boundary`; a fault that is nobody's
known case becomes reason `unexpected`, with its traceback, and fails the run's exit status.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from avdata.build.boundary import fault_of
from avdata.build.commit import commit_shard
from avdata.build.job import BuildContext, ShardJob
from avdata.build.plan import reject
from avdata.build.sample import Sample, build_sample
from avdata.errors import FailureReason
from avdata.schema import ClipRef, ManifestRow, RejectRow
from avdata.shards.sidecar import LogMelSums, ShardReport
from avdata.shards.writer import PartialTar, ShardWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSoFar:
    """What an earlier worker did of a shard; `build_shard` goes on from there."""

    tar: PartialTar
    rows: tuple[ManifestRow | RejectRow, ...]
    """In the order they were settled."""
    logmel_sums: LogMelSums | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSettled:
    """One more row of a shard is settled, and what it takes to go on behind it."""

    row: ManifestRow | RejectRow
    num_bytes: int
    """Of the tar: so many are whole samples."""
    logmel_sums: LogMelSums | None
    """Over all samples of the shard so far."""

    @property
    def reason(self) -> str | None:
        """Why it was rejected; None when it was stored."""
        return self.row.reason if isinstance(self.row, RejectRow) else None


def build_shard(
    job: ShardJob, context: BuildContext, so_far: ShardSoFar | None = None
) -> Iterator[PartialTar | RowSettled]:
    """Build, write and commit one shard.

    Yields the tar once it is open, then a `RowSettled` after every row that `so_far` lacks: first
    those that the listing itself spoilt, then clips in the plan's order.
    """
    plan = job.plan
    settled = list(so_far.rows) if so_far else []
    sums = so_far.logmel_sums if so_far else None
    context.out_dir.mkdir(parents=True, exist_ok=True)  # of a far set, each machine has its own
    with ShardWriter(context.out_dir / plan.shard, so_far.tar if so_far else None) as writer:
        yield PartialTar(path=writer.partial, num_bytes=writer.num_bytes)
        for planned in _left(job, settled):
            made = _build_or_reject(planned, context) if isinstance(planned, ClipRef) else planned
            if isinstance(made, Sample):
                settled.append(_store(made, writer, job, context))
                if made.logmel_sums is not None:
                    sums = made.logmel_sums if sums is None else sums + made.logmel_sums
            else:
                settled.append(made)
            yield RowSettled(
                row=settled[-1],
                num_bytes=writer.num_bytes,
                logmel_sums=sums,
            )
        sha256, num_bytes = writer.finish()
        rejects = [row for row in settled if isinstance(row, RejectRow)]
        report = ShardReport(
            shard=plan.shard,
            build_hash=context.build_hash,
            sha256=sha256,
            num_bytes=num_bytes,
            rows=[row for row in settled if isinstance(row, ManifestRow)],
            rejects=sorted(rejects, key=lambda row: row.row_index),
            logmel_sums=sums,
        )
        commit_shard(writer, report, plan=plan, context=context)


def _left(job: ShardJob, settled: list[ManifestRow | RejectRow]) -> list[ClipRef | RejectRow]:
    """What of a shard is not settled; clips that were given up are rows already."""
    given_up = {row.row_index: row for row in job.given_up}
    planned = [*job.plan.rejects, *(given_up.get(c.row_index, c) for c in job.plan.clips)]
    done = {row.row_index for row in settled}
    return [row for row in planned if row.row_index not in done]


def _store(
    sample: Sample, writer: ShardWriter, job: ShardJob, context: BuildContext
) -> ManifestRow:
    ranges = writer.add(sample.ref.key, sample.members)
    fields = context.config.fields
    return sample.manifest_row(shard=job.plan.shard, ranges=ranges, fields=fields)


def _build_or_reject(ref: ClipRef, context: BuildContext) -> Sample | RejectRow:
    try:
        return build_sample(ref, config=context.config, resolver=context.resolver)
    except Exception as error:
        fault = fault_of(error, context.config.limits)
        if fault.reason == FailureReason.UNEXPECTED:
            logger.exception("unexpected fault at %s (line %d)", ref.key, ref.line_number)
        return reject(ref, fault.reason, fault.message, fault.traceback)
