"""Color jitter of a batch of clips, each with its own factors and order of operations.

Letters: b clips, t frames, h w pixels. Colors are RGB, float, in [0, 1], and stay in that range.
"""

from collections.abc import Callable

import torch
from torch import Tensor

COLOR_OPERATIONS = ("brightness", "contrast", "saturation", "hue")
"""Column j of factors and value j of orders mean operation j."""

_LUMA = (0.2989, 0.587, 0.114)


def jitter_colors(frames: Tensor, *, factors: Tensor, orders: Tensor) -> Tensor:
    """Frames after the four operations, in each clip's own order; torchvision's definitions.

    Args:
        frames: (b, t, 3, h, w).
        factors: (b, 4) on the device of `frames`; brightness, contrast and saturation multiply (1
            changes nothing), hue is a shift in turns of the color circle (0 changes nothing).
        orders: integers (b, 4) on the CPU, so that no step waits for the device: each row is the
            order of operations; -1 leaves a place empty.

    Returns:
        New frames of the same shape.
    """
    out = frames.clone()
    for place in range(orders.shape[1]):
        for column, name in enumerate(COLOR_OPERATIONS):
            clips = (orders[:, place] == column).nonzero()[:, 0]
            if len(clips):
                clips = clips.to(frames.device, non_blocking=True)
                factor = factors[clips, column].reshape(-1, 1, 1, 1, 1)
                out[clips] = _ADJUST[name](out[clips], factor)
    return out


def adjust_brightness(frames: Tensor, factor: Tensor) -> Tensor:
    """Frames times the factor."""
    return (frames * factor).clamp_(0, 1)


def adjust_contrast(frames: Tensor, factor: Tensor) -> Tensor:
    """Frames moved from the mean luma of each frame by the factor."""
    mean = luma(frames).mean(dim=(-3, -2, -1), keepdim=True)
    return _blend(frames, mean, factor)


def adjust_saturation(frames: Tensor, factor: Tensor) -> Tensor:
    """Frames moved from their luma by the factor."""
    return _blend(frames, luma(frames), factor)


def adjust_hue(frames: Tensor, shift: Tensor) -> Tensor:
    """Frames with the hue of HSV turned by `shift` circles."""
    red, green, blue = frames.unbind(dim=-3)
    value = frames.amax(dim=-3)
    chroma = value - frames.amin(dim=-3)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sextant = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sextant = sextant + 6 * shift.squeeze(-3)
    # with n = 5, 3, 1 for red, green, blue: value - chroma * clip(min(k, 4 - k), 0, 1)
    channels = []
    for n in (5, 3, 1):
        k = (sextant + n) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, dim=-3)


def luma(frames: Tensor) -> Tensor:
    """Luma (..., 1, h, w) of RGB (..., 3, h, w)."""
    red, green, blue = frames.unbind(dim=-3)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).unsqueeze(-3)


def _blend(frames: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (other + factor * (frames - other)).clamp_(0, 1)


_ADJUST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}
