"""One worker process seen from outside: started, asked, watched, ended."""

import fcntl
import logging
import math
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import avdata
from avdata.build.index_job import IndexContext
from avdata.build.job import BuildContext
from avdata.build.messages import Answer, MessageBuffer, write_message
from avdata.build.process_memory import count_memory_kills, resident_bytes
from avdata.errors import FailureReason

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
"""At the memory of the process."""
STACK_PATIENCE_S = 0.5
"""For the stack of a process that is late; it writes it even while a library spins."""
EXIT_PATIENCE_S = 2.0
"""Between the end of its answers and its own end, so that its status is its own."""
CORPSE_PATIENCE_S = 10.0
"""A killed process that the kernel keeps longer, as on a dead network disk, is left to it."""
NEAR_LIMIT = 0.8
"""A process that crashes while it holds this share of its memory crashed for want of more."""
PIPE_BYTES = 1 << 16
"""What a pipe holds at most, as a rule."""
SAID_BYTES, SAID_LINES = 20_000, 40
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


class ChildLost(Exception):
    """The process is gone: what ended it, in the words of a rejected row."""

    def __init__(self, reason: FailureReason, message: str, *, stack: str, buried: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.stack = stack
        """Where it stood, as far as it could still say."""
        self.buried = buried
        """False when the kernel still holds it, and with it perhaps its files."""


class ChildProcess:
    """A process that runs `avdata.build.child`; no fork of this one, which may have threads."""

    def __init__(self, context: BuildContext | IndexContext) -> None:
        self._limit_bytes = context.config.limits.worker_memory_bytes
        self._memory_kills = count_memory_kills()
        # the peak that the system tells of a process counts that of the one it was forked from
        own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._forked_bytes = own_peak * MAXRSS_UNIT_BYTES
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process
        flags = fcntl.fcntl(self._errors, fcntl.F_GETFL)
        fcntl.fcntl(self._errors, fcntl.F_SETFL, flags | os.O_APPEND)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "avdata.build.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the driver
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._buffer = MessageBuffer()
        self._resident_bytes = 0
        self._next_look_at = 0.0
        self.ask(context)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, message: object) -> None:
        """Send a request; a process that cannot take it is noticed when it is listened to."""
        os.ftruncate(self._errors.fileno(), 0)
        try:
            write_message(self._requests, message)
        except (BrokenPipeError, ConnectionResetError):
            return

    def listen(self, patience_s: float | None) -> Answer:
        """The next answer, waited for as long as `patience_s`; None waits for ever.

        Raises:
            ChildLost: There is none in time, the process held too much memory, or it died. It is
                dead now.
        """
        until = time.monotonic() + (math.inf if patience_s is None else patience_s)
        while True:
            message = self._buffer.pop()
            if message is not None:
                return message  # type: ignore[return-value]
            now = time.monotonic()
            if now >= self._next_look_at:
                self._look_at_memory(now)
            wait_s = min(LOOK_EVERY_S, max(until - now, 0.0))
            if self._poll.poll(1000 * wait_s):
                data = os.read(self._answers.fileno(), PIPE_BYTES)
                if not data:
                    raise self._died()
                self._buffer.feed(data)
            elif patience_s is not None and now >= until:
                raise self._late(patience_s)

    def end(self) -> None:
        """Kill the process, if it lives, and forget it."""
        self._bury()
        for pipe in (self._requests, self._answers, self._errors):
            with suppress(OSError):  # what could not be sent any more
                pipe.close()

    def said(self) -> str:
        """The last lines of what the process wrote to standard error since it was asked."""
        size = os.fstat(self._errors.fileno()).st_size
        data = os.pread(self._errors.fileno(), SAID_BYTES, max(size - SAID_BYTES, 0))
        lines = data.decode(errors="replace").strip().splitlines()
        told = [line for line in lines if not line.startswith("Extension modules:")]
        return re.sub(r"0x[0-9a-f]{6,}", "0x...", "\n".join(told[-SAID_LINES:]).strip())

    def _look_at_memory(self, now: float) -> None:
        self._next_look_at = now + LOOK_EVERY_S
        held = resident_bytes(self.pid)
        if held is None:
            return
        self._resident_bytes = held
        if held > self._limit_bytes:
            self._ask_for_stack(within_s=LOOK_EVERY_S / 2)
            raise self._lost(
                FailureReason.OUT_OF_MEMORY,
                f"the worker process held more than limits.worker_memory_bytes={self._limit_bytes}",
            )

    def _late(self, patience_s: float) -> ChildLost:
        self._ask_for_stack(within_s=STACK_PATIENCE_S)
        return self._lost(FailureReason.TIMEOUT, f"not done after {patience_s:g} s")

    def _died(self) -> ChildLost:
        status, peak_bytes = self._bury(grace_s=EXIT_PATIENCE_S)
        if status is None:
            how = "ended in a way that the system does not tell"
        elif status < 0:
            how = f"was ended by {_signal_name(-status)}"
        else:
            how = f"ended with status {status}"
        if status == -signal.SIGKILL and count_memory_kills() > self._memory_kills:
            message = "the system ended the worker process for want of memory"
            return self._lost(FailureReason.OUT_OF_MEMORY, message)
        near = self._resident_bytes > NEAR_LIMIT * self._limit_bytes
        if near or peak_bytes > max(self._limit_bytes, 1.05 * self._forked_bytes):
            message = (
                f"the worker process {how} when it held nearly "
                f"limits.worker_memory_bytes={self._limit_bytes}"
            )
            return self._lost(FailureReason.OUT_OF_MEMORY, message)
        return self._lost(FailureReason.CRASHED, f"the worker process {how}")

    def _lost(self, reason: FailureReason, message: str) -> ChildLost:
        self._bury()
        buried = self._process.returncode is not None
        lost = ChildLost(reason, message, stack=self.said(), buried=buried)
        self.end()
        return lost

    def _ask_for_stack(self, *, within_s: float) -> None:
        """Have the process write where it stands to its standard error."""
        before = last = os.fstat(self._errors.fileno()).st_size
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            time.sleep(0.02)
            size = os.fstat(self._errors.fileno()).st_size
            if before < size == last:
                return
            last = size

    def _bury(self, *, grace_s: float = 0.0) -> tuple[int | None, int]:
        """End the process: its exit status (negative: a signal), if known, and its peak memory."""
        if self._process.returncode is not None:
            return self._process.returncode, 0
        kill_at = time.monotonic() + grace_s
        until = kill_at + CORPSE_PATIENCE_S
        while (now := time.monotonic()) < until:
            try:
                if now >= kill_at:
                    os.kill(self.pid, signal.SIGKILL)
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):  # the system buries on its own here
                self._process.returncode = 0
                return None, 0
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return self._process.returncode, usage.ru_maxrss * MAXRSS_UNIT_BYTES
            time.sleep(0.005)
        logger.warning("worker process %d does not end; it is left to the system", self.pid)
        return None, 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _environment() -> dict[str, str]:
    """That of this process, in which the same avdata is found and one thread is used."""
    package_parent = str(Path(avdata.__file__).parents[1])
    paths = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), package_parent]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
