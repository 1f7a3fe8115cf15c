"""Device part of a sync view: crops and ranges."""

from dataclasses import dataclass

import torch
from torch import Tensor

from avtrain.data.augment.device_crop import crop_frames
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_config import SyncViewConfig

_INT16_MAX = 32767


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SyncInputs:
    """What the network takes. Letters: b clips, t frames, k windows, n audio samples."""

    frames: Tensor
    """float32 (b, 3, t, h, w) in [-1, 1]."""
    sound: Tensor
    """float32 (b, k, 2, n) in [-1, 1]."""
    delay_s: Tensor
    """float32 (b, k): how late each window is; NaN where there is none."""
    valid: Tensor
    """bool (b, k): the window lies within its sample."""


def sync_inputs(batch: SyncBatch, device: torch.device, view: SyncViewConfig) -> SyncInputs:
    """Inputs of a batch on the device, for which nothing waits."""
    batch = batch.to(device)
    frames = batch.frames
    assert isinstance(frames, Tensor)
    if batch.crops is None:
        pictures = network_frames(frames, view)
    else:
        cut = crop_frames(frames, batch.crops, side_px=batch.crop_px)  # in [0, 1]
        pictures = _stand_still(cut.mul_(2).sub_(1).transpose(1, 2), view)
    return SyncInputs(
        frames=pictures,
        sound=network_sound(batch.sound, view),
        # on a CPU these are the loader's own memory
        delay_s=batch.delay_s.clone(),
        valid=batch.valid.clone(),
    )


def network_frames(frames: Tensor, view: SyncViewConfig) -> Tensor:
    """uint8 frames (b, t, h, w, 3) as float32 (b, 3, t, h, w) in [-1, 1].

    Reference: Owens & Efros 2018, released code: 2 x / 255 - 1.
    """
    return _stand_still(frames.permute(0, 4, 1, 2, 3).float().mul_(2 / 255).sub_(1), view)


def network_sound(sound: Tensor, view: SyncViewConfig) -> Tensor:
    """Sound (..., 2, n), int16 or float in [-1, 1], as float32 in [-1, 1]; not companded yet."""
    waves = sound.float()
    if not sound.is_floating_point():
        waves = waves * (1 / _INT16_MAX)
    if view.mono:
        waves = waves.mean(dim=-2, keepdim=True).expand_as(waves)
    return waves


def _stand_still(frames: Tensor, view: SyncViewConfig) -> Tensor:
    if not view.static:
        return frames
    middle = frames.shape[2] // 2
    return frames[:, :, middle : middle + 1].expand_as(frames)
