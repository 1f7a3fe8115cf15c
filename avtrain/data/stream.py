"""The order in which samples are trained: a pure function of dataset, seed and epoch.

Guarantees: one global order for any number of ranks, parts and threads; every epoch holds each
sample exactly `clips_per_sample` times, or each source exactly `clips_per_source` times; all ranks
get equally many batches of equal size; a stream started at `num_seen` goes on exactly where another
one that has dealt `num_seen` samples stopped, also with another number of ranks.

Costs: the orders of two epochs are in memory, 8 bytes a clip each; in mixes, and where sources are
kept apart, up to three times as much. An order of 1.8 million clips takes under a second to make.

The epochs' orders are joined into one endless sequence, and that is cut into batches: no sample is
dropped and all batches are full. So the batch at a seam holds samples of two epochs, and may hold
one sample twice. A batch is the work of one step: ranks take equal parts of it in order, and a rank
that accumulates gradients takes its part in equal pieces::

    epoch 0            epoch 1
    3 1 4 0 2 5 6   |  2 4 1 3 6 0 5      batches of 4:  [3 1 4 0] [2 5 6 2] [4 1 3 6] [0 5 . .]
                                          of 2 ranks:     0 0 1 1   0 0 1 1   0 0 1 1   0 0 1 1

Several shard sets are mixed by weight: each runs through its own epochs, and has the same number of
clips in every epoch of the mix, which is as long as one pass over all sets together.
"""

from collections.abc import Iterator

from avtrain.data.epoch_order import EpochOrders
from avtrain.data.stream_plan import SampleGroups, StreamItem, StreamPlan, stream_fingerprint

__all__ = [
    "SampleGroups",
    "StreamItem",
    "StreamPlan",
    "batches",
    "sequential_batches",
    "stream_fingerprint",
]


def batches(plan: StreamPlan, *, num_seen: int = 0, rank: int = 0) -> Iterator[list[StreamItem]]:
    """Endless batches of one rank, from the state in which all ranks together dealt `num_seen`.

    Each is one part of a step: `num_parts` of them in a row are the rank's share of it.

    Raises:
        ValueError: The rank or the state is impossible.
    """
    if not 0 <= rank < plan.num_ranks:
        raise ValueError(f"{rank=} must be in [0, {plan.num_ranks})")
    if num_seen < 0:
        raise ValueError(f"{num_seen=} must not be negative")
    orders, size = EpochOrders(plan), plan.part_size
    start = num_seen + rank * plan.num_parts * size
    while True:
        for part in range(plan.num_parts):
            yield orders.items(start + part * size, size)
        start += plan.batch_size


def sequential_batches(samples: tuple[int, ...], batch_size: int) -> Iterator[list[StreamItem]]:
    """Each sample once, in the given order; the last batch may be short."""
    for start in range(0, len(samples), batch_size):
        cut = samples[start : start + batch_size]
        yield [StreamItem(sample=sample, epoch=0, occurrence=0) for sample in cut]
