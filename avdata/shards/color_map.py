"""Numbers to colors that look evenly spaced to the eye, dark to light."""

import numpy as np

MAGMA = (
    (0, 0, 4),
    (28, 16, 68),
    (79, 18, 123),
    (129, 37, 129),
    (181, 54, 122),
    (229, 80, 100),
    (251, 135, 97),
    (254, 194, 135),
    (252, 253, 191),
)
"""Anchors of matplotlib's magma (CC0), at ninths of its range; colors between are interpolated."""


def color(values: np.ndarray, *, low: float, high: float) -> np.ndarray:
    """uint8 RGB (..., 3) of values; those below `low` or above `high` take the ends' colors."""
    if not low < high:
        high = low + 1.0
    place = np.clip((values - low) / (high - low), 0, 1) * (len(MAGMA) - 1)
    anchors = np.arange(len(MAGMA))
    channels = [np.interp(place, anchors, [rgb[c] for rgb in MAGMA]) for c in range(3)]
    return np.round(np.stack(channels, -1)).astype(np.uint8)
