"""Reads the windows of pair views into the slots of a batch.

Letters: b clips, t video frames, h w pixels, n audio samples, s spectrogram frames, f mel bins.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avdata import ShardSet
from avtrain.data.augment.color import COLOR_OPERATIONS
from avtrain.data.samples import SampleTable
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.stored import read_logmel_window, read_mono_window


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairBatch:
    """Clips with their sound, and the parameters of augmentation that the device applies."""

    frames: Tensor
    """uint8 (b, t, h, w, 3), cropped, resized and flipped."""
    sound: Tensor
    """float16 log-mel (b, s, f), or int16 mono waveform (b, n)."""
    color_factors: Tensor
    """float32 (b, 4), columns as in COLOR_OPERATIONS."""
    color_orders: Tensor
    """int64 (b, 4), always on the CPU; -1 leaves a place empty."""
    gain: Tensor
    """float32 (b,): factor of the amplitude."""
    source: Tensor
    """int64 (b,): source_index of each clip."""

    def __repr__(self) -> str:
        return f"PairBatch(frames={tuple(self.frames.shape)}, sound={tuple(self.sound.shape)})"

    def to(self, device: torch.device) -> "PairBatch":
        """Copy on the device, the orders of color operations excepted."""
        return PairBatch(
            frames=self.frames.to(device, non_blocking=True),
            sound=self.sound.to(device, non_blocking=True),
            color_factors=self.color_factors.to(device, non_blocking=True),
            color_orders=self.color_orders,
            gain=self.gain.to(device, non_blocking=True),
            source=self.source.to(device, non_blocking=True),
        )


class PairReader:
    """Reads windows of the samples of one shard set into the slots of a batch."""

    def __init__(
        self,
        shards: ShardSet,
        table: SampleTable,
        *,
        video: VideoViewConfig,
        audio: AudioViewConfig,
    ) -> None:
        spec = shards.spec
        self.shards, self.table, self.video, self.audio = shards, table, video, audio
        self.logmel = spec.logmel
        self.sample_rate_hz = spec.audio.sample_rate_hz if spec.audio else 0

    def allocate(self, num_clips: int, *, pin_memory: bool) -> PairBatch:
        """Batch of `num_clips` empty slots."""
        side, pin = self.video.crop_px, pin_memory
        if self.audio.input == "logmel":
            assert self.logmel is not None
            sound = torch.empty(
                (num_clips, self.audio.num_frames, self.logmel.num_mels),
                dtype=torch.float16,
                pin_memory=pin,
            )
        else:
            num_samples = round(self.audio.window_s * self.sample_rate_hz)
            sound = torch.empty((num_clips, num_samples), dtype=torch.int16, pin_memory=pin)
        frames_shape = (num_clips, self.video.clip_frames, side, side, 3)
        num_operations = len(COLOR_OPERATIONS)
        return PairBatch(
            frames=torch.empty(frames_shape, dtype=torch.uint8, pin_memory=pin),
            sound=sound,
            color_factors=torch.ones((num_clips, num_operations), pin_memory=pin),
            color_orders=torch.full((num_clips, num_operations), -1),
            gain=torch.ones(num_clips, pin_memory=pin),
            source=torch.empty(num_clips, dtype=torch.int64, pin_memory=pin),
        )

    def fps(self, sample: int) -> float:
        """Stored frames per second of a sample."""
        return float(self.table.frame_fps[sample])

    def frame_steps(self, sample: int) -> list[int]:
        """Stored frames from the first one of a clip to each of its frames."""
        ratio = self.fps(sample) / self.video.fps
        # round half up, always: Python rounds half to even, which would make uneven steps
        return [math.floor(k * ratio + 0.5) for k in range(self.video.clip_frames)]

    def snapped_s(self, sample: int, first_frame: int, start_s: float) -> float:
        """How far the sound moves with a clip that begins at `first_frame` instead of `start_s`.

        A picture that stands for the whole sample is as much in time with all of its sound.
        """
        if self.table.num_frames[sample] == 1:
            return 0.0
        return first_frame / self.fps(sample) - start_s

    def video_duration_s(self, sample: int) -> float:
        return float(self.table.num_frames[sample] / self.fps(sample))

    def audio_duration_s(self, sample: int) -> float:
        if self.audio.input == "logmel":
            assert self.logmel is not None
            hop_s = self.logmel.hop_samples / self.logmel.sample_rate_hz
            return float(self.table.num_logmel_columns[sample] * hop_s)
        return float(self.table.num_audio_samples[sample] / self.sample_rate_hz)

    def first_frame(self, sample: int, start_s: float) -> int:
        """Stored frame that is shown at `start_s`, so early that the clip ends with the sample."""
        last = int(self.table.num_frames[sample]) - 1 - self.frame_steps(sample)[-1]
        return max(min(math.floor(start_s * self.fps(sample) + 1e-6), last), 0)

    def read(
        self, batch: PairBatch, slot: int, sample: int, *, first_frame: int, audio_start_s: float
    ) -> np.ndarray:
        """Fill sound and source of a slot; returns the clip's whole frames (t, h, w, 3)."""
        batch.source[slot] = int(self.table.source_index[sample])
        sound = batch.sound[slot].numpy()
        if self.audio.input == "logmel":
            assert self.logmel is not None
            rate_hz = self.logmel.sample_rate_hz / self.logmel.hop_samples
            sound[...] = read_logmel_window(
                self.shards,
                sample,
                start=max(round(audio_start_s * rate_hz), 0),
                num_columns=self.audio.num_frames,
                stride=round(rate_hz / self.audio.frame_rate_hz),
            )
        else:
            start = max(round(audio_start_s * self.sample_rate_hz), 0)
            sound[...] = read_mono_window(
                self.shards, sample, start=start, num_samples=sound.shape[0]
            )
        num_frames = int(self.table.num_frames[sample])
        indices = [(first_frame + step) % num_frames for step in self.frame_steps(sample)]
        return self.shards.read_frames(sample, indices)
