"""Steadier activation maps: by the mirror image, and by smoothing in space."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor

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


def refined_maps(
    maps_of: Callable[[Tensor], Tensor],
    frames: Tensor,
    *,
    width_dim: int,
    mirrored: bool,
    smoothing_cells: float,
) -> Float[np.ndarray, "*maps h w"]:
    """Maps of frames, smoothed; with `mirrored` the mean with those of the mirror image.

    Args:
        maps_of: Frames to maps (..., h, w).
        frames: As `maps_of` takes them.
        width_dim: The dimension of `frames` that runs across the picture.
        mirrored: In twice the time.
        smoothing_cells: Standard deviation of the smoothing.
    """
    found = maps_of(frames).float()
    if mirrored:
        found = (found + maps_of(frames.flip(width_dim)).float().flip(-1)) / 2
    return smoothed(found.cpu().numpy(), smoothing_cells)
