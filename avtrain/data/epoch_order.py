"""The order of the clips of each epoch.

All randomness is raw 64-bit draws that are sorted or taken modulo, because numpy promises that
those never change, which it does not promise of `permutation` or `integers`.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from avtrain.data.keep_apart import BatchCut, keep_apart, keep_apart_at_seam
from avtrain.data.stream_plan import StreamItem, StreamPlan


class Purpose(IntEnum):
    """What draws are for: each has a generator of its own."""

    CLIPS = 0
    SHARDS = 1
    SAMPLES_OF_SOURCES = 2
    SETS = 3
    SPACING = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpochOrder:
    """Clips in their order; int32 each."""

    position: np.ndarray
    """Of the sample, in `StreamPlan.samples`."""
    occurrence: np.ndarray
    """Which of the sample's clips, as in `StreamItem`."""
    epoch: np.ndarray
    """Of the sample's shard set, as in `StreamItem`."""

    def __len__(self) -> int:
        return len(self.position)

    def __repr__(self) -> str:
        return f"EpochOrder({len(self)} clips)"

    def take(self, index: np.ndarray | slice) -> "EpochOrder":
        """The clips at `index`."""
        return EpochOrder(
            position=self.position[index],
            occurrence=self.occurrence[index],
            epoch=self.epoch[index],
        )


def epoch_order(plan: StreamPlan, epoch: int) -> EpochOrder:
    """Order of one epoch."""
    return EpochOrders(plan).order(epoch)


class EpochOrders:
    """The orders of a plan's epochs; the last two that were asked for are kept."""

    def __init__(self, plan: StreamPlan) -> None:
        self._plan = plan
        num_sets = len(plan.weights)
        self._sets = [_SetOrders(plan, shard_set) for shard_set in range(num_sets)]
        self._counts = set_counts(plan.weights, plan.epoch_length)
        self._whole: OrderedDict[int, EpochOrder] = OrderedDict()
        self._shuffled: OrderedDict[int, EpochOrder] = OrderedDict()

    def items(self, start: int, size: int) -> list[StreamItem]:
        """Clips [start, start + size) of the endless sequence of epochs."""
        items: list[StreamItem] = []
        while size:
            epoch, at = divmod(start, self._plan.epoch_length)
            cut = self.order(epoch).take(slice(at, at + size))
            clips = zip(
                cut.position.tolist(), cut.epoch.tolist(), cut.occurrence.tolist(), strict=True
            )
            samples = self._plan.samples
            items += [
                StreamItem(sample=samples[position], epoch=of_set, occurrence=occurrence)
                for position, of_set, occurrence in clips
            ]
            start, size = start + len(cut), size - len(cut)
        return items

    def order(self, epoch: int) -> EpochOrder:
        """Order of an epoch."""
        return _kept(self._whole, epoch, self._order)

    def _order(self, epoch: int) -> EpochOrder:
        order, plan = self._shuffle(epoch), self._plan
        cut = self._cut(epoch)
        if not plan.keep_sources_apart or not cut.num_before:
            return order
        assert plan.groups is not None
        source, before = plan.groups.source, self._shuffle(epoch - 1)
        moved = keep_apart_at_seam(
            source[order.position],
            source[before.position[-cut.num_before :]],
            cut=cut,
            draws=self._draws(Purpose.SPACING, epoch, 1),
        )
        return order.take(moved)

    def _shuffle(self, epoch: int) -> EpochOrder:
        """The order before the seam to the epoch before it is looked at."""
        return _kept(self._shuffled, epoch, self._make)

    def _make(self, epoch: int) -> EpochOrder:
        plan = self._plan
        order = self._mix(epoch) if len(self._sets) > 1 else self._sets[0].order(epoch)
        if not plan.keep_sources_apart:
            return order
        assert plan.groups is not None
        moved = keep_apart(
            plan.groups.source[order.position],
            cut=self._cut(epoch),
            draws=self._draws(Purpose.SPACING, epoch, 0),
            reach=self._reach(),
        )
        return order.take(moved)

    def _reach(self) -> int | None:
        """Clips of a shuffle window: a clip that changes places is to stay near its shard's."""
        window, groups = self._plan.shuffle_window_shards, self._plan.groups
        if window is None or groups is None:
            return None
        return -(-self._plan.epoch_length * window // len(np.unique(groups.shard)))

    def _mix(self, epoch: int) -> EpochOrder:
        """Places of the sets by chance; each set fills its own in its own order."""
        length = self._plan.epoch_length
        places = _argsort(self._draws(Purpose.SETS, epoch).random_raw(length))
        ends = np.cumsum(self._counts)
        empty = np.empty(length, np.int32)
        mixed = EpochOrder(position=empty, occurrence=empty.copy(), epoch=empty.copy())
        for clips, end, count in zip(self._sets, ends, self._counts, strict=True):
            at = np.sort(places[end - count : end])
            cut = clips.between(epoch * count, (epoch + 1) * count)
            mixed.position[at] = cut.position
            mixed.occurrence[at] = cut.occurrence
            mixed.epoch[at] = cut.epoch
        return mixed

    def _cut(self, epoch: int) -> BatchCut:
        plan = self._plan
        return BatchCut(
            batch_size=plan.batch_size, num_before=epoch * plan.epoch_length % plan.batch_size
        )

    def _draws(self, *parts: int) -> np.random.PCG64:
        return _draws(self._plan, 0, *parts)


class _SetOrders:
    """The epochs of one shard set: each clip once an epoch."""

    def __init__(self, plan: StreamPlan, shard_set: int) -> None:
        self._plan, self._number = plan, shard_set
        if plan.groups is None:
            self._positions = np.arange(len(plan.samples), dtype=np.int32)
        else:
            of_set = plan.groups.shard_set == shard_set
            self._positions = np.flatnonzero(of_set).astype(np.int32)
        self._orders: OrderedDict[int, EpochOrder] = OrderedDict()
        self._length = len(self._positions) * plan.clips_per_sample
        if plan.clips_per_source is not None:
            self._group_by_source()
            self._length = len(self._first) * plan.clips_per_source

    def _group_by_source(self) -> None:
        """Samples of a source side by side, in an order of their own."""
        groups = self._plan.groups
        assert groups is not None
        draws = self._draws(Purpose.SAMPLES_OF_SOURCES).random_raw(len(self._positions))
        source = groups.source[self._positions]
        self._by_source = self._positions[np.lexsort((draws, source))]
        _, self._first, self._num_samples = np.unique(
            np.sort(source), return_index=True, return_counts=True
        )

    def between(self, start: int, stop: int) -> EpochOrder:
        """Clips [start, stop) of the set's epochs in a row."""
        cuts: list[EpochOrder] = []
        while start < stop:
            epoch, at = divmod(start, self._length)
            cuts.append(self.order(epoch).take(slice(at, at + stop - start)))
            start += len(cuts[-1])
        return EpochOrder(
            position=np.concatenate([cut.position for cut in cuts]),
            occurrence=np.concatenate([cut.occurrence for cut in cuts]),
            epoch=np.concatenate([cut.epoch for cut in cuts]),
        )

    def order(self, epoch: int) -> EpochOrder:
        """Order of one epoch of the set alone."""
        return _kept(self._orders, epoch, self._make)

    def _make(self, epoch: int) -> EpochOrder:
        position, occurrence = self._clips(epoch)
        draws = self._draws(Purpose.CLIPS, epoch).random_raw(len(position))
        window, groups = self._plan.shuffle_window_shards, self._plan.groups
        if window is None:
            order = _argsort(draws)
        else:
            assert groups is not None
            shards, shard = np.unique(groups.shard[position], return_inverse=True)
            rank = np.empty(len(shards), np.int64)
            draws_of_shards = self._draws(Purpose.SHARDS, epoch).random_raw(len(shards))
            rank[_argsort(draws_of_shards)] = np.arange(len(shards))
            order = np.lexsort((draws, rank[shard] // window))
        return EpochOrder(
            position=position[order],
            occurrence=occurrence[order],
            epoch=np.broadcast_to(np.int32(epoch), len(order)),
        )

    def _clips(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Position and occurrence of the clips of an epoch, before they are shuffled."""
        per_source = self._plan.clips_per_source
        if per_source is None:
            num_clips = self._plan.clips_per_sample
            occurrence = np.repeat(np.arange(num_clips, dtype=np.int32), len(self._positions))
            return np.tile(self._positions, num_clips), occurrence
        turn = np.arange(per_source)[None]  # (1, clips of a source)
        num_samples = self._num_samples[:, None]
        place = self._first[:, None] + (epoch * per_source + turn) % num_samples
        occurrence = (turn // num_samples).astype(np.int32)
        return self._by_source[place].reshape(-1), occurrence.reshape(-1)

    def _draws(self, *parts: int) -> np.random.PCG64:
        return _draws(self._plan, self._number, *parts)


def set_counts(weights: tuple[float, ...], length: int) -> list[int]:
    """Clips of each set in an epoch of `length`: shares by weight, rounded, at least one each."""
    shares = [weight / sum(weights) * length for weight in weights]
    counts = [max(int(share), 1) for share in shares]
    by_rest = sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i], i))
    missing = length - sum(counts)
    for i in range(max(missing, 0)):
        counts[by_rest[i % len(counts)]] += 1
    for _ in range(-missing):
        counts[counts.index(max(counts))] -= 1
    return counts


def _draws(plan: StreamPlan, *parts: int) -> np.random.PCG64:
    dataset = hashlib.sha256(plan.dataset_fingerprint.encode()).digest()
    seed = np.random.SeedSequence([plan.seed, int.from_bytes(dataset[:16], "little"), *parts])
    return np.random.PCG64(seed)


def _argsort(draws: np.ndarray) -> np.ndarray:
    return np.argsort(draws, kind="stable")


def _kept(
    orders: "OrderedDict[int, EpochOrder]", epoch: int, make: Callable[[int], EpochOrder]
) -> EpochOrder:
    """The order of an epoch, made or kept; the two used last are kept."""
    if epoch not in orders:
        orders[epoch] = make(epoch)
        if len(orders) > 2:
            orders.popitem(last=False)
    orders.move_to_end(epoch)
    return orders[epoch]
