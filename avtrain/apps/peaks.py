"""Moments and places where maps are strongest."""

from dataclasses import dataclass

import numpy as np

MIN_DISTANCE_S = 0.5
"""Of two peaks closer than this the weaker one is left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """A place of a picture at a moment."""

    time_s: float
    x_px: float
    y_px: float
    """In the picture as shown, of the center of the strongest cell."""
    strength: float


def find_peaks(
    strengths: np.ndarray,
    *,
    times_s: list[float],
    width_px: int,
    height_px: int,
    lowest: float,
) -> list[Peak]:
    """The strongest cell at each moment at which it is stronger than half a second around.

    Args:
        strengths: float (steps, h, w), at least 0; the cells cover the picture.
        times_s: Moment of each step.
        width_px: Of the picture as shown, as is `height_px`.
        height_px: See `width_px`.
        lowest: Weaker peaks are left out.

    Returns:
        Peaks in order of time.
    """
    by_step = strengths.reshape(len(strengths), -1)
    best = by_step.max(axis=1)
    taken: list[int] = []
    for index in np.argsort(-best, kind="stable"):
        if best[index] <= lowest or best[index] <= 0:
            break
        if all(abs(times_s[index] - times_s[other]) >= MIN_DISTANCE_S for other in taken):
            around = slice(max(index - 1, 0), index + 2)
            if best[index] >= best[around].max():
                taken.append(int(index))
    height, width = strengths.shape[1:]
    peaks = []
    for index in sorted(taken):
        row, column = divmod(int(by_step[index].argmax()), width)
        peaks.append(
            Peak(
                time_s=times_s[index],
                x_px=(column + 0.5) / width * width_px,
                y_px=(row + 0.5) / height * height_px,
                strength=float(best[index]),
            )
        )
    return peaks
