"""Which decoded picture stands at each time of a fixed-rate grid.

::

    pictures   |---a---|------b------|--c--|        shown from their own time on
    grid       0   1   2   3   4   5   6   7        k / fps
    picked     a   a   b   b   b   b   c   c        the nearest in time; a tie takes the later one
"""

import bisect
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Picture = TypeVar("Picture")
Stored = TypeVar("Stored")

TIE_S = 1e-9
"""Times closer than this are equal: they come from integer time bases through float64."""


def nearest_times(times_s: Sequence[float], start_s: float, fps: float, count: int) -> list[int]:
    """Index into sorted `times_s` of the picture nearest to each of `count` grid times."""
    picks, i, last = [], 0, len(times_s) - 1
    for k in range(count):
        target = start_s + k / fps
        i = max(i, bisect.bisect_right(times_s, target, lo=i) - 1)
        if i < last and times_s[i + 1] - target <= target - times_s[i] + TIE_S:
            i += 1
        picks.append(i)
    return picks


class GridPicker(Generic[Picture, Stored]):
    """Consumes pictures in order of time and keeps, through `store`, those that the grid shows.

    Holds one picture at a time; `store` is called once for each picture that is shown at all.
    """

    def __init__(self, *, fps: float, store: Callable[[Picture], Stored]) -> None:
        self._fps, self._store = fps, store
        self._start_s: float | None = None
        self._pending: tuple[Picture, float] | None = None
        self.stored: list[Stored] = []
        """One entry a grid time."""
        self.times_s: list[float] = []
        """Time of the picture behind each entry."""

    def start(self, start_s: float) -> None:
        """Fix grid time 0, before the first picture."""
        self._start_s = start_s

    def push(self, picture: Picture, time_s: float, *, limit_s: float) -> None:
        """Take the next picture; grid times at or after `limit_s` are never filled."""
        if self._pending is not None:
            if time_s <= self._pending[1]:
                return  # a picture that goes back in time cannot be shown
            self._fill(until_s=min((self._pending[1] + time_s) / 2 - TIE_S, limit_s))
        self._pending = (picture, time_s)

    def finish(self, end_s: float) -> None:
        """The last picture is shown until `end_s`."""
        if self._pending is not None:
            self._fill(until_s=end_s)
            self._pending = None

    def _fill(self, *, until_s: float) -> None:
        assert self._start_s is not None and self._pending is not None
        picture, time_s = self._pending
        stored: Stored | None = None
        while self._start_s + len(self.stored) / self._fps < until_s:
            if stored is None:
                stored = self._store(picture)
            self.stored.append(stored)
            self.times_s.append(time_s)
