"""Seconds to pixels: the one axis that all panels of a picture share."""

import math
from dataclasses import dataclass

import numpy as np

TICK_STEPS = (1, 2, 5)


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeAxis:
    """Clip clock [0, duration_s) over pixels [left_px, left_px + width_px)."""

    left_px: int
    width_px: int
    duration_s: float

    def __post_init__(self) -> None:
        if not self.duration_s > 0 or self.width_px < 1:
            raise ValueError(f"{self.duration_s=} and {self.width_px=} must be positive")

    @property
    def right_px(self) -> int:
        return self.left_px + self.width_px

    @property
    def px_per_s(self) -> float:
        return self.width_px / self.duration_s

    def x_px(self, time_s: float) -> int:
        """Pixel of a time."""
        return self.left_px + round(time_s * self.px_per_s)

    def edges_s(self) -> np.ndarray:
        """Times of the width_px + 1 borders of the axis' pixels."""
        return np.arange(self.width_px + 1) / self.px_per_s

    def ticks_s(self, *, min_distance_px: int) -> list[float]:
        """Times at multiples of 1, 2 or 5 times a power of ten, from 0 on."""
        least_s = min_distance_px / self.px_per_s
        power = 10.0 ** math.floor(math.log10(least_s))
        steps = [power * k for k in (*TICK_STEPS, 10)]
        step_s = next(step for step in steps if step >= least_s * (1 - 1e-9))
        count = math.floor(self.duration_s / step_s + 1e-9)
        return [round(k * step_s, 9) for k in range(count + 1)]

    def tick_text(self, time_s: float, *, min_distance_px: int) -> str:
        """A tick's label with as many decimals as its neighbors need."""
        ticks = self.ticks_s(min_distance_px=min_distance_px)
        step_s = ticks[1] if len(ticks) > 1 else self.duration_s
        decimals = max(0, -math.floor(math.log10(step_s) + 1e-9))
        return f"{time_s:.{decimals}f}"


def bin_means(values: np.ndarray, positions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Values (..., n) at rising `positions` (n,), averaged between `edges`: (..., len(edges) - 1).

    A bin without a position takes the value nearest to its middle.
    """
    first = np.searchsorted(positions, edges[:-1])
    stop = np.searchsorted(positions, edges[1:])
    middle = (edges[:-1] + edges[1:]) / 2
    right = np.clip(np.searchsorted(positions, middle), 1, max(len(positions) - 1, 1))
    right = np.minimum(right, len(positions) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(middle - positions[left] <= positions[right] - middle, left, right)
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), np.float64)
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    count = stop - first
    means = (sums[..., stop] - sums[..., first]) / np.maximum(count, 1)
    return np.where(count > 0, means, values[..., nearest])
