"""Which decoded picture stands at each time of a fixed-rate grid.

::

    pictures   |---a---|------b------|--c--|        shown from their own time on
    grid       0   1   2   3   4   5   6   7        k / fps
    picked     a   a   b   b   b   b   c   c        the nearest in time; a tie takes the later one

The first picture also stands for grid times before it, the last one for those after it. A picture
that stands for long (a slide) is not replaced sooner than `MAX_EARLY_S` before the next one is due.
"""

import bisect
import math
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

MAX_EARLY_S = 0.5
"""A picture stands so long before its own time at most."""

Picture = TypeVar("Picture", contravariant=True)

TIE_S = 1e-9
"""Times closer than this are equal: they come from integer time bases through float64."""


def nearest_times(
    times_s: Sequence[float],
    start_s: float,
    fps: float,
    count: int,
    packets_s: Sequence[float] = (),
) -> list[int]:
    """Index into sorted `times_s` of the picture nearest to each of `count` grid times.

    Args:
        packets_s: Times of the packets, in order, where some bring out no picture.
    """
    picks, i, last = [], 0, len(times_s) - 1
    for k in range(count):
        target = start_s + k / fps
        i = max(i, bisect.bisect_right(times_s, target, lo=i) - 1)
        if i < last:
            next_s = times_s[i + 1]
            from_s = max(
                (times_s[i] + next_s) / 2, next_s - MAX_EARLY_S, earliest_s(next_s, packets_s)
            )
            i += target >= from_s - TIE_S
        picks.append(i)
    return picks


def earliest_s(time_s: float, packets_s: Sequence[float]) -> float:
    """Return the time from which a picture may stand: none stands for lost ones before it.

    Args:
        time_s: Of the picture.
        packets_s: Times of all packets, in order.
    """
    at = bisect.bisect_left(packets_s, time_s)
    return (packets_s[at - 1] + time_s) / 2 if at else -math.inf


class FrameStore(Protocol[Picture]):
    """Takes the frames of a clip in order."""

    def add(self, picture: Picture) -> None:
        """The next frame shows a new picture."""
        ...

    def repeat(self) -> None:
        """The next frame shows the same picture again."""
        ...


class GridPicker(Generic[Picture]):
    """Consumes pictures in order of time and hands those that the grid shows to a store.

    Holds one picture at a time; a picture that is never shown costs nothing.
    """

    def __init__(self, *, start_s: float, fps: float, store: FrameStore[Picture]) -> None:
        self._start_s, self._fps, self._store = start_s, fps, store
        self._pending: tuple[Picture, float] | None = None
        self.times_s: list[float] = []
        """Time of the picture behind each stored frame."""

    def push(
        self, picture: Picture, time_s: float, *, limit_s: float, from_s: float = -math.inf
    ) -> None:
        """Take the next picture; grid times at or after `limit_s` are never filled.

        It stands for no time before `from_s`, unless it is the first one.
        """
        if self._pending is not None:
            if time_s <= self._pending[1]:
                return  # a picture that goes back in time cannot be shown
            from_s = max((self._pending[1] + time_s) / 2, time_s - MAX_EARLY_S, from_s)
            self._fill(until_s=min(from_s - TIE_S, limit_s))
        self._pending = (picture, time_s)

    def finish(self, end_s: float) -> None:
        """The last picture is shown until `end_s`."""
        if self._pending is not None:
            self._fill(until_s=end_s)
            self._pending = None

    def _fill(self, *, until_s: float) -> None:
        assert self._pending is not None
        picture, time_s = self._pending
        is_new = True
        while self._start_s + len(self.times_s) / self._fps < until_s:
            if is_new:
                self._store.add(picture)
            else:
                self._store.repeat()
            is_new = False
            self.times_s.append(time_s)
