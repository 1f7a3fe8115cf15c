"""Reads the windows of pair views into the slots of a batch."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch

from avdata import ShardSetError
from avtrain.data.augment.color import COLOR_OPERATIONS
from avtrain.data.augment.crop import CropBox, resample_frames
from avtrain.data.augment.device_crop import CROP_COLUMNS
from avtrain.data.jpeg_decode import JpegFrames
from avtrain.data.samples import SampleStore, SampleTable
from avtrain.data.stage_clock import StageClock
from avtrain.data.views.frame_form import FrameForm, frame_sizes
from avtrain.data.views.frame_slots import FrameSlots
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.stored import read_logmel_window, read_mono_window


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipFrames:
    """The frames of a slot before they are cropped."""

    height: int
    width: int
    pixels: np.ndarray | None
    """uint8 (t, h, w, 3), to be used by the thread before it reads again; None where they lie in
    the slot."""


class PairReader:
    """Reads windows of the samples of one shard set into the slots of a batch; threads share it.

    Its `clock` counts the time of the stages `sound`, `frames` (reading and decoding) and `crop`.
    """

    def __init__(
        self,
        shards: SampleStore,
        table: SampleTable,
        *,
        video: VideoViewConfig,
        audio: AudioViewConfig,
        clock: StageClock | None = None,
    ) -> None:
        spec = shards.spec
        self.shards, self.table, self.video, self.audio = shards, table, video, audio
        self.clock = clock or StageClock()
        self.logmel = spec.logmel
        self.sample_rate_hz = spec.audio.sample_rate_hz if spec.audio else 0
        self._heights, self._widths = frame_sizes(shards)
        self._steps: dict[float, list[int]] = {}
        self._memory = threading.local()

    def allocate(self, num_clips: int, *, pin_memory: bool, form: FrameForm) -> PairBatch:
        """Batch of `num_clips` empty slots."""
        num_time, num_band = self.audio.masks.num_time_masks, self.audio.masks.num_band_masks
        if self.audio.input == "logmel":
            sound = torch.empty(
                (num_clips, self.audio.num_frames, self.num_bins),
                dtype=torch.float16,
                pin_memory=pin_memory,
            )
        else:
            num_samples = round(self.audio.window_s * self.sample_rate_hz)
            sound = torch.empty((num_clips, num_samples), dtype=torch.int16, pin_memory=pin_memory)

        def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty((num_clips, *shape), dtype=dtype, pin_memory=pin_memory)

        height, width = int(self._heights.max()), int(self._widths.max())
        if form == "cropped":
            height = width = self.video.crop_px
        frames: torch.Tensor | JpegFrames
        if form == "jpegs":
            frames = JpegFrames(jpegs=[[] for _ in range(num_clips)], height=height, width=width)
        else:
            frames = empty(self.video.clip_frames, height, width, 3, dtype=torch.uint8)
        return PairBatch(
            frames=frames,
            crops=None if form == "cropped" else empty(len(CROP_COLUMNS), dtype=torch.int32),
            crop_px=self.video.crop_px,
            sound=sound,
            color_factors=empty(len(COLOR_OPERATIONS), dtype=torch.float32),
            color_orders=torch.empty((num_clips, len(COLOR_OPERATIONS)), dtype=torch.int64),
            gain=empty(dtype=torch.float32),
            time_spans=empty(num_time, 2, dtype=torch.int32),
            band_spans=empty(num_band, 2, dtype=torch.int32),
            source=empty(dtype=torch.int64),
        )

    @property
    def num_bins(self) -> int:
        """Frequency bins of the networks' input."""
        if self.audio.input == "spectrogram":
            return self.audio.num_bins
        assert self.logmel is not None
        return self.logmel.num_mels

    def fps(self, sample: int) -> float:
        """Stored frames per second of a sample."""
        return float(self.table.frame_fps[sample])

    def frame_steps(self, sample: int) -> list[int]:
        """Stored frames from the first one of a clip to each of its frames."""
        fps = self.fps(sample)
        steps = self._steps.get(fps)
        if steps is None:
            # round half up, always: Python rounds half to even, which would make uneven steps
            frames, ratio = range(self.video.clip_frames), fps / self.video.fps
            steps = self._steps[fps] = [math.floor(k * ratio + 0.5) for k in frames]
        return steps

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

    def read_sound(self, batch: PairBatch, slot: int, sample: int, *, start_s: float) -> None:
        """Fill sound and source of a slot."""
        batch.source.numpy()[slot] = self.table.source_index[sample]
        out = batch.sound.numpy()[slot]
        with self.clock.stage("sound"):
            if self.audio.input == "logmel":
                assert self.logmel is not None
                rate_hz = self.logmel.sample_rate_hz / self.logmel.hop_samples
                read_logmel_window(
                    out,
                    self.shards,
                    sample,
                    start=max(round(start_s * rate_hz), 0),
                    stride=round(rate_hz / self.audio.frame_rate_hz),
                )
            else:
                start = max(round(start_s * self.sample_rate_hz), 0)
                read_mono_window(out, self.shards, sample, start=start)

    def read_frames(
        self, batch: FrameSlots, slot: int, sample: int, *, first_frame: int
    ) -> ClipFrames:
        """Decode the frames of a clip, in the batch's own memory where that takes whole ones."""
        num_frames = int(self.table.num_frames[sample])
        indices = [(first_frame + step) % num_frames for step in self.frame_steps(sample)]
        with self.clock.stage("frames"):
            if isinstance(batch.frames, JpegFrames):
                return self._read_jpegs(batch.frames, slot, sample, indices)
            if batch.crops is not None:
                out = batch.frames.numpy()[slot]
                height, width = self.shards.read_frames_into(out, sample, indices)
                return ClipFrames(height=height, width=width, pixels=None)
            out = self._own_memory(len(indices), self._heights[sample], self._widths[sample])
            height, width = self.shards.read_frames_into(out, sample, indices)
            return ClipFrames(height=height, width=width, pixels=out[:, :height, :width])

    def crop(
        self, batch: FrameSlots, slot: int, frames: ClipFrames, box: CropBox, *, flip: bool
    ) -> None:
        """Fill what a slot shows of its frames, or what the device is to make of them."""
        if batch.crops is not None:
            batch.crops.numpy()[slot] = (box.top, box.left, box.height, box.width, flip)
            return
        assert frames.pixels is not None and isinstance(batch.frames, torch.Tensor)
        with self.clock.stage("crop"):
            batch.frames.numpy()[slot] = resample_frames(
                frames.pixels, box, side_px=self.video.crop_px, flip=flip
            )

    def _read_jpegs(
        self, frames: JpegFrames, slot: int, sample: int, indices: Sequence[int]
    ) -> ClipFrames:
        first = min(indices)
        stored = self.shards.read_jpegs(sample, first, max(indices) + 1)
        jpegs = [stored[index - first] for index in indices]
        try:
            height, width = simplejpeg.decode_jpeg_header(jpegs[0])[:2]
        except ValueError as error:
            raise ShardSetError(
                f"frame {indices[0]} of sample {self.table.keys[sample]} is no JPEG ({error}); "
                "set video.jpeg_decoder=cpu where frames are PNGs, else run "
                f"`avdata verify {self.shards.location}`"
            ) from None
        frames.put(slot, jpegs)
        return ClipFrames(height=height, width=width, pixels=None)

    def _own_memory(self, num_frames: int, height: int, width: int) -> np.ndarray:
        """Memory of this thread for pictures: fresh memory would cost page faults."""
        size = num_frames * int(height) * int(width) * 3
        memory: np.ndarray | None = getattr(self._memory, "pixels", None)
        if memory is None or len(memory) < size:
            memory = self._memory.pixels = np.empty(size, np.uint8)
        return memory[:size].reshape(num_frames, height, width, 3)
