"""The executor without Ray: shards one after another in this process, for a debugger or a test."""

from collections.abc import Iterable, Iterator

from avdata.build.worker import BuildContext, ClipDone, ShardJob, build_shard
from avdata.features.logmel import use_one_thread
from avdata.shards.sidecar import ShardReport


def run_local(jobs: Iterable[ShardJob], context: BuildContext) -> Iterator[ClipDone | ShardReport]:
    """Build all `jobs`; a clip that hangs or crashes takes this process with it."""
    use_one_thread()
    for job in jobs:
        yield from build_shard(job, context)
