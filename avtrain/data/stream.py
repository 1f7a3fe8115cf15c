"""The order in which samples are trained: a pure function of the seed.

Guarantees: one global order for any number of ranks; every epoch holds each sample exactly
`clips_per_sample` times; a stream started at `num_seen` goes on exactly where another one that has
dealt `num_seen` samples stopped, also with another number of ranks.

Costs: the orders of two epochs are in memory (8 bytes a clip of an epoch).

The epochs' orders are joined into one endless sequence, and that is cut into batches: no sample is
dropped and all batches are full. So the batch at a seam holds samples of two epochs, and may hold
one sample twice::

    epoch 0        epoch 1
    3 1 4 0 2   |  2 4 1 3 0      batches of 4:  [3 1 4 0] [2 2 4 1] [3 0 . .]
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamItem:
    """One occurrence of a sample."""

    sample: int
    """Row of the manifest."""
    epoch: int
    occurrence: int
    """Which of the sample's clips of this epoch, in [0, clips_per_sample)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """What fixes the order."""

    samples: tuple[int, ...]
    """Rows of the manifest to train on, ascending."""
    seed: int
    batch_size: int
    """Samples a rank and step."""
    clips_per_sample: int = 1
    num_ranks: int = 1

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError("a stream needs at least one sample")
        for name in ("batch_size", "clips_per_sample", "num_ranks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")

    @property
    def epoch_length(self) -> int:
        """Clips of one epoch."""
        return len(self.samples) * self.clips_per_sample

    @property
    def global_batch_size(self) -> int:
        """Clips of one step over all ranks."""
        return self.batch_size * self.num_ranks

    def num_steps(self, epochs: float) -> int:
        """Steps that cover `epochs` epochs; the last one may reach into the next epoch."""
        return -(-round(epochs * self.epoch_length) // self.global_batch_size)


def epoch_order(plan: StreamPlan, epoch: int) -> np.ndarray:
    """Order of one epoch: int64 (epoch_length,), values are occurrence * len(samples) + position.

    Raw 64-bit draws are sorted, because numpy promises that those never change, which it does not
    promise of `permutation`.
    """
    draws = np.random.PCG64(np.random.SeedSequence([plan.seed, epoch])).random_raw(
        plan.epoch_length
    )
    return np.argsort(draws, kind="stable")


def batches(plan: StreamPlan, *, num_seen: int = 0, rank: int = 0) -> Iterator[list[StreamItem]]:
    """Endless batches of one rank, from the state in which all ranks together dealt `num_seen`.

    Raises:
        ValueError: The rank or the state is impossible.
    """
    if not 0 <= rank < plan.num_ranks:
        raise ValueError(f"{rank=} must be in [0, {plan.num_ranks})")
    if num_seen < 0:
        raise ValueError(f"{num_seen=} must not be negative")
    orders: dict[int, np.ndarray] = {}
    start = num_seen + rank * plan.batch_size
    while True:
        items = []
        for position in range(start, start + plan.batch_size):
            epoch, at = divmod(position, plan.epoch_length)
            if epoch not in orders:
                orders = {e: order for e, order in orders.items() if e == epoch - 1}
                orders[epoch] = epoch_order(plan, epoch)
            occurrence, index = divmod(int(orders[epoch][at]), len(plan.samples))
            items.append(StreamItem(sample=plan.samples[index], epoch=epoch, occurrence=occurrence))
        yield items
        start += plan.global_batch_size


def sequential_batches(samples: tuple[int, ...], batch_size: int) -> Iterator[list[StreamItem]]:
    """Each sample once, in the given order; the last batch may be short."""
    for start in range(0, len(samples), batch_size):
        cut = samples[start : start + batch_size]
        yield [StreamItem(sample=sample, epoch=0, occurrence=0) for sample in cut]
