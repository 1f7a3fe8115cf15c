"""The moment at which a shard counts as built: its tar in place or uploaded, then its sidecar.

The same shard may be built by two workers at once: one that a cluster gave up as lost may still be
at work. Both make the same samples, but a clip that one of them gave up; the first to commit wins,
so that a tar and a sidecar never come from two of them. For a set at a URL that holds on one
machine alone: a store has no locks.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avdata.build.job import BuildContext
from avdata.build.plan import ShardPlan
from avdata.errors import ShardSetError
from avdata.schema import sidecar_name
from avdata.shards.sidecar import ShardReport, read_sidecar, write_sidecar
from avdata.shards.writer import ShardWriter
from avdata.storage import Location

logger = logging.getLogger(__name__)

COMMIT_LOCK_NAME = ".commit.lock"
"""Byte n of it is locked while shard n is committed."""


def is_committed(report: ShardReport | None, num_bytes: int | None, build_hash: str) -> bool:
    """Whether a shard of this build is in place, by its sidecar and the length of its tar."""
    if report is None or report.build_hash != build_hash:
        return False
    return num_bytes == report.num_bytes


def commit_shard(
    writer: ShardWriter, report: ShardReport, *, plan: ShardPlan, context: BuildContext
) -> None:
    """Move a finished shard into place, unless another worker has committed it by now.

    Raises:
        StorageError: It cannot be uploaded.
    """
    location = context.location
    with _commit_lock(context.out_dir, plan.shard_index):
        if _is_whole(location, plan, report.build_hash):
            return
        location.delete(sidecar_name(plan.shard))
        writer.commit()
        if context.upload_to is not None:
            context.upload_to.upload(writer.path, plan.shard)
            writer.path.unlink()
        write_sidecar(location, report)


def _is_whole(location: Location, plan: ShardPlan, build_hash: str) -> bool:
    try:
        report = read_sidecar(location, plan.shard)
    except ShardSetError:
        return False
    return report is not None and is_committed(report, location.size(plan.shard), build_hash)


@contextmanager
def _commit_lock(directory: Path, shard_index: int) -> Iterator[None]:
    """One committer a shard, also across machines; without locks, the odds are still good."""
    handle = os.open(directory / COMMIT_LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX, 1, shard_index)
        except OSError as error:
            logger.warning("%s cannot be locked (%s)", directory / COMMIT_LOCK_NAME, error)
        yield
    finally:
        os.close(handle)
