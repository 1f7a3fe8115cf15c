"""The executor on Ray: one actor a core builds whole shards; a lost or late worker costs one clip.

Workers report every settled row, so the driver knows at which clip a worker hung or died: that
clip is quarantined, and the shard is built again without it. Media bytes stay in the workers.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from avdata.build.worker import BuildContext, ClipDone, ShardJob, build_shard
from avdata.errors import BuildError, FailureReason
from avdata.schema import ClipRef
from avdata.shards.sidecar import ShardReport

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read by Ray at import
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

logger = logging.getLogger(__name__)

CRASHES_BEFORE_QUARANTINE = 2
"""A worker may die for reasons of the machine: its clip is tried once more."""
MAX_FAILED_STARTS = 3
"""In a row."""
OBJECT_STORE_BYTES = 100_000_000
"""Only plans and reports pass through it."""
POLL_S = 1.0


class _ShardBuilder:
    """Runs in a Ray worker process."""

    def __init__(self) -> None:
        from avdata.features.logmel import use_one_thread

        use_one_thread()

    def build(
        self, job: ShardJob, context: BuildContext
    ) -> Iterator[ClipDone | ShardReport | None]:
        yield None  # the process is up: from now on time counts
        yield from build_shard(job, context)


@dataclass(slots=True)
class _Running:
    """A shard in an actor's hands."""

    actor: Any
    job: ShardJob
    last_event_at: float | None = None
    """None while the worker process starts."""
    settled: set[int] = field(default_factory=set)

    def current_clip(self) -> ClipRef | None:
        return next((c for c in self.job.plan.clips if c.row_index not in self.settled), None)


def run_on_ray(
    jobs: Iterable[ShardJob],
    context: BuildContext,
    *,
    num_workers: int,
    address: str | None = None,
) -> Iterator[ClipDone | ShardReport]:
    """Build all `jobs` with `num_workers` actors, on a Ray of this machine or a running cluster.

    Raises:
        BuildError: No Ray at `address`, or a worker met a fault that is not a clip's.
    """
    _connect(address, num_workers)
    try:
        yield from _Pool(context, num_workers).run(jobs)
    finally:
        ray.shutdown()


def _connect(address: str | None, num_workers: int) -> None:
    local = {"num_cpus": num_workers, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(
            address=address or "local",  # never a cluster that merely happens to run
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else local),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BuildError(
            f"Ray at {address or 'this machine'} cannot be reached: {error}; start one with "
            "`ray start --head`, or leave --ray-address out"
        ) from None


class _Pool:
    """Actors and the shards they work on; at most one shard an actor is in flight."""

    def __init__(self, context: BuildContext, num_workers: int) -> None:
        self._context = ray.put(context)
        self._timeout_s = context.config.limits.clip_timeout_s
        self._num_workers = num_workers
        self._builder = ray.remote(num_cpus=1, max_restarts=0)(_ShardBuilder)
        self._running: dict[Any, _Running] = {}
        self._crashes: Counter[int] = Counter()
        self._failed_starts = 0

    def run(self, jobs: Iterable[ShardJob]) -> Iterator[ClipDone | ShardReport]:
        waiting = iter(jobs)
        for _ in range(self._num_workers):
            self._start_next(waiting, None)
        while self._running:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL_S)
            for generator in ready:
                yield from self._advance(generator, waiting)
            self._end_late_workers()

    def _start_next(self, waiting: Iterator[ShardJob], actor: Any | None) -> None:
        job = next(waiting, None)
        if job is not None:
            self._start(job, actor or self._builder.remote())

    def _start(self, job: ShardJob, actor: Any) -> None:
        generator = actor.build.options(num_returns="streaming").remote(job, self._context)
        self._running[generator] = _Running(actor=actor, job=job)

    def _advance(
        self, generator: Any, waiting: Iterator[ShardJob]
    ) -> Iterator[ClipDone | ShardReport]:
        running = self._running[generator]
        try:
            event = ray.get(next(generator))
        except StopIteration:
            del self._running[generator]
            self._start_next(waiting, running.actor)
            return
        except ray.exceptions.RayActorError as error:
            del self._running[generator]
            self._start(self._after_crash(running, error), self._builder.remote())
            return
        except ray.exceptions.RayTaskError as error:
            raise BuildError(
                f"building {running.job.plan.shard} failed: {error.cause!r}; free the disk or "
                "mend the fault and run the same command again"
            ) from error
        running.last_event_at = time.monotonic()
        self._failed_starts = 0
        if isinstance(event, ClipDone):
            running.settled.add(event.row_index)
        if event is not None:
            yield event

    def _after_crash(self, running: _Running, error: Exception) -> ShardJob:
        clip = running.current_clip()
        if running.last_event_at is None:
            self._failed_starts += 1
            if self._failed_starts > MAX_FAILED_STARTS:
                raise BuildError(
                    f"worker processes do not start: {error}; see that avdata is installed on "
                    "every node, and that memory is free"
                ) from error
        if clip is None or running.last_event_at is None:
            return running.job
        self._crashes[clip.row_index] += 1
        logger.warning("a worker died at %s (line %d)", clip.key, clip.line_number)
        if self._crashes[clip.row_index] < CRASHES_BEFORE_QUARANTINE:
            return running.job
        message = f"the worker process died {CRASHES_BEFORE_QUARANTINE} times at this clip"
        return _without(running.job, clip, FailureReason.CRASHED, message)

    def _end_late_workers(self) -> None:
        now = time.monotonic()
        for generator, running in list(self._running.items()):
            clip = running.current_clip()
            since = running.last_event_at
            if clip is None or since is None or now - since <= self._timeout_s:
                continue
            logger.warning("%s (line %d) passed its time", clip.key, clip.line_number)
            del self._running[generator]
            ray.kill(running.actor, no_restart=True)
            message = f"not done after limits.clip_timeout_s={self._timeout_s}"
            job = _without(running.job, clip, FailureReason.TIMEOUT, message)
            self._start(job, self._builder.remote())


def _without(job: ShardJob, clip: ClipRef, reason: FailureReason, message: str) -> ShardJob:
    return replace(job, quarantine={**job.quarantine, clip.row_index: (reason, message)})
