"""Clips with their own sound as the loader hands them to the device, which mixes them.

Letters: b clips, t video frames, h w pixels, n audio samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from avtrain.data.jpeg_decode import JpegFrames


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MixtureBatch:
    """Clips, each with the sound that belongs to it."""

    frames: Tensor | JpegFrames
    """uint8 (b, t, h, w, 3): cropped, resized and flipped where `crops` is None, else whole frames
    in the top left, zeros beside them. Or the same still encoded; `to` decodes."""
    crops: Tensor | None
    """int32 (b, 5), columns as in CROP_COLUMNS: what the device makes of whole frames."""
    crop_px: int
    """Height and width of the cropped frames."""
    sound: Tensor
    """int16 (b, 2, n), left before right; of a mono sound both are the same."""
    gain: Tensor
    """float32 (b,): factor of the amplitude after levels are made equal."""
    source: Tensor
    """int64 (b,): source_index of each clip."""
    other: Tensor
    """int16 (b, 2, n): a sound without pictures, to be laid over the clip; or (b, 2, 0)."""
    has_other: Tensor
    """bool (b,): that sound is laid over it, and not that of another clip."""

    def __repr__(self) -> str:
        frames = self.frames
        shape = tuple(frames.shape) if isinstance(frames, Tensor) else frames
        return f"MixtureBatch(frames={shape}, sound={tuple(self.sound.shape)})"

    def to(self, device: torch.device) -> "MixtureBatch":
        """The batch on the device; nothing waits for it. Encoded frames are decoded there."""
        frames = self.frames
        return MixtureBatch(
            frames=_to(frames, device) if isinstance(frames, Tensor) else frames.to(device),
            crops=None if self.crops is None else _to(self.crops, device),
            crop_px=self.crop_px,
            sound=_to(self.sound, device),
            gain=_to(self.gain, device),
            source=_to(self.source, device),
            other=_to(self.other, device),
            has_other=_to(self.has_other, device),
        )

    def select(self, clips: Sequence[int]) -> "MixtureBatch":
        """A copy of only these clips."""
        rows = list(clips)
        frames = self.frames
        return MixtureBatch(
            frames=frames[rows] if isinstance(frames, Tensor) else frames.select(rows),
            crops=None if self.crops is None else self.crops[rows],
            crop_px=self.crop_px,
            sound=self.sound[rows],
            gain=self.gain[rows],
            source=self.source[rows],
            other=self.other[rows],
            has_other=self.has_other[rows],
        )

    def tensors(self) -> Iterator[Tensor]:
        """All tensors of the batch."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                yield value


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)
