"""Reads clips and the windows of sound around them into the slots of a batch."""

import math

import numpy as np
import torch

from avtrain.data.augment.crop import CropBox
from avtrain.data.augment.device_crop import CROP_COLUMNS
from avtrain.data.jpeg_decode import JpegFrames
from avtrain.data.samples import SampleStore, SampleTable
from avtrain.data.stage_clock import StageClock
from avtrain.data.views.frame_form import FrameForm, frame_sizes
from avtrain.data.views.pair_config import AudioViewConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.data.views.stored import read_stereo_window
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_config import SyncViewConfig
from avtrain.data.views.sync_places import ClipPlace
from avtrain.data.views.sync_room import length_s, num_starts, room_text
from avtrain.errors import DataError


class SyncReader:
    """Reads clips and windows of sound into the slots of a batch; threads share it.

    Its `clock` counts the time of the stages `sound`, `frames` (reading and decoding) and `crop`.
    """

    def __init__(self, shards: SampleStore, table: SampleTable, view: SyncViewConfig) -> None:
        assert shards.spec.audio is not None
        self.shards, self.table, self.view = shards, table, view
        self.sample_rate_hz = shards.spec.audio.sample_rate_hz
        self._pairs = PairReader(
            shards, table, video=view.video, audio=AudioViewConfig(input="spectrogram")
        )

    @property
    def clock(self) -> StageClock:
        """Time of the threads by stage."""
        return self._pairs.clock

    def num_starts(self, sample: int) -> int:
        """Frames of the view's rate at which a whole clip fits into the sample with its sound."""
        return num_starts(self.view, self.table, sample=sample, sample_rate_hz=self.sample_rate_hz)

    def check_room(self, sample: int, *, min_starts: int) -> int:
        """Starts of a sample that has at least so many.

        Raises:
            DataError: It has fewer.
        """
        seen = self.num_starts(sample)
        if seen < min_starts:
            needs = room_text(self.view, min_starts=min_starts)
            has_s = length_s(self.table, sample, self.sample_rate_hz)
            raise DataError(
                f"sample {self.table.keys[sample]} of {self.shards.location} has {has_s:.2f} s "
                f"with picture and sound; {needs}"
            )
        return seen

    def allocate(
        self, num_clips: int, *, num_windows: int, form: FrameForm, pin_memory: bool
    ) -> SyncBatch:
        """Batch of empty slots."""

        def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty((num_clips, *shape), dtype=dtype, pin_memory=pin_memory)

        view = self.view
        heights, widths = frame_sizes(self.shards)
        height, width = int(heights.max()), int(widths.max())
        if form == "cropped":
            height = width = view.crop_px
        frames: torch.Tensor | JpegFrames
        if form == "jpegs":
            frames = JpegFrames(jpegs=[[] for _ in range(num_clips)], height=height, width=width)
        else:
            frames = empty(view.num_shown, height, width, 3, dtype=torch.uint8)
        num_samples = view.num_sound_samples(self.sample_rate_hz)
        return SyncBatch(
            frames=frames,
            crops=None if form == "cropped" else empty(len(CROP_COLUMNS), dtype=torch.int32),
            crop_px=view.crop_px,
            sound=empty(num_windows, 2, num_samples, dtype=torch.int16),
            delay_s=empty(num_windows, dtype=torch.float32),
            valid=empty(num_windows, dtype=torch.bool),
            source=empty(dtype=torch.int64),
        )

    def read_frames(
        self,
        batch: SyncBatch,
        slot: int,
        sample: int,
        *,
        first: int,
        rng: np.random.Generator | None,
    ) -> None:
        """Fill the pictures of a slot with the clip from frame `first` on; one crop for all.

        Args:
            rng: For crop and flip; None is the center as it is.
        """
        pairs, view = self._pairs, self.view
        stored = pairs.first_frame(sample, first / view.fps)
        frames = pairs.read_frames(batch, slot, sample, first_frame=stored)
        height, width = view.crop_size(frames.height, frames.width)
        free = frames.height - height, frames.width - width
        top, left = free[0] // 2, free[1] // 2
        flip = False
        if rng is not None:
            top, left = int(rng.integers(free[0] + 1)), int(rng.integers(free[1] + 1))
            flip = bool(rng.random() < view.flip_probability)
        box = CropBox(top=top, left=left, height=height, width=width)
        pairs.crop(batch, slot, frames, box, flip=flip)
        batch.source.numpy()[slot] = self.table.source_index[sample]

    def read_sounds(
        self, batch: SyncBatch, slot: int, sample: int, place: ClipPlace, *, first_window: int = 0
    ) -> None:
        """Fill windows of sound of a slot, from `first_window` on, in one read.

        The sound of a clip begins at the sound sample nearest to the time of its first frame.
        """
        view, rate_hz = self.view, self.sample_rate_hz
        out = batch.sound.numpy()[slot]
        num_samples = out.shape[-1]
        last = int(self.table.num_audio_samples[sample]) - num_samples
        snapped = round(rate_hz * self._snapped_s(sample, place.video))
        starts = {
            number: min(max(view.first_sound_sample(first, rate_hz) + snapped, 0), last)
            for number, first in enumerate(place.sounds)
            if first is not None
        }
        in_sync = self.sound_start(sample, place.video)
        low = min(starts.values())
        with self.clock.stage("sound"):
            stop = max(starts.values()) + num_samples
            span = read_stereo_window(self.shards, sample, start=low, stop=stop)
            for number in range(len(place.sounds)):
                window = first_window + number
                batch.valid.numpy()[slot, window] = number in starts
                if number not in starts:
                    out[window] = 0
                    batch.delay_s.numpy()[slot, window] = math.nan
                    continue
                start = starts[number]
                out[window] = span[:, start - low : start - low + num_samples]
                batch.delay_s.numpy()[slot, window] = (in_sync - start) / rate_hz

    def sound_start(self, sample: int, first: int) -> int:
        """Sound sample nearest to the time of the first picture of a clip from `first` on."""
        snapped = round(self.sample_rate_hz * self._snapped_s(sample, first))
        return self.view.first_sound_sample(first, self.sample_rate_hz) + snapped

    def _snapped_s(self, sample: int, first: int) -> float:
        """How far the first stored frame lies before the start that was asked for: at most 0."""
        pairs, start_s = self._pairs, first / self.view.fps
        return pairs.snapped_s(sample, pairs.first_frame(sample, start_s), start_s)
