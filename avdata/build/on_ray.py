"""The executor on Ray: one actor a worker, with a supervised process; lost actors cost no clip.

    driver                      actor (light)                   its worker process
    deals out shards    ->      Supervisor.build        ->      decodes, writes, commits
    counts settled rows <-      batches of ClipDone     <-      every settled row

Media bytes stay in the worker processes. Actors are asked for as long as there are shards for
them, so a node that comes is used, and one that goes is made up for.
"""

import logging
import os
import pickle
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from avdata.build.job import BuildContext, ClipDone, ShardJob
from avdata.build.lifeline import LastResort, Lifeline, Service, answers
from avdata.build.plan import reject
from avdata.build.supervisor import Supervisor
from avdata.errors import BuildError, FailureReason

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read by Ray at import
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

logger = logging.getLogger(__name__)

WORKER_MEMORY_BYTES = 600_000_000
"""What an actor and its process need for ordinary clips: scheduling goes by it."""
OBJECT_STORE_BYTES = 100_000_000
"""Only plans and reports pass through it."""
REPORT_EVERY_S = 1.0
"""An actor tells of settled rows in batches; telling of each costs more than some clips."""
POLL_S = 1.0
LOOK_AT_CLUSTER_EVERY_S = 5.0
NODE_PATIENCE_S = 3.0
"""With Ray's daemon on this machine: 15 s after its end, Ray ends this process."""
HEAD_PATIENCE_S = 20.0
"""With Ray's head, which may be started again somewhere; after 60 s, Ray ends this process."""
MAX_FAILED_STARTS = 3
"""In a row, with growing pauses between them."""
START_PATIENCE_S = 600.0
"""Until the first worker is up; a cluster may have to start a node for it."""
STUCK_PATIENCE_S = 5.0
"""In a call of Ray, when what it waits for is known to be gone."""
MAX_LOSSES_AT_ONE_CLIP = 5
"""Of whole actors: a clip that takes down its supervisor too must not go round for ever."""


class _ShardBuilder:
    """Runs in a Ray worker process."""

    def __init__(self, context: BuildContext) -> None:
        self._supervisor = Supervisor(context)

    def start(self) -> None:
        """Comes back when shards can be built."""
        self._supervisor.start()

    def build(self, packed_job: bytes, report_every_s: float) -> Iterator[list[ClipDone]]:
        """Build one shard; yields at once, then what was settled since the last time."""
        yield []
        done: list[ClipDone] = []
        told_at = time.monotonic()
        for event in self._supervisor.build(pickle.loads(packed_job)):
            done.append(event)
            if time.monotonic() - told_at >= report_every_s:
                yield done
                done, told_at = [], time.monotonic()
        yield done


@dataclass(slots=True)
class _Shard:
    """A shard that is not committed yet, packed: plans are large, and a cluster has many."""

    packed_job: bytes
    num_told: int = 0
    """Rows that were reported; they come in the same order every time."""
    lost_at: int = -1
    """`num_told` when an actor was lost with it."""
    num_losses: int = 0
    """At this row, in a row."""


@dataclass(slots=True)
class _Running:
    actor: Any
    shard: _Shard
    begun: bool = False
    """It has reported at all; one that was dead before it could is no sign of a bad clip."""
    num_seen: int = 0
    """Rows that this actor reported."""


def run_on_ray(
    jobs: Iterable[ShardJob],
    context: BuildContext,
    *,
    num_workers: int | None,
    address: str | None = None,
) -> Iterator[ClipDone]:
    """Build all `jobs` with `num_workers` actors, on a Ray of this machine or a running cluster.

    None for `num_workers` is one a CPU of the cluster, also of nodes that come later.

    Raises:
        BuildError: No Ray at `address`, it went away, no worker starts, or a worker met a fault
            that is not a clip's.
    """
    if address is not None:
        _check_address(address)
    _connect(address, num_workers)
    try:
        yield from _Pool(context, num_workers, jobs).run()
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Say at once what Ray would say after minutes, or not at all."""
    if "://" in address:
        raise BuildError(
            f"--ray-address {address} is one of Ray Client, which cannot do this; run the command "
            "on a node of the cluster with --ray-address auto"
        )
    host, _, port = address.rpartition(":")
    if port.isdecimal() and not answers(host.strip("[]"), int(port)):
        raise BuildError(_UNREACHABLE.format(address=address, error="nothing answers there"))


_UNREACHABLE = (
    "Ray at {address} cannot be reached: {error}; start one with `ray start --head`, or leave "
    "--ray-address out"
)


def _connect(address: str | None, num_workers: int | None) -> None:
    local: dict[str, Any] = {"num_cpus": num_workers, "object_store_memory": OBJECT_STORE_BYTES}
    if num_workers is not None:  # a machine with little memory still gets its workers
        local["_memory"] = num_workers * WORKER_MEMORY_BYTES
    try:
        ray.init(
            address=address or "local",  # never a cluster that merely happens to run
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else local),
        )
    except Exception as error:  # Ray has no type of its own for this, but plain Exception
        if address is None:
            raise BuildError(
                f"Ray does not start on this machine: {error}; run the same command again, or "
                "with --workers 0 to do without"
            ) from error
        raise BuildError(_UNREACHABLE.format(address=address, error=error)) from error


def _services() -> list[Service]:
    context = ray.get_runtime_context()
    own = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    head_host, _, head_port = context.gcs_address.rpartition(":")
    head = Service(
        name="Ray's head node",
        host=head_host.strip("[]"),
        port=int(head_port),
        patience_s=HEAD_PATIENCE_S,
    )
    node = Service(
        name="Ray's daemon on this machine",
        host=own["NodeManagerAddress"],
        port=own["NodeManagerPort"],
        patience_s=NODE_PATIENCE_S,
    )
    return [head, node]


class _Pool:
    """Actors and the shards they work on; at most one shard an actor is in flight."""

    def __init__(
        self, context: BuildContext, num_workers: int | None, jobs: Iterable[ShardJob]
    ) -> None:
        self._builder = ray.remote(
            num_cpus=1, memory=WORKER_MEMORY_BYTES, max_restarts=0, max_task_retries=0
        )(_ShardBuilder)
        self._context = ray.put(context)
        self._fixed_size = num_workers
        self._size = num_workers or 1
        self._look_at = 0.0
        self._jobs = iter(jobs)
        self._waiting: deque[_Shard] = deque()
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._running: dict[Any, _Running] = {}
        self._failed_starts = 0
        self._start_again_at = 0.0
        self._no_worker_since: float | None = None
        self._services = _services()
        self._lifeline = Lifeline(self._services)

    def run(self) -> Iterator[ClipDone]:
        """Build everything."""
        with LastResort(self._services, grace_s=STUCK_PATIENCE_S):
            yield from self._run()

    def _run(self) -> Iterator[ClipDone]:
        while True:
            if self._lifeline.check():  # else it would wait for the head, and end with it
                self._look_at_cluster()
            self._fetch_jobs()
            self._deal()
            if not (self._running or self._waiting):
                return
            self._ask_for_actors()
            self._give_up_without_workers()
            pending = [*self._running, *self._starting]
            if not pending:
                time.sleep(POLL_S)
                continue
            ready, _ = ray.wait(pending, num_returns=1, timeout=POLL_S)
            for ref in ready:
                if ref in self._starting:
                    self._take_in(ref)
                else:
                    yield from self._advance(ref)

    def _look_at_cluster(self) -> None:
        now = time.monotonic()
        if self._fixed_size is not None or now < self._look_at:
            return
        self._look_at = now + LOOK_AT_CLUSTER_EVERY_S
        self._size = max(1, int(ray.cluster_resources().get("CPU", 0)))

    def _fetch_jobs(self) -> None:
        """As many as there may be workers for, and no more: plans come from an iterator."""
        while len(self._waiting) + len(self._running) < self._size:
            job = next(self._jobs, None)
            if job is None:
                return
            self._waiting.append(_Shard(pickle.dumps(job, pickle.HIGHEST_PROTOCOL)))

    def _deal(self) -> None:
        while self._waiting and self._idle:
            shard, actor = self._waiting.popleft(), self._idle.pop()
            # after a loss every row is told, so that a clip to blame can be named
            report_every_s = 0.0 if shard.num_losses else REPORT_EVERY_S
            build = actor.build.options(num_returns="streaming")
            generator = build.remote(shard.packed_job, report_every_s)
            self._running[generator] = _Running(actor, shard)

    def _ask_for_actors(self) -> None:
        num_wanted = min(len(self._waiting), self._size - len(self._running))
        if time.monotonic() < self._start_again_at:
            return
        while len(self._starting) < num_wanted:
            actor = self._builder.remote(self._context)
            self._starting[actor.start.remote()] = actor

    def _take_in(self, ref: Any) -> None:
        actor = self._starting.pop(ref)
        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            self._note_failed_start(error)
            return
        self._failed_starts = 0
        self._idle.append(actor)

    def _note_failed_start(self, error: Exception) -> None:
        now = time.monotonic()
        logger.warning("a worker does not start: %s", error)
        if now < self._start_again_at:
            return  # with others, for one reason
        self._failed_starts += 1
        self._start_again_at = now + 2.0**self._failed_starts
        if self._failed_starts >= MAX_FAILED_STARTS and not self._running:
            cause = getattr(error, "cause", None) or error
            raise BuildError(
                f"workers do not start, {self._failed_starts} times in a row: {cause}; see that "
                "the same avdata is installed on every node and that memory is free, then run "
                "the same command again"
            ) from error

    def _give_up_without_workers(self) -> None:
        now = time.monotonic()
        if self._running or self._idle:
            self._no_worker_since = None
        elif self._no_worker_since is None:
            self._no_worker_since = now
        elif now - self._no_worker_since > START_PATIENCE_S:
            raise BuildError(
                f"no worker has come up for {START_PATIENCE_S:g} s: each needs 1 CPU and "
                f"{WORKER_MEMORY_BYTES / 1e6:g} MB of Ray's memory resource on one node, and the "
                f"cluster has {ray.cluster_resources()}; add a node, or leave --ray-address out"
            )

    def _advance(self, generator: Any) -> Iterator[ClipDone]:
        running = self._running[generator]
        try:
            done = ray.get(next(generator))
        except StopIteration:
            del self._running[generator]
            self._idle.append(running.actor)
            return
        except ray.exceptions.RayTaskError as error:
            raise BuildError(str(error.cause)) from error
        except ray.exceptions.RayError as error:
            del self._running[generator]
            ray.kill(running.actor, no_restart=True)  # if it lives, nobody listens to it
            logger.warning("a worker was lost, its shard goes to another one: %s", error)
            self._take_back(running)
            return
        running.begun = True
        shard = running.shard
        for event in done:
            running.num_seen += 1
            if running.num_seen > shard.num_told:
                shard.num_told += 1
                yield event

    def _take_back(self, running: _Running) -> None:
        shard = running.shard
        self._waiting.appendleft(shard)
        if not running.begun:
            return
        at_same_row = shard.lost_at == shard.num_told
        shard.num_losses = shard.num_losses + 1 if at_same_row else 1
        shard.lost_at = shard.num_told
        if shard.num_losses >= MAX_LOSSES_AT_ONE_CLIP:
            shard.packed_job = _without_clip(shard.packed_job, shard.num_told)
            shard.num_losses = 0


def _without_clip(packed_job: bytes, row: int) -> bytes:
    """The job with the clip given up that is settled as number `row`, if that is a clip."""
    job: ShardJob = pickle.loads(packed_job)
    at = row - len(job.plan.rejects)
    if not 0 <= at < len(job.plan.clips):
        raise BuildError(
            f"{job.plan.shard} has taken down {MAX_LOSSES_AT_ONE_CLIP} workers outside any clip; "
            "see to the disk and run the same command again"
        )
    message = f"{MAX_LOSSES_AT_ONE_CLIP} workers were lost at this clip, supervisors and all"
    row_of_clip = reject(job.plan.clips[at], FailureReason.CRASHED, message)
    return pickle.dumps(replace(job, given_up=(*job.given_up, row_of_clip)))
