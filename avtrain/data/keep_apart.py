"""Moves clips of one source into different batches.

Two clips of a source in a batch are false negatives: methods that contrast the rows of a batch
push apart what belongs together. A clip that finds a twin in its batch changes places with a clip
drawn by chance, if neither then has a twin; so the order stays as random as it was, and what a
swap cannot mend stays as it is. Where no source has clips for more than half of the batches, and
there are twice as many sources as clips in a batch, no twin is left.

Costs: one sort, and a few draws for each clip that has a twin.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_NUM_DRAWS = 16
"""Partners tried by chance before all are looked at."""
_MAX_LOOKS = 1000
"""Times that all clips of an epoch are looked at for a partner: a bound for hopeless cases."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchCut:
    """Where an epoch is cut into batches."""

    batch_size: int
    num_before: int
    """Clips of the epoch before in the first batch, in [0, batch_size)."""

    def batch(self, at: int) -> int:
        """Batch of the clip at a place in the epoch's order."""
        return (at + self.num_before) // self.batch_size

    def places(self, batch: int) -> slice:
        """Places of a batch in the epoch's order."""
        first = batch * self.batch_size - self.num_before
        return slice(max(first, 0), first + self.batch_size)


def keep_apart(
    source: np.ndarray, *, cut: BatchCut, draws: np.random.PCG64, reach: int | None = None
) -> np.ndarray:
    """int64 permutation of the clips after which batches have as few twins as swaps can reach.

    Args:
        source: Source of each clip, in the order that is to be changed.
        cut: The batches.
        draws: Where chance comes from.
        reach: Partners are looked for first among so many clips before and after.
    """
    swaps = _Swaps(source, cut, draws)
    reach = reach or len(source)
    for at in twins(source, cut):
        near = slice(max(at - reach, 0), min(at + reach, len(source)))
        swaps.part(at, near, slice(0, len(source)))
    return swaps.moved


def keep_apart_at_seam(
    source: np.ndarray, before: np.ndarray, *, cut: BatchCut, draws: np.random.PCG64
) -> np.ndarray:
    """Permutation after which the first batch has no twins in the end of the epoch before.

    The last batch keeps its clips: the next epoch relies on them. So an epoch of fewer than three
    batches stays as it is.

    Args:
        source: Source of each clip of the epoch.
        before: Sources of the `cut.num_before` last clips of the epoch before, as far as it goes.
        cut: The batches.
        draws: Where chance comes from.
    """
    swaps = _Swaps(source, cut, draws, before=before)
    last = cut.batch(len(source) - 1)
    if last < 2:
        return swaps.moved
    between = slice(cut.places(1).start, cut.places(last).start)
    for at in np.flatnonzero(np.isin(source[cut.places(0)], before)).tolist():
        swaps.part(at, between, between)
    return swaps.moved


def twins(source: np.ndarray, cut: BatchCut) -> list[int]:
    """Places of clips whose source is already in their batch, ascending."""
    batch = (np.arange(len(source)) + cut.num_before) // cut.batch_size
    order = np.lexsort((source, batch))  # stable: of twins the later one comes later
    same = (np.diff(source[order]) == 0) & (np.diff(batch[order]) == 0)
    return sorted(order[1:][same].tolist())


class _Swaps:
    """An order in which clips change places."""

    def __init__(
        self,
        source: np.ndarray,
        cut: BatchCut,
        draws: np.random.PCG64,
        *,
        before: np.ndarray | None = None,
    ) -> None:
        self._source, self._cut = source.copy(), cut
        self._draws = _integers(draws)
        self._before = before
        self._looks_left = _MAX_LOOKS
        self._hopeless: set[int] = set()
        self.moved = np.arange(len(source))

    def part(self, at: int, near: slice, among: slice) -> None:
        """Swap the clip at a place, if it has a twin, for one `near` it or else from `among`."""
        own = int(self._source[at])
        others = self._others(at)
        if own in self._hopeless or not (others == own).any():
            return  # an earlier swap took the twin away
        partner = self._drawn(at, own, others, near)
        if partner is None and self._looks_left:
            self._looks_left -= 1
            partner = self._found(at, own, others, among)
        if partner is not None:
            for order in (self._source, self.moved):
                order[[at, partner]] = order[[partner, at]]

    def _others(self, at: int) -> np.ndarray:
        """Sources of the other clips of a clip's batch."""
        batch = self._cut.batch(at)
        places = self._cut.places(batch)
        others = np.delete(self._source[places], at - places.start)
        if batch == 0 and self._before is not None:
            others = np.concatenate([others, self._before])
        return others

    def _drawn(self, at: int, own: int, others: np.ndarray, among: slice) -> int | None:
        source, batch = self._source, self._cut.batch(at)
        for _ in range(_NUM_DRAWS):
            partner: int = among.start + next(self._draws) % (among.stop - among.start)
            there = self._cut.batch(partner)
            if (
                there != batch
                and not (source[self._cut.places(there)] == own).any()
                and not (others == source[partner]).any()
            ):
                return partner
        return None

    def _found(self, at: int, own: int, others: np.ndarray, among: slice) -> int | None:
        source, cut = self._source, self._cut
        batch = (np.arange(len(source)) + cut.num_before) // cut.batch_size
        taken = np.zeros(int(batch[-1]) + 1, bool)
        taken[batch[source == own]] = True
        if taken.all():
            self._hopeless.add(own)  # it has a clip in every batch
            return None
        fits = ~taken[batch] & ~np.isin(source, others)
        places = among.start + np.flatnonzero(fits[among])
        return int(places[next(self._draws) % len(places)]) if len(places) else None


def _integers(draws: np.random.PCG64) -> Iterator[int]:
    while True:
        yield from draws.random_raw(256).tolist()
