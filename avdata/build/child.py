"""The process that decodes: builds the shards, or reads the tars, that it is asked for.

`python -P -m avdata.build.child SUPERVISOR_PID`: requests come on standard input, answers go to
standard output. It may hang, crash or be killed at any clip; its supervisor notices.
"""

import ctypes
import faulthandler
import logging
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from avdata.build.index_job import IndexContext, IndexRequest
from avdata.build.job import BuildContext
from avdata.build.messages import (
    Answer,
    BuildRequest,
    Committed,
    DoneSoFar,
    Failed,
    Opened,
    Ready,
    Settled,
    read_message,
    write_message,
)
from avdata.build.process_memory import (
    invite_the_system_to_end_this_process_first,
    limit_memory,
)
from avdata.shards.writer import PartialTar

if TYPE_CHECKING:
    from avdata.build.worker import RowSettled, ShardSoFar

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""


def main() -> None:
    """Serve until standard input ends."""
    _die_with(int(sys.argv[1]))
    answers = _own_stdout()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)  # works while a library holds the GIL
    invite_the_system_to_end_this_process_first()
    requests = sys.stdin.buffer
    context = read_message(requests)
    assert isinstance(context, BuildContext | IndexContext)
    # imports come here, before the clock of the first clip runs
    answer = _indexing(context) if isinstance(context, IndexContext) else _building(context)
    limit_memory(context.config.limits.worker_memory_bytes)
    write_message(answers, Ready())
    while (request := read_message(requests)) is not None:
        try:
            for message in answer(request):
                write_message(answers, message)
        except Exception as error:
            logger.exception("%s failed", type(request).__name__)
            text = f"{type(error).__name__}: {error}"
            write_message(answers, Failed(message=text, traceback=traceback.format_exc()))


def _building(context: BuildContext) -> Callable[[object], Iterator[Answer]]:
    from avdata.build.worker import build_shard
    from avdata.features.logmel import use_one_thread

    use_one_thread()

    def answer(request: object) -> Iterator[Answer]:
        assert isinstance(request, BuildRequest)
        return _told(build_shard(request.job, context, _unpacked(request.so_far)))

    return answer


def _indexing(context: IndexContext) -> Callable[[object], Iterator[Answer]]:
    from avdata.build.index_child import answer_index

    def answer(request: object) -> Iterator[Answer]:
        assert isinstance(request, IndexRequest)
        return answer_index(request, context.config)

    return answer


def _unpacked(done: DoneSoFar | None) -> "ShardSoFar | None":
    from avdata.build.worker import ShardSoFar

    if done is None:
        return None
    rows = tuple(pickle.loads(row) for row in done.rows)
    return ShardSoFar(tar=done.tar, rows=rows, logmel_sums=pickle.loads(done.logmel_sums))


def _told(events: "Iterator[PartialTar | RowSettled]") -> Iterator[Answer]:
    for event in events:
        if isinstance(event, PartialTar):
            yield Opened(tar=event)
            continue
        yield Settled(
            row_index=event.row.row_index,
            reason=event.reason,
            num_bytes=event.num_bytes,
            row=pickle.dumps(event.row, pickle.HIGHEST_PROTOCOL),
            logmel_sums=pickle.dumps(event.logmel_sums, pickle.HIGHEST_PROTOCOL),
        )
    yield Committed()


def _own_stdout() -> BinaryIO:
    """Standard output for answers alone: what libraries print there goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _die_with(supervisor_pid: int) -> None:
    """Have the system end this process when its supervisor ends, whatever it is doing then."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid:  # it ended before
        sys.exit("the supervisor is gone")


if __name__ == "__main__":
    main()
