"""Deterministic methods whose answers are known, behind the seams of trained ones."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Facts of the clips that the method here takes."""

    clip_frames: int = 60
    fps: float = 30.0
    crop_px: int = 32
    sound_rate_hz: int = 16000
    num_samples: int = 32000


class FlashAndBeep:
    """Bright pictures go with loud sound: everything that a trained method offers, in closed form.

    `scores` are high where the onsets of flashes and beeps coincide, `maps` are brightness less
    1/2, and `separate` gives to each half of the picture that is not gray its channel.
    """

    def __init__(self, clip: Clip | None = None) -> None:
        self.clip = clip or Clip()

    def scores(self, frames: Tensor, sound: Tensor) -> Tensor:
        steps = frames.shape[1]
        bright = frames.float().mean(dim=(2, 3, 4))  # (b, t)
        loud = F.adaptive_avg_pool1d(sound.abs().mean(dim=1, keepdim=True), steps)[:, 0]
        onsets = [
            F.avg_pool1d(F.relu(curve.diff(dim=1))[:, None], 5, stride=1, padding=2)[:, 0]
            for curve in (bright, loud)
        ]
        seen, heard = (curve - curve.mean(dim=1, keepdim=True) for curve in onsets)
        return 20 * F.cosine_similarity(seen, heard, dim=1, eps=1e-6) - 5

    def maps(self, frames: Tensor, sound: Tensor) -> Tensor:
        bright = frames.float().mean(dim=4) / 255 - 0.5  # (b, t, h, w)
        return F.avg_pool3d(bright[:, None], (4, 8, 8))[:, 0]

    def separate(self, frames: Tensor, mixture: Tensor) -> "Parts":
        half = frames.shape[3] // 2
        halves = (frames[:, :, :, :half], frames[:, :, :, -half:])
        seen = [(side != 128).flatten(1).any(dim=1) for side in halves]
        on = mixture * torch.stack(seen, dim=1)[:, :, None]
        return Parts(on=on, off=mixture - on)


@dataclass(frozen=True)
class Parts:
    on: Tensor
    off: Tensor


@pytest.fixture
def flash_and_beep() -> FlashAndBeep:
    return FlashAndBeep()
