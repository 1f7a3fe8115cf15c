"""How well an order shuffles, in numbers: 1 is a perfect shuffle.

Neighbors in the manifest are often cut from one medium, filmed in one place or of one class, so
that batches of neighbors are all alike.
"""

from dataclasses import dataclass

import numpy as np

from avtrain.data.epoch_order import EpochOrder, EpochOrders
from avtrain.data.stream_plan import StreamPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class ShuffleQuality:
    """Of the first two epochs of a stream."""

    neighbor_distance: float | None
    """Mean distance in the order of two samples that are neighbors in the manifest, as a share of
    what a perfect shuffle gives. None where an epoch holds no neighbors."""
    min_neighbor_distance: int | None
    """Smallest such distance, in clips; 1 or 2 in a perfect shuffle."""
    neighbors_together: float | None
    """Share of neighbors that are in one batch, over what a perfect shuffle gives."""
    epoch_distance: float | None
    """Mean distance of a sample's places in the two epochs, as a share of what two independent
    perfect shuffles give; 0 for equal orders. None where the epochs have no sample in common."""
    rows_with_twin: float
    """Mean share of a batch's clips that are not the only ones of their source in it."""
    shards_per_batch: float
    """Mean number of shards that a batch takes clips of."""
    num_shards: int

    def __str__(self) -> str:
        """One line for a log."""
        parts = []
        if self.neighbor_distance is not None:
            parts.append(f"neighbors {self.neighbor_distance:.2f} times as far apart")
        if self.epoch_distance is not None:
            parts.append(f"epochs {self.epoch_distance:.2f} times as different")
        perfect = f"{' and '.join(parts)} as in a perfect one; " if parts else ""
        return (
            f"shuffle: {perfect}{self.rows_with_twin:.1%} of a batch's clips have another clip of "
            f"their source in it; a batch takes clips of {self.shards_per_batch:.1f} of "
            f"{self.num_shards} shards"
        )


def measure_shuffle(plan: StreamPlan) -> ShuffleQuality:
    """Quality of the first two epochs; needs the groups of the plan.

    Sorts an epoch a few times: seconds for millions of clips.
    """
    if plan.groups is None:
        raise ValueError("sources and shards are not known; give the plan its groups")
    orders = EpochOrders(plan)
    first, second = orders.order(0), orders.order(1)
    num_samples, length = len(plan.samples), plan.epoch_length
    place, later = _first_places(first, num_samples), _first_places(second, num_samples)
    pair = _neighbors(plan, place)
    distance = np.abs(place[pair] - place[pair + 1])
    together = place[pair] // plan.batch_size == place[pair + 1] // plan.batch_size
    both = (place >= 0) & (later >= 0)
    moved = np.abs(place[both] - later[both])
    # ends of an interval of n places drawn without return are (n + 1) / 3 apart in the mean, and
    # with return (n - 1 / n) / 3
    batches = max(length // plan.batch_size, 1)
    return ShuffleQuality(
        neighbor_distance=float(distance.mean() * 3 / (length + 1)) if len(pair) else None,
        min_neighbor_distance=int(distance.min()) if len(pair) else None,
        neighbors_together=(
            float(together.mean() * (length - 1) / (plan.batch_size - 1))
            if len(pair) and 1 < plan.batch_size < length
            else None
        ),
        epoch_distance=(
            float(moved.mean() * 3 / (length - 1 / length)) if len(moved) and length > 1 else None
        ),
        rows_with_twin=_rows_with_twin(plan, first, batches),
        shards_per_batch=_shards_per_batch(plan, first, batches),
        num_shards=len(np.unique(plan.groups.shard)),
    )


def _first_places(order: EpochOrder, num_samples: int) -> np.ndarray:
    """Place of the first clip of each sample, -1 where the epoch has none."""
    places = np.full(num_samples, -1, np.int64)
    places[order.position[::-1]] = np.arange(len(order) - 1, -1, -1)
    return places


def _neighbors(plan: StreamPlan, place: np.ndarray) -> np.ndarray:
    """Positions that are in the order together with the next one, of the same shard set."""
    assert plan.groups is not None
    shard_set = plan.groups.shard_set
    here = (place[:-1] >= 0) & (place[1:] >= 0) & (shard_set[:-1] == shard_set[1:])
    return np.flatnonzero(here)


def _by_batch(plan: StreamPlan, values: np.ndarray, batches: int) -> np.ndarray:
    """Sorted values of each whole batch: (batches, clips)."""
    size = min(plan.batch_size, len(values))
    return np.sort(values[: batches * size].reshape(batches, size), axis=1)


def _rows_with_twin(plan: StreamPlan, order: EpochOrder, batches: int) -> float:
    assert plan.groups is not None
    source = _by_batch(plan, plan.groups.source[order.position], batches)
    same = np.diff(source, axis=1) == 0
    edge = np.zeros((batches, 1), bool)
    return float((np.hstack([same, edge]) | np.hstack([edge, same])).mean())


def _shards_per_batch(plan: StreamPlan, order: EpochOrder, batches: int) -> float:
    assert plan.groups is not None
    shard = _by_batch(plan, plan.groups.shard[order.position], batches)
    return float(1 + (np.diff(shard, axis=1) != 0).sum(axis=1).mean())
