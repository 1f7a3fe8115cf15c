"""A short video clip and the sound around it: what instance discrimination sees of a sample."""

import torch

from avtrain.data.augment.color import draw_jitter
from avtrain.data.augment.crop import center_crop_box, random_crop_box
from avtrain.data.augment.spectrum_masks import draw_spans
from avtrain.data.sample_generator import sample_generator
from avtrain.data.stage_clock import StageClock
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import FrameForm, choose_frame_form
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_reader import PairReader
from avtrain.data.views.pair_window import draw_pair_window, even_pair_windows

_EVAL_CROP_SHARE = 0.875
"""Of the short side: the paper resizes it to crop / 0.875 and then crops the center."""


class PairTrainView:
    """One random, augmented clip of each item. Everything is drawn here, from the item's generator;
    what is not done in the loader's threads is done on the device with what was drawn."""

    def __init__(self, reader: PairReader, *, seed: int, pin_memory: bool) -> None:
        self.reader, self.seed, self.pin_memory = reader, seed, pin_memory
        self.form: FrameForm = choose_frame_form(
            reader.shards, reader.video, device=_device(pin_memory)
        )

    @property
    def clock(self) -> StageClock:
        """Time of the threads in the stages of `fill`."""
        return self.reader.clock

    def allocate(self, num_items: int) -> PairBatch:
        """One slot an item."""
        return self.reader.allocate(num_items, pin_memory=self.pin_memory, form=self.form)

    def fill(self, batch: PairBatch, slot: int, item: StreamItem) -> None:
        """Draw everything from the generator of (seed, epoch, occurrence, key)."""
        reader, sample = self.reader, item.sample
        video, audio = reader.video, reader.audio
        rng = sample_generator(
            seed=self.seed,
            epoch=item.epoch,
            occurrence=item.occurrence,
            key=reader.table.keys[sample],
        )
        window = draw_pair_window(
            rng,
            video=video,
            audio=audio,
            video_duration_s=reader.video_duration_s(sample),
            audio_duration_s=reader.audio_duration_s(sample),
        )
        first_frame = reader.first_frame(sample, window.video_start_s)
        snapped_s = reader.snapped_s(sample, first_frame, window.video_start_s)
        reader.read_sound(batch, slot, sample, start_s=window.audio_start_s + snapped_s)
        frames = reader.read_frames(batch, slot, sample, first_frame=first_frame)
        box = random_crop_box(
            rng, height=frames.height, width=frames.width, min_area=video.min_area
        )
        reader.crop(batch, slot, frames, box, flip=rng.random() < video.flip_probability)
        factors, order = draw_jitter(rng, video.jitter.reaches)
        batch.color_factors.numpy()[slot] = factors
        batch.color_orders.numpy()[slot] = order
        batch.gain.numpy()[slot] = 1 + audio.volume_jitter * (2 * rng.random() - 1)
        masks = audio.masks
        batch.time_spans.numpy()[slot] = draw_spans(
            rng,
            num_spans=masks.num_time_masks,
            max_width=masks.max_time_frames,
            length=audio.num_frames,
        )
        batch.band_spans.numpy()[slot] = draw_spans(
            rng,
            num_spans=masks.num_band_masks,
            max_width=masks.max_band_bins,
            length=reader.num_bins,
        )

    def select(self, batch: PairBatch, slots: list[int]) -> PairBatch:
        """A batch of only these slots."""
        return batch.select(slots)


class PairEvalView:
    """Evenly spaced windows of each item, centered, without augmentation."""

    def __init__(self, reader: PairReader, *, num_windows: int, pin_memory: bool) -> None:
        self.reader, self.num_windows, self.pin_memory = reader, num_windows, pin_memory
        self.form: FrameForm = choose_frame_form(
            reader.shards, reader.video, device=_device(pin_memory)
        )

    @property
    def clock(self) -> StageClock:
        """Time of the threads in the stages of `fill`."""
        return self.reader.clock

    def allocate(self, num_items: int) -> PairBatch:
        """`num_windows` neighboring slots an item."""
        num_clips = num_items * self.num_windows
        return self.reader.allocate(num_clips, pin_memory=self.pin_memory, form=self.form)

    def fill(self, batch: PairBatch, slot: int, item: StreamItem) -> None:
        """Write all windows of the item."""
        reader, sample = self.reader, item.sample
        windows = even_pair_windows(
            self.num_windows,
            video=reader.video,
            audio=reader.audio,
            video_duration_s=reader.video_duration_s(sample),
            audio_duration_s=reader.audio_duration_s(sample),
        )
        for i, window in enumerate(windows):
            at = slot * self.num_windows + i
            reader.read_sound(batch, at, sample, start_s=window.audio_start_s)
            first_frame = reader.first_frame(sample, window.video_start_s)
            frames = reader.read_frames(batch, at, sample, first_frame=first_frame)
            box = center_crop_box(height=frames.height, width=frames.width, share=_EVAL_CROP_SHARE)
            reader.crop(batch, at, frames, box, flip=False)
            batch.color_factors.numpy()[at] = 1
            batch.color_orders.numpy()[at] = -1
            batch.gain.numpy()[at] = 1
            batch.time_spans.numpy()[at] = 0
            batch.band_spans.numpy()[at] = 0

    def select(self, batch: PairBatch, slots: list[int]) -> PairBatch:
        """A batch of only the windows of these slots."""
        windows = range(self.num_windows)
        return batch.select([slot * self.num_windows + i for slot in slots for i in windows])


def _device(pin_memory: bool) -> torch.device:
    """The device that batches go to: memory is pinned for CUDA and for nothing else."""
    return torch.device("cuda" if pin_memory else "cpu")
