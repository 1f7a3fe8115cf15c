"""Color jitter of a batch of clips, each with its own factors and order of operations.

Letters: b clips, t frames, h w pixels. Colors are RGB, float, in [0, 1], and stay in that range.

Brightness, contrast and saturation are one operation with different partners: a blend of the
picture with black, with the mean of its luma, or with its luma. So a batch takes three blends, of
which each clip has its own, and hue once, before the blend that it comes before in the clip's own
order::

    clip 0     saturation           hue  brightness      contrast
    clip 1     brightness      hue       contrast        saturation
               -- blend 0 --        -- blend 1 --        -- blend 2 --
"""

import numpy as np
import torch
from torch import Tensor

COLOR_OPERATIONS = ("brightness", "contrast", "saturation", "hue")
"""Column j of factors and value j of orders mean operation j."""

_CONTRAST, _SATURATION, _HUE = 1, 2, 3
_NUM_BLENDS = 3
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
    blends, hue_before = _schedule(orders.numpy())
    codes = _on_device_of(out, blends.T)
    for k in range(_NUM_BLENDS + 1):
        _turn_hues_(out, np.flatnonzero(hue_before == k), factors[:, _HUE])
        if k < _NUM_BLENDS and (blends[:, k] >= 0).any():
            _blend_(out, codes[k], factors, needs_luma=bool((blends[:, k] > 0).any()))
    return out


def draw_jitter(
    rng: np.random.Generator, reaches: tuple[float, float, float, float]
) -> tuple[list[float], list[int]]:
    """Factors and order of the operations of one clip, rows as `jitter_colors` takes them.

    Args:
        rng: The clip's generator.
        reaches: How far each operation goes: factors are uniform in [max(0, 1 - x), 1 + x], the
            hue shift in [-x, x]; one of reach 0 takes no place in the order.
    """
    draws = rng.random(2 * len(reaches)).tolist()
    order = sorted(range(len(reaches)), key=draws.__getitem__)
    factors = []
    for operation, (reach, draw) in enumerate(zip(reaches, draws[len(reaches) :], strict=True)):
        middle = 0.0 if operation == _HUE else 1.0
        low = -reach if operation == _HUE else max(0.0, 1.0 - reach)
        factors.append(low + (middle + reach - low) * draw)
    return factors, [-1 if reaches[operation] == 0 else operation for operation in order]


def adjust_hue(frames: Tensor, shift: Tensor) -> Tensor:
    """Frames (..., 3, h, w) with the hue of HSV turned by `shift` circles, (..., 1, h, w)."""
    red, green, blue = frames.unbind(dim=-3)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    per_chroma = chroma.clamp_min(1e-12).reciprocal_()  # of gray, every difference is 0
    # where the hue lies on a circle of 6: red at 0, green at 2, blue at 4
    turned = torch.where(
        value == red,
        (green - blue).mul_(per_chroma),
        torch.where(
            value == green,
            (blue - red).mul_(per_chroma).add_(2),
            (red - green).mul_(per_chroma).add_(4),
        ),
    )
    turned += 6 * shift.squeeze(-3)
    turned -= 6 * torch.floor(turned / 6)
    # distance from the color's own place: up to 1 it has all of the chroma, from 2 on none
    out = torch.empty_like(frames)
    lack = torch.sub(turned, 3).abs_().mul_(-1).add_(2).clamp_(0, 1)  # red lies at both ends
    torch.addcmul(value, chroma, lack, value=-1, out=out.select(-3, 0))
    for channel, place in ((1, 2.0), (2, 4.0)):
        lack = torch.sub(turned, place).abs_().sub_(1).clamp_(0, 1)
        torch.addcmul(value, chroma, lack, value=-1, out=out.select(-3, channel))
    return out


def luma(frames: Tensor) -> Tensor:
    """Luma (..., 1, h, w) of RGB (..., 3, h, w)."""
    red, green, blue = (color.unsqueeze(-3) for color in frames.unbind(dim=-3))
    out = red * _LUMA[0]
    return out.add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def _schedule(orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The blends of each clip in their order, (b, 3), -1 for none; and which one hue is before."""
    is_blend = (orders >= 0) & (orders != _HUE)
    num_before = np.cumsum(is_blend, axis=1) - is_blend
    blends = np.full((len(orders), _NUM_BLENDS), -1, np.int64)
    clips, places = np.nonzero(is_blend)
    blends[clips, num_before[clips, places]] = orders[clips, places]
    hue_before = np.where(orders == _HUE, num_before, -1).max(axis=1)
    return blends, hue_before


def _blend_(frames: Tensor, codes: Tensor, factors: Tensor, *, needs_luma: bool) -> None:
    """Blend each clip with its partner, in place; a code below 0 changes nothing."""
    factor = factors.gather(1, codes.clamp(min=0)[:, None])[:, 0]
    weight = torch.where(codes >= 0, 1 - factor, torch.zeros_like(factor)).reshape(-1, 1, 1, 1, 1)
    if not needs_luma:
        frames.mul_(1 - weight).clamp_(0, 1)
        return
    gray = luma(frames)
    mean = gray.mean(dim=(-2, -1), keepdim=True)
    of_pixel = (codes == _SATURATION).to(gray.dtype).reshape(-1, 1, 1, 1, 1)
    of_frame = (codes == _CONTRAST).to(gray.dtype).reshape(-1, 1, 1, 1, 1)
    partner = torch.addcmul(mean * of_frame, gray, of_pixel)
    frames.lerp_(partner, weight).clamp_(0, 1)


def _turn_hues_(frames: Tensor, clips: np.ndarray, shifts: Tensor) -> None:
    """Turn the hues of some clips, in place."""
    if len(clips) == len(frames):
        frames.copy_(adjust_hue(frames, shifts.reshape(-1, 1, 1, 1, 1)))
    elif len(clips):
        rows = _on_device_of(frames, clips)
        turned = adjust_hue(frames[rows], shifts[rows].reshape(-1, 1, 1, 1, 1))
        frames.index_copy_(0, rows, turned)


def _on_device_of(like: Tensor, values: np.ndarray) -> Tensor:
    """The values beside `like`, for which nothing waits."""
    host = torch.from_numpy(np.ascontiguousarray(values))
    return host.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else host
