"""Reads third-party tars in a process of its own, and outlives whatever a sample does to it."""

import logging
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from avdata.build.child_process import ChildLost, ChildProcess
from avdata.build.index_job import (
    ForeignTar,
    IndexContext,
    IndexRequest,
    SampleRow,
    TarDone,
    TarOpened,
)
from avdata.build.messages import Failed
from avdata.build.supervisor import START_PATIENCE_S, Supervisor
from avdata.errors import BuildError, FailureReason
from avdata.shards.index_config import FrameKind
from avdata.shards.index_contents import ForeignContents
from avdata.shards.index_sample import SamplePlace, reject_sample
from avdata.shards.tar_contents import TarSample

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TarFindings:
    """Everything that a tar gave."""

    contents: ForeignContents
    rows: tuple[SampleRow, ...]
    """One a sample of the contents, in their order."""
    kind: FrameKind | None


class TarReader:
    """Owns one process that reads tars, and starts another where a sample ends it.

    Use it from one thread at a time, and keep the thread alive that used it first.
    """

    def __init__(self, context: IndexContext) -> None:
        self._context = context
        self._processes = Supervisor(context)
        self._child: ChildProcess | None = None
        self._stopped = False

    def close(self) -> None:
        """End the process."""
        self._processes.close()

    def stop(self) -> None:
        """Have a `read` in another thread end at once, with BuildError."""
        self._stopped = True
        child = self._child
        if child is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)

    def read(self, tar: ForeignTar, kind: FrameKind | None) -> TarFindings:
        """Headers and rows of a tar; without rows where `kind` is None.

        Raises:
            BuildError: Processes do not start, or `stop` was called.
        """
        state = _TarState(tar, kind, self._context)
        while not state.done:
            if self._stopped:
                raise BuildError(f"reading {tar.shard} was stopped; run the same command again")
            self._child = self._processes.start()
            try:
                state.follow(self._child)
            except ChildLost as lost:
                self._processes.close()
                state.blame(lost.reason, lost.message, lost.stack)
        return state.findings()


class _TarState:
    """Progress of one tar, whichever process reads it."""

    def __init__(self, tar: ForeignTar, kind: FrameKind | None, context: IndexContext) -> None:
        self._tar, self._kind, self._limits = tar, kind, context.config.limits
        self._opened: TarOpened | None = None
        self._rows: list[SampleRow] = []
        self._losses: Counter[tuple[int, bool]] = Counter()
        self.done = False

    def findings(self) -> TarFindings:
        assert self._opened is not None
        return TarFindings(
            contents=self._opened.contents, rows=tuple(self._rows), kind=self._opened.kind
        )

    def follow(self, child: ChildProcess) -> None:
        """Have `child` go on behind the last row."""
        child.ask(IndexRequest(tar=self._tar, kind=self._kind, first=len(self._rows)))
        patience_s = START_PATIENCE_S
        while not self.done:
            answer = child.listen(patience_s)
            match answer:
                case TarOpened():
                    self._opened = self._opened or answer
                    patience_s = self._limits.clip_timeout_s
                case SampleRow():
                    self._rows.append(answer)
                case TarDone():
                    self.done = True
                case Failed():
                    logger.error("%s", answer.traceback)
                    self._give_up_tar(answer.message)
                case _:
                    raise AssertionError(answer)

    def blame(self, reason: FailureReason, message: str, stack: str) -> None:
        """Count a loss against the sample it came at, and give that up after the last attempt."""
        at = len(self._rows)
        late = reason == FailureReason.TIMEOUT
        name = "timeout_attempts" if late else "crash_attempts"
        allowed: int = getattr(self._limits, name)
        self._losses[at, late] += 1
        times = self._losses[at, late]
        logger.warning(
            "%s, sample %d, attempt %d of %d: %s", self._tar.shard, at, times, allowed, message
        )
        if times < allowed:
            return
        name_of_time = ", which is limits.clip_timeout_s" if late else ""
        told = f"{message}{name_of_time}; attempt {times} of limits.{name}={allowed}"
        if self._opened is None:
            self._give_up_tar(told)
        elif at < len(self._opened.contents.samples):
            self._rows.append(
                self._given_up(self._opened.contents.samples[at], reason, told, stack)
            )
        else:
            self.done = True  # it was lost behind the last sample

    def _give_up_tar(self, message: str) -> None:
        """Reject what is left of the tar, which cannot be read."""
        if self._opened is None:
            contents = ForeignContents(
                samples=(), left_out=(), damage=f"reading its headers failed: {message}"
            )
            self._opened = TarOpened(contents=contents, kind=None)
        for sample in self._opened.contents.samples[len(self._rows) :]:
            self._rows.append(self._given_up(sample, FailureReason.DAMAGED_TAR, message, ""))
        self.done = True

    def _given_up(
        self, sample: TarSample, reason: FailureReason, message: str, stack: str
    ) -> SampleRow:
        place = SamplePlace(
            key=sample.key,
            shard=self._tar.shard,
            split=self._tar.split,
            row_index=len(self._rows),
        )
        row = reject_sample(sample, place, reason=reason, message=message, traceback=stack or None)
        return SampleRow(row=row, members=tuple(row.members or ()), not_read=())
