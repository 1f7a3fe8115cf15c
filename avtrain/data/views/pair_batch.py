"""Clips with their sound as the loader hands them to the device.

Letters: b clips, t video frames, h w pixels, n audio samples, s spectrogram frames, f mel bins,
m masks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avtrain.data.jpeg_decode import JpegFrames
from avtrain.data.views.batch_tensors import moved, selected, tensors_of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairBatch:
    """Clips with their sound, and the parameters of augmentation that the device applies."""

    frames: Tensor | JpegFrames
    """uint8 (b, t, h, w, 3): cropped, resized and flipped where `crops` is None, else whole frames
    in the top left, zeros beside them. Or the same still encoded; `to` decodes."""
    crops: Tensor | None
    """int32 (b, 5), columns as in CROP_COLUMNS: what the device makes of whole frames."""
    crop_px: int
    """Height and width of the cropped frames."""
    sound: Tensor
    """float16 log-mel (b, s, f), or int16 mono waveform (b, n)."""
    color_factors: Tensor
    """float32 (b, 4), columns as in COLOR_OPERATIONS."""
    color_orders: Tensor
    """int64 (b, 4), always on the CPU; -1 leaves a place empty."""
    gain: Tensor
    """float32 (b,): factor of the amplitude."""
    time_spans: Tensor
    """int32 (b, m, 2): half-open stretches of s that are masked."""
    band_spans: Tensor
    """int32 (b, m, 2): half-open stretches of f that are masked."""
    source: Tensor
    """int64 (b,): source_index of each clip."""

    def __repr__(self) -> str:
        frames = self.frames
        shape = tuple(frames.shape) if isinstance(frames, Tensor) else frames
        return f"PairBatch(frames={shape}, sound={tuple(self.sound.shape)})"

    def to(self, device: torch.device) -> "PairBatch":
        """The batch on the device, the orders of color operations excepted; nothing waits for it.

        Encoded frames are decoded there.
        """
        return moved(self, device, stay=("color_orders",))

    def select(self, clips: Sequence[int]) -> "PairBatch":
        """A copy of only these clips."""
        return selected(self, clips)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors of the batch."""
        return tensors_of(self)
