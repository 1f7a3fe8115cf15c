"""The process that decodes: builds the shards that its supervisor asks for, and nothing else.

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
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from avdata.build.job import BuildContext
from avdata.build.messages import (
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
    assert isinstance(context, BuildContext)
    from avdata.build.worker import build_shard  # before the clock of the first clip runs
    from avdata.features.logmel import use_one_thread

    use_one_thread()
    limit_memory(context.config.limits.worker_memory_bytes)
    write_message(answers, Ready())
    while (request := read_message(requests)) is not None:
        assert isinstance(request, BuildRequest)
        try:
            _answer(build_shard(request.job, context, _unpacked(request.so_far)), answers)
        except Exception as error:
            logger.exception("%s failed", request.job.plan.shard)
            message = f"{type(error).__name__}: {error}"
            write_message(answers, Failed(message=message, traceback=traceback.format_exc()))


def _unpacked(done: DoneSoFar | None) -> "ShardSoFar | None":
    from avdata.build.worker import ShardSoFar

    if done is None:
        return None
    rows = tuple(pickle.loads(row) for row in done.rows)
    return ShardSoFar(tar=done.tar, rows=rows, logmel_sums=pickle.loads(done.logmel_sums))


def _answer(events: "Iterator[PartialTar | RowSettled]", answers: BinaryIO) -> None:
    for event in events:
        if isinstance(event, PartialTar):
            write_message(answers, Opened(tar=event))
            continue
        settled = Settled(
            row_index=event.row.row_index,
            reason=event.reason,
            num_bytes=event.num_bytes,
            row=pickle.dumps(event.row, pickle.HIGHEST_PROTOCOL),
            logmel_sums=pickle.dumps(event.logmel_sums, pickle.HIGHEST_PROTOCOL),
        )
        write_message(answers, settled)
    write_message(answers, Committed())


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
