"""Clips with their own sound as the loader hands them to the device, which mixes them.

Letters: b clips, t video frames, h w pixels, n audio samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avtrain.data.jpeg_decode import JpegFrames
from avtrain.data.views.batch_tensors import moved, selected, tensors_of


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
    part: Tensor | None = None
    """float32 (b, 4): left, top, right and bottom of the part of the picture that shows the clip,
    in shares of its width and height; None where all of all pictures does."""

    def __repr__(self) -> str:
        frames = self.frames
        shape = tuple(frames.shape) if isinstance(frames, Tensor) else frames
        return f"MixtureBatch(frames={shape}, sound={tuple(self.sound.shape)})"

    def to(self, device: torch.device) -> "MixtureBatch":
        """The batch on the device; nothing waits for it. Encoded frames are decoded there."""
        return moved(self, device)

    def select(self, clips: Sequence[int]) -> "MixtureBatch":
        """A copy of only these clips."""
        return selected(self, clips)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors of the batch."""
        return tensors_of(self)
