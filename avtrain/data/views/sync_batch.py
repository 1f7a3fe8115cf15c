"""Clips with sound from several times as the loader hands them to the device.

Letters: b clips, t video frames, h w pixels, k windows of sound, n audio samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avtrain.data.jpeg_decode import JpegFrames
from avtrain.data.views.batch_tensors import moved, selected, tensors_of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SyncBatch:
    """Clips, and for each the sound of several windows of time."""

    frames: Tensor | JpegFrames
    """uint8 (b, t, h, w, 3): cropped, resized and flipped where `crops` is None, else whole frames
    in the top left, zeros beside them. Or the same still encoded; `to` decodes."""
    crops: Tensor | None
    """int32 (b, 5), columns as in CROP_COLUMNS: what the device makes of whole frames."""
    crop_px: int
    """Height and width of the cropped frames."""
    sound: Tensor
    """int16 (b, k, 2, n), left before right; of a mono sound both are the same."""
    delay_s: Tensor
    """float32 (b, k): how late the sound of each window is against the pictures; 0 is in sync, and
    a window that begins before the clip is late."""
    valid: Tensor
    """bool (b, k): the window lies within its sample; zeros where it does not."""
    source: Tensor
    """int64 (b,): source_index of each clip."""

    def __repr__(self) -> str:
        frames = self.frames
        shape = tuple(frames.shape) if isinstance(frames, Tensor) else frames
        return f"SyncBatch(frames={shape}, sound={tuple(self.sound.shape)})"

    def to(self, device: torch.device) -> "SyncBatch":
        """The batch on the device; nothing waits for it. Encoded frames are decoded there."""
        return moved(self, device)

    def select(self, clips: Sequence[int]) -> "SyncBatch":
        """A copy of only these clips."""
        return selected(self, clips)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors of the batch."""
        return tensors_of(self)
