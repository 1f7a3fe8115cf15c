"""Crop boxes, and frames resampled from them; on the CPU, in the loader's threads."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

_ASPECT_RANGE = (3 / 4, 4 / 3)
_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class CropBox:
    """Part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def random_crop_box(
    rng: np.random.Generator, *, height: int, width: int, min_area: float
) -> CropBox:
    """Box of a share of the area uniform in [min_area, 1] and log-uniform aspect in [3/4, 4/3].

    Where ten draws do not fit, the largest centered box of an allowed aspect.

    Reference: Szegedy et al. 2015, section 6; the form of torchvision's RandomResizedCrop.
    """
    low, high = _ASPECT_RANGE
    for _ in range(_ATTEMPTS):
        area = height * width * (min_area + (1 - min_area) * rng.random())
        aspect = math.exp(math.log(low) + (math.log(high) - math.log(low)) * rng.random())
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(rng.random() * (height - box_height + 1))
            left = int(rng.random() * (width - box_width + 1))
            return CropBox(top=top, left=left, height=box_height, width=box_width)
    aspect = min(max(width / height, low), high)
    box_height, box_width = min(height, round(width / aspect)), min(width, round(height * aspect))
    return CropBox(
        top=(height - box_height) // 2,
        left=(width - box_width) // 2,
        height=box_height,
        width=box_width,
    )


def center_crop_box(*, height: int, width: int, share: float) -> CropBox:
    """Centered square of `share` of the shorter side."""
    side = max(1, round(min(height, width) * share))
    return CropBox(top=(height - side) // 2, left=(width - side) // 2, height=side, width=side)


def resample_frames(
    frames: np.ndarray, box: CropBox, *, side_px: int, flip: bool = False
) -> np.ndarray:
    """The box of each frame at `side_px` squared, bilinear with antialiasing.

    Args:
        frames: uint8 (t, h, w, c).
        box: Lies in the frames.
        side_px: Height and width of the result.
        flip: Left and right change places.

    Returns:
        uint8 (t, side_px, side_px, c).
    """
    cut = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
    # uint8 in channels-last order has its own kernels: vectorized, one thread, no float copies;
    # numpy's own flip would take longer than all else
    planes = torch.from_numpy(np.ascontiguousarray(cut)).permute(0, 3, 1, 2)
    if planes.shape[2:] != (side_px, side_px):
        planes = F.interpolate(planes, size=(side_px, side_px), mode="bilinear", antialias=True)
    if flip:
        planes = planes.flip(3)
    return planes.permute(0, 2, 3, 1).numpy()
