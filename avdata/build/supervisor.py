"""Builds shards in a process of its own, and outlives whatever a clip does to that process.

A clip that hangs, crashes or takes too much memory ends the process it is in; the next one goes on
in the unfinished tar right behind the last good sample, so that nothing but the one clip is done
again, and the bytes are those of an undisturbed build.
"""

import logging
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from avdata.build.child_process import ChildLost, ChildProcess
from avdata.build.index_job import IndexContext
from avdata.build.job import BuildContext, ClipDone, ShardJob
from avdata.build.messages import (
    BuildRequest,
    Committed,
    DoneSoFar,
    Failed,
    Opened,
    Ready,
    Settled,
)
from avdata.build.plan import reject
from avdata.config import LimitsConfig
from avdata.errors import BuildError, FailureReason
from avdata.schema import ClipRef
from avdata.shards.writer import PartialTar

logger = logging.getLogger(__name__)

START_PATIENCE_S = 300.0
"""For imports, also from a slow disk; and for opening a shard and reading what is there of it."""
MAX_LOSSES_OUTSIDE_CLIPS = 3
"""In a row: while a process starts, or between the clips of a shard."""


class Supervisor:
    """Owns one worker process at a time; a context manager that ends it.

    Use it from one thread, and keep that alive: on Linux the process dies with the thread that
    started it.
    """

    def __init__(self, context: BuildContext | IndexContext) -> None:
        self._context = context
        self._child: ChildProcess | None = None

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def start(self) -> ChildProcess:
        """The process, ready for a shard.

        Raises:
            BuildError: It does not start.
        """
        for _ in range(MAX_LOSSES_OUTSIDE_CLIPS):
            if self._child is not None:
                return self._child
            child = ChildProcess(self._context)
            try:
                answer = child.listen(START_PATIENCE_S)
            except ChildLost as lost:
                logger.warning("a worker process does not start: %s\n%s", lost.message, lost.stack)
                fault = f"{lost.message}: {lost.stack.splitlines()[-1] if lost.stack else ''}"
                continue
            assert isinstance(answer, Ready)
            self._child = child
            return child
        raise BuildError(
            f"worker processes do not start ({fault}); see that `python -m avdata.build.child` "
            "finds its imports, and that memory is free"
        )

    def build(self, job: ShardJob) -> Iterator[ClipDone]:
        """Build and commit one shard; yields once a row, in the order of the plan.

        Raises:
            BuildError: A fault that is not a clip's, as a full disk.
        """
        shard = _ShardState(job, self._context.config.limits)
        try:
            while True:
                child = self.start()
                try:
                    yield from shard.follow(child)
                    return
                except ChildLost as lost:
                    self._child = None
                    shard.blame(lost)
        finally:
            if not shard.committed:
                self.close()


class _ShardState:
    """How far one shard is, whoever works on it."""

    def __init__(self, job: ShardJob, limits: LimitsConfig) -> None:
        self._job, self._limits = job, limits
        self._so_far: DoneSoFar | None = None
        self._rows: list[bytes] = []
        self._opened = False
        self._num_settled = 0
        self._num_told = 0
        self._losses: Counter[tuple[int, bool]] = Counter()
        self._losses_outside = 0
        self.committed = False

    def follow(self, child: ChildProcess) -> Iterator[ClipDone]:
        """Have `child` go on; yields rows that were not told before."""
        self._opened = False
        child.ask(BuildRequest(job=self._job, so_far=self._so_far))
        while not self.committed:
            answer = child.listen(self._patience_s())
            match answer:
                case Opened():
                    self._open(answer)
                case Settled():
                    self._losses_outside = 0
                    self._settle(answer)
                    if self._num_settled > self._num_told:
                        self._num_told += 1
                        yield ClipDone(row_index=answer.row_index, reason=answer.reason)
                case Committed():
                    self.committed = True
                case Failed():
                    logger.error("%s", answer.traceback)
                    raise BuildError(
                        f"building {self._job.plan.shard} failed: {answer.message}; free the disk "
                        "or mend the fault and run the same command again"
                    )
                case _:
                    raise AssertionError(answer)

    def blame(self, lost: ChildLost) -> None:
        """Count a loss against the clip it came at, and give the clip up after the last attempt.

        Raises:
            BuildError: It came at no clip, again and again.
        """
        clip = self._current_clip()
        if clip is None:
            self._losses_outside += 1
            logger.warning("%s outside a clip of %s", lost.message, self._job.plan.shard)
            if self._losses_outside == MAX_LOSSES_OUTSIDE_CLIPS:
                raise BuildError(
                    f"{self._job.plan.shard} cannot be opened or committed: {lost.message}, "
                    f"{self._losses_outside} times; see to the disk and run the same command again"
                )
        else:
            self._count(lost, clip)
        if not (lost.buried and self._can_go_on()):
            self._so_far, self._rows, self._num_settled = None, [], 0

    def _count(self, lost: ChildLost, clip: ClipRef) -> None:
        late = lost.reason == FailureReason.TIMEOUT
        name = "timeout_attempts" if late else "crash_attempts"
        allowed: int = getattr(self._limits, name)
        self._losses[clip.row_index, late] += 1
        times = self._losses[clip.row_index, late]
        logger.warning(
            "%s (line %d), attempt %d of %d: %s",
            *(clip.key, clip.line_number, times, allowed, lost.message),
        )
        if times < allowed:
            return
        name_of_time = ", which is limits.clip_timeout_s" if late else ""
        message = f"{lost.message}{name_of_time}; attempt {times} of limits.{name}={allowed}"
        row = reject(clip, lost.reason, message, lost.stack or None)
        self._job = replace(self._job, given_up=(*self._job.given_up, row))

    def _patience_s(self) -> float | None:
        if not self._opened:
            return START_PATIENCE_S
        return self._limits.clip_timeout_s if self._current_clip() else None

    def _current_clip(self) -> ClipRef | None:
        """What the process works on: None while it opens or commits the shard."""
        at = self._num_settled - len(self._job.plan.rejects)
        clips = self._job.plan.clips
        return clips[at] if self._opened and 0 <= at < len(clips) else None

    def _open(self, answer: Opened) -> None:
        self._opened = True
        if self._so_far is None:
            nothing = pickle.dumps(None)
            self._so_far = DoneSoFar(tar=answer.tar, rows=self._rows, logmel_sums=nothing)

    def _settle(self, answer: Settled) -> None:
        self._num_settled += 1
        self._rows.append(answer.row)
        assert self._so_far is not None
        tar = PartialTar(path=self._so_far.tar.path, num_bytes=answer.num_bytes)
        self._so_far = DoneSoFar(tar=tar, rows=self._rows, logmel_sums=answer.logmel_sums)

    def _can_go_on(self) -> bool:
        if self._so_far is None:
            return True
        tar = self._so_far.tar
        try:
            return tar.path.stat().st_size >= tar.num_bytes
        except OSError:  # renamed just before the end, or removed
            return False
