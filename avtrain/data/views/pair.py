"""A short video clip and the sound around it: what instance discrimination sees of a sample."""

import numpy as np
import torch

from avtrain.data.augment.color import COLOR_OPERATIONS
from avtrain.data.augment.crop import center_crop_box, random_crop_box, resample_frames
from avtrain.data.sample_generator import sample_generator
from avtrain.data.stream import StreamItem
from avtrain.data.views.pair_config import ColorJitterConfig
from avtrain.data.views.pair_reader import PairBatch, PairReader
from avtrain.data.views.pair_window import draw_pair_window, even_pair_windows

_EVAL_CROP_SHARE = 0.875
"""Of the short side: the paper resizes it to crop / 0.875 and then crops the center."""


class PairTrainView:
    """One random, augmented clip of each item; crop and resize here, the rest on the device."""

    def __init__(self, reader: PairReader, *, seed: int, pin_memory: bool) -> None:
        self.reader, self.seed, self.pin_memory = reader, seed, pin_memory

    def allocate(self, num_items: int) -> PairBatch:
        """One slot an item."""
        return self.reader.allocate(num_items, pin_memory=self.pin_memory)

    def fill(self, batch: PairBatch, slot: int, item: StreamItem) -> None:
        """Draw everything from the generator of (seed, epoch, occurrence, key)."""
        reader = self.reader
        rng = sample_generator(
            seed=self.seed,
            epoch=item.epoch,
            occurrence=item.occurrence,
            key=reader.table.keys[item.sample],
        )
        window = draw_pair_window(
            rng,
            video=reader.video,
            audio=reader.audio,
            video_duration_s=reader.video_duration_s(item.sample),
            audio_duration_s=reader.audio_duration_s(item.sample),
        )
        first_frame = reader.first_frame(item.sample, window.video_start_s)
        snapped_s = reader.snapped_s(item.sample, first_frame, window.video_start_s)
        frames = reader.read(
            batch,
            slot,
            item.sample,
            first_frame=first_frame,
            audio_start_s=window.audio_start_s + snapped_s,
        )
        config = reader.video
        box = random_crop_box(
            rng, height=frames.shape[1], width=frames.shape[2], min_area=config.min_area
        )
        clip = resample_frames(frames, box, side_px=config.crop_px)
        if rng.random() < config.flip_probability:
            clip = clip[:, :, ::-1]
        batch.frames[slot].numpy()[...] = clip
        factors, order = _draw_jitter(rng, config.jitter)
        batch.color_factors[slot] = torch.tensor(factors)
        batch.color_orders[slot] = torch.tensor(order)
        batch.gain[slot] = 1 + reader.audio.volume_jitter * (2 * rng.random() - 1)


class PairEvalView:
    """Evenly spaced windows of each item, centered, without augmentation."""

    def __init__(self, reader: PairReader, *, num_windows: int, pin_memory: bool) -> None:
        self.reader, self.num_windows, self.pin_memory = reader, num_windows, pin_memory

    def allocate(self, num_items: int) -> PairBatch:
        """`num_windows` neighboring slots an item."""
        return self.reader.allocate(num_items * self.num_windows, pin_memory=self.pin_memory)

    def fill(self, batch: PairBatch, slot: int, item: StreamItem) -> None:
        """Write all windows of the item."""
        reader = self.reader
        windows = even_pair_windows(
            self.num_windows,
            video=reader.video,
            audio=reader.audio,
            video_duration_s=reader.video_duration_s(item.sample),
            audio_duration_s=reader.audio_duration_s(item.sample),
        )
        for i, window in enumerate(windows):
            at = slot * self.num_windows + i
            frames = reader.read(
                batch,
                at,
                item.sample,
                first_frame=reader.first_frame(item.sample, window.video_start_s),
                audio_start_s=window.audio_start_s,
            )
            box = center_crop_box(
                height=frames.shape[1], width=frames.shape[2], share=_EVAL_CROP_SHARE
            )
            clip = resample_frames(frames, box, side_px=reader.video.crop_px)
            batch.frames[at].numpy()[...] = clip


def _draw_jitter(
    rng: np.random.Generator, config: ColorJitterConfig
) -> tuple[list[float], list[int]]:
    """Factors and order of the color operations; -1 stands for one that changes nothing."""
    factors, order = [], np.argsort(rng.random(len(COLOR_OPERATIONS))).tolist()
    for operation, name in enumerate(COLOR_OPERATIONS):
        reach: float = getattr(config, name)
        low = -reach if name == "hue" else max(0.0, 1 - reach)
        high = reach if name == "hue" else 1 + reach
        factors.append(low + (high - low) * rng.random())
        if reach == 0:
            order[order.index(operation)] = -1
    return factors, order
