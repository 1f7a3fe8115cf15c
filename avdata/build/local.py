"""The executor without Ray: shards one after another in this process, for a debugger or a test."""

from collections.abc import Iterable, Iterator

from avdata.build.job import BuildContext, ClipDone, ShardJob
from avdata.build.worker import RowSettled, build_shard
from avdata.features.logmel import use_one_thread


def run_local(jobs: Iterable[ShardJob], context: BuildContext) -> Iterator[ClipDone]:
    """Build all `jobs`; a clip that hangs or crashes takes this process with it."""
    use_one_thread()
    for job in jobs:
        for event in build_shard(job, context):
            if isinstance(event, RowSettled):
                yield ClipDone(row_index=event.row.row_index, reason=event.reason)
