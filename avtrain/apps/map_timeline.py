"""Maps of overlapping windows -> one map for every moment of a video.

::

    window 0   |  c0   c1   c2   c3  |            cells of a window, each centered in its time
    window 1             |  c0   c1   c2   c3  |
    weight     a raised cosine over each window: where two overlap, one fades into the other
    timeline   .  .  .  .  .  .  .  .  .  .  .  . steps; between them the map changes evenly

Maps are kept, at the size of their cells: some kilobytes for a second of video.

Departures from the code that Owens and Efros 2018 released: a cell lies at the center of what it
sees, there the first of T cells at 0 and each next one 1/T of the clip later; windows of a long
video fade into each other, there it has one window, or hard seams.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_EDGE_WEIGHT = 1e-3
"""Of a window at its ends: where no other window reaches, it counts alone."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WindowMap:
    """What a network sees in one window."""

    start_s: float
    """Time of its first frame."""
    clip_s: float
    cell_s: float
    first_center_s: float
    """Center of the first cell after `start_s`; each next one is `cell_s` later."""
    values: np.ndarray
    """float32 (t, h, w), signed: positive speaks for picture and sound together."""
    withheld: tuple[str | None, ...]
    """Why the evidence of a cell does not count, for each step of `values`; None where it does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Withheld:
    """A stretch of time without a map."""

    start_s: float
    end_s: float
    reason: str


@dataclass(kw_only=True, slots=True)
class _Step:
    total: np.ndarray
    weight: float = 0.0
    """Of windows whose evidence counts."""
    refused: dict[str, float] = field(default_factory=dict)
    """Weight of the others, by reason."""

    @property
    def share(self) -> float:
        """Part of the weight whose evidence counts."""
        return self.weight / (self.weight + sum(self.refused.values()))


class MapTimeline:
    """Collects windows in order of time; afterwards knows the map at any moment."""

    def __init__(self, *, start_s: float, step_s: float) -> None:
        self.start_s, self.step_s = start_s, step_s
        self._steps: list[_Step] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, window: WindowMap) -> None:
        """Take up the map of a window."""
        stop_s = window.start_s + window.clip_s
        first = int(np.floor((window.start_s - self.start_s) / self.step_s + 1e-6))
        stop = int(np.ceil((stop_s - self.start_s) / self.step_s - 1e-6))
        for index in range(max(first, 0), max(stop, first + 1)):
            while len(self._steps) <= index:
                self._steps.append(_Step(total=np.zeros(window.values.shape[1:], np.float32)))
            step, time_s = self._steps[index], self.time_s(index)
            phase = (time_s - window.start_s) / window.clip_s
            weight = np.sin(np.pi * min(max(phase, 0.0), 1.0)) ** 2 + _EDGE_WEIGHT
            cell = (time_s - window.start_s - window.first_center_s) / window.cell_s
            reason = window.withheld[min(max(round(cell), 0), len(window.values) - 1)]
            if reason is not None:
                step.refused[reason] = step.refused.get(reason, 0.0) + weight
                continue
            step.total += weight * _between(window.values, cell)
            step.weight += weight

    def time_s(self, index: int) -> float:
        """Moment that a step stands for."""
        return self.start_s + (index + 0.5) * self.step_s

    def share(self, index: int) -> float:
        """Part of the evidence at a step that counts, in [0, 1]."""
        return self._steps[index].share

    def values(self, index: int) -> np.ndarray:
        """Map of a step, float32 (h, w); zeros where it is withheld."""
        step = self._steps[index]
        return step.total / step.weight if step.weight else step.total

    def at(self, time_s: float) -> np.ndarray:
        """Map at a moment, float32 (h, w), weaker the less of its evidence counts."""
        place = min(max((time_s - self.start_s) / self.step_s - 0.5, 0.0), len(self) - 1.0)
        low = int(place)
        high, share = min(low + 1, len(self) - 1), place - low
        return (1 - share) * self._shown(low) + share * self._shown(high)

    def _shown(self, index: int) -> np.ndarray:
        return self.values(index) * np.float32(self.share(index))

    def shown(self) -> np.ndarray:
        """All steps, float32 (steps, h, w), as `at` gives them."""
        return np.stack([self._shown(index) for index in range(len(self))])

    def withheld(self) -> list[Withheld]:
        """Stretches where no evidence counts, in order of time."""
        found: list[Withheld] = []
        for index, step in enumerate(self._steps):
            if step.weight:
                continue
            reason = _strongest(step.refused)
            start_s = self.start_s + index * self.step_s
            end_s = start_s + self.step_s
            if found and found[-1].reason == reason and abs(found[-1].end_s - start_s) < 1e-6:
                found[-1] = Withheld(start_s=found[-1].start_s, end_s=end_s, reason=reason)
            else:
                found.append(Withheld(start_s=start_s, end_s=end_s, reason=reason))
        return found


def _between(values: np.ndarray, cell: float) -> np.ndarray:
    """Map between two cells, the ends' own beyond them."""
    place = min(max(cell, 0.0), len(values) - 1.0)
    low = int(place)
    high, share = min(low + 1, len(values) - 1), place - low
    between: np.ndarray = (1 - share) * values[low] + share * values[high]
    return between


def _strongest(refused: Mapping[str, float]) -> str:
    return max(refused, key=lambda reason: refused[reason])
