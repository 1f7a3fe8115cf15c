"""Crops of whole frames, resized and flipped: a batch at once, on the device.

Letters: b clips, t frames, h w pixels of a frame, y x pixels of the result.

Bilinear resizing with antialiasing is separable and linear, so each clip takes two matrix products:
one matrix makes rows of the result out of rows of the box, one makes columns out of columns. The
matrices hold the triangle filter that `torch.nn.functional.interpolate(antialias=True)` uses, and
the columns' one also the flip.
"""

import torch
from torch import Tensor

CROP_COLUMNS = ("top", "left", "height", "width", "flip")
"""Columns of `crops`: a box in pixels, and whether left and right change places (0 or 1)."""


def crop_frames(
    frames: Tensor, crops: Tensor, *, side_px: int, dtype: torch.dtype | None = None
) -> Tensor:
    """The box of each clip at `side_px` squared, flipped where it is to be; colors in [0, 1].

    Equals torchvision's `resized_crop(antialias=True)`.

    Args:
        frames: uint8 (b, t, h, w, 3).
        crops: integers (b, 5), columns as in CROP_COLUMNS; boxes lie within the frames.
        side_px: Height and width of the result.
        dtype: Of the products. By default float32 on a CPU and float16 on CUDA, which holds every
            stored color exactly, every weight to 1 in 2048, and has units of its own there.

    Returns:
        float32 (b, t, 3, y, x).
    """
    num_clips, num_frames, height, width, _ = frames.shape
    if dtype is None:
        dtype = torch.float16 if frames.is_cuda else torch.float32
    top, left, box_height, box_width, flip = crops.float().unbind(dim=1)
    no_flip = torch.zeros_like(flip)
    of_rows = _weights(top, box_height, no_flip, length=height, side_px=side_px).to(dtype)
    of_columns = _weights(left, box_width, flip, length=width, side_px=side_px).to(dtype)
    lines = frames.to(dtype).reshape(num_clips, num_frames, height, width * 3)
    rows = of_rows[:, None] @ lines  # (b, t, y, w * 3)
    planes = rows.reshape(num_clips, num_frames, side_px, width, 3).permute(0, 1, 4, 2, 3)
    flat = planes.reshape(num_clips, num_frames * 3 * side_px, width)
    out = flat @ of_columns.transpose(1, 2)
    out = out.reshape(num_clips, num_frames, 3, side_px, side_px)
    return out.float().mul_(1 / 255)


def _weights(start: Tensor, size: Tensor, flip: Tensor, *, length: int, side_px: int) -> Tensor:
    """(b, side_px, length): how much each pixel of a line has of each pixel of the result.

    Pixel k is centered at k + 1/2. A triangle as wide as two pixels of the coarser of both lines
    stands on the center of each pixel of the result; it is cut at the box and weighs 1 in all.
    """
    device = start.device
    scale = (size / side_px).reshape(-1, 1, 1)
    place = torch.arange(side_px, device=device)
    flipped = side_px - 1 - 2 * place
    place = place + flip[:, None] * flipped  # (b, side_px)
    start, end = start.reshape(-1, 1, 1), (start + size).reshape(-1, 1, 1)
    center = start + scale * (place[..., None] + 0.5)
    pixel = torch.arange(length, device=device) + 0.5
    weights = (1 - (pixel - center).abs() / scale.clamp(min=1)).clamp_(min=0)
    weights *= (pixel > start) & (pixel < end)
    return weights / weights.sum(dim=-1, keepdim=True)
