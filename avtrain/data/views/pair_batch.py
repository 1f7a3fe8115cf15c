"""Clips with their sound as the loader hands them to the device.

Letters: b clips, t video frames, h w pixels, n audio samples, s spectrogram frames, f mel bins,
m masks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from avtrain.data.jpeg_decode import JpegFrames


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
        frames = self.frames
        return PairBatch(
            frames=_to(frames, device) if isinstance(frames, Tensor) else frames.to(device),
            crops=None if self.crops is None else _to(self.crops, device),
            crop_px=self.crop_px,
            sound=_to(self.sound, device),
            color_factors=_to(self.color_factors, device),
            color_orders=self.color_orders.clone(),  # the buffer may be filled again before its use
            gain=_to(self.gain, device),
            time_spans=_to(self.time_spans, device),
            band_spans=_to(self.band_spans, device),
            source=_to(self.source, device),
        )

    def select(self, clips: Sequence[int]) -> "PairBatch":
        """A copy of only these clips."""
        rows = list(clips)
        frames = self.frames
        return PairBatch(
            frames=frames[rows] if isinstance(frames, Tensor) else frames.select(rows),
            crops=None if self.crops is None else self.crops[rows],
            crop_px=self.crop_px,
            sound=self.sound[rows],
            color_factors=self.color_factors[rows],
            color_orders=self.color_orders[rows],
            gain=self.gain[rows],
            time_spans=self.time_spans[rows],
            band_spans=self.band_spans[rows],
            source=self.source[rows],
        )

    def tensors(self) -> Iterator[Tensor]:
        """All tensors of the batch."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                yield value


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)
