"""Video clips alone, for classification: random augmented ones, or evenly spaced ones.

Letters: b clips, t video frames, h w pixels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from avtrain.data.augment.color import COLOR_OPERATIONS
from avtrain.data.augment.crop import (
    CropBox,
    center_crop_box,
    random_crop_box,
    resample_frames,
)
from avtrain.data.sample_generator import sample_generator
from avtrain.data.stream import StreamItem
from avtrain.data.views.pair_config import ColorJitterConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.data.views.pair_window import even_pair_windows

VideoCrop = Literal["resized", "squashed"]
"""`resized`: a random resized crop, tested on the centered square of 7/8 of the short side.
`squashed`: the picture is made square without keeping its aspect, and 7/8 of each side is cropped,
at random or from the center."""

EVAL_CROP_SHARE = 0.875
"""Published tests resize to crop / 0.875 and crop the center."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoClipBatch:
    """Clips, and the color jitter that the device applies."""

    frames: Tensor
    """uint8 (b, t, h, w, 3), cropped, resized and flipped."""
    color_factors: Tensor
    """float32 (b, 4), columns as in COLOR_OPERATIONS."""
    color_orders: Tensor
    """int64 (b, 4), always on the CPU; -1 leaves a place empty."""

    def __repr__(self) -> str:
        return f"VideoClipBatch(frames={tuple(self.frames.shape)})"


class VideoClips:
    """Clips of one shard set as arrays, and where in a sample they may lie."""

    def __init__(self, reader: PairReader, *, pin_memory: bool) -> None:
        self.reader, self.pin_memory = reader, pin_memory
        self.has_sound = bool(reader.shards.spec.audio or reader.shards.spec.logmel)

    def allocate(self, num_clips: int) -> VideoClipBatch:
        """Batch of `num_clips` empty slots, without color jitter."""
        config, pin = self.reader.video, self.pin_memory
        shape = (num_clips, config.clip_frames, config.crop_px, config.crop_px, 3)
        num_operations = len(COLOR_OPERATIONS)
        return VideoClipBatch(
            frames=torch.empty(shape, dtype=torch.uint8, pin_memory=pin),
            color_factors=torch.ones((num_clips, num_operations), pin_memory=pin),
            color_orders=torch.full((num_clips, num_operations), -1),
        )

    def last_start_s(self, sample: int) -> float:
        """Start of the last clip that lies in the sample."""
        return max(self.reader.video_duration_s(sample) - self.reader.video.clip_s, 0.0)

    def even_starts_s(self, sample: int, num_windows: int, *, with_sound: bool) -> list[float]:
        """Starts of evenly spaced clips; `with_sound`: in the middle of even audio windows."""
        reader = self.reader
        if with_sound and self.has_sound:
            windows = even_pair_windows(
                num_windows,
                video=reader.video,
                audio=reader.audio,
                video_duration_s=reader.video_duration_s(sample),
                audio_duration_s=reader.audio_duration_s(sample),
            )
            return [window.video_start_s for window in windows]
        last_s = self.last_start_s(sample)
        return [last_s * share for share in even_shares(num_windows)]

    def read(self, sample: int, start_s: float) -> np.ndarray:
        """Whole frames uint8 (t, h, w, 3) of the clip at `start_s`; short samples repeat."""
        reader = self.reader
        first = reader.first_frame(sample, start_s)
        num_frames = int(reader.table.num_frames[sample])
        indices = [(first + step) % num_frames for step in reader.frame_steps(sample)]
        return reader.shards.read_frames(sample, indices)


class RandomVideoView:
    """One clip of each item at a random place; augmented, or with the crop of the tests."""

    def __init__(
        self,
        clips: VideoClips,
        *,
        seed: int,
        crop: VideoCrop,
        augment: bool,
        jitter: ColorJitterConfig | None = None,
    ) -> None:
        self.clips, self.seed, self.crop, self.augment = clips, seed, crop, augment
        self.jitter = ColorJitterConfig() if jitter is None else jitter

    def allocate(self, num_items: int) -> VideoClipBatch:
        """One slot an item."""
        return self.clips.allocate(num_items)

    def fill(self, batch: VideoClipBatch, slot: int, item: StreamItem) -> None:
        """Draw everything from the generator of (seed, epoch, occurrence, key)."""
        reader = self.clips.reader
        rng = sample_generator(
            seed=self.seed,
            epoch=item.epoch,
            occurrence=item.occurrence,
            key=reader.table.keys[item.sample],
        )
        frames = self.clips.read(item.sample, self.clips.last_start_s(item.sample) * rng.random())
        height, width = frames.shape[1:3]
        config = reader.video
        if not self.augment:
            box = centered_box(self.crop, height=height, width=width)
        elif self.crop == "squashed":
            box = random_squashed_box(rng, height=height, width=width)
        else:
            box = random_crop_box(rng, height=height, width=width, min_area=config.min_area)
        clip = resample_frames(frames, box, side_px=config.crop_px)
        factors, order = [1.0] * len(COLOR_OPERATIONS), [-1] * len(COLOR_OPERATIONS)
        if self.augment:
            if rng.random() < config.flip_probability:
                clip = clip[:, :, ::-1]
            factors, order = draw_jitter(rng, self.jitter)
        batch.frames[slot].numpy()[...] = clip
        batch.color_factors[slot].numpy()[...] = factors
        batch.color_orders[slot].numpy()[...] = order

    def select(self, batch: VideoClipBatch, slots: list[int]) -> VideoClipBatch:
        """A batch of only these slots."""
        return select_clips(batch, slots)


class EvenVideoView:
    """Evenly spaced clips of each item with the crop of the tests, in neighboring slots."""

    def __init__(
        self, clips: VideoClips, *, num_windows: int, crop: VideoCrop, with_sound: bool
    ) -> None:
        self.clips, self.num_windows, self.crop = clips, num_windows, crop
        self.with_sound = with_sound

    def allocate(self, num_items: int) -> VideoClipBatch:
        """`num_windows` neighboring slots an item."""
        return self.clips.allocate(num_items * self.num_windows)

    def fill(self, batch: VideoClipBatch, slot: int, item: StreamItem) -> None:
        """Write all windows of the item."""
        starts_s = self.clips.even_starts_s(
            item.sample, self.num_windows, with_sound=self.with_sound
        )
        for i, start_s in enumerate(starts_s):
            at = slot * self.num_windows + i
            frames = self.clips.read(item.sample, start_s)
            box = centered_box(self.crop, height=frames.shape[1], width=frames.shape[2])
            clip = resample_frames(frames, box, side_px=self.clips.reader.video.crop_px)
            batch.frames[at].numpy()[...] = clip
            batch.color_factors[at] = 1
            batch.color_orders[at] = -1

    def select(self, batch: VideoClipBatch, slots: list[int]) -> VideoClipBatch:
        """A batch of only the windows of these items."""
        windows = range(self.num_windows)
        return select_clips(batch, [slot * self.num_windows + i for slot in slots for i in windows])


def even_shares(num_windows: int) -> list[float]:
    """Places from 0 to 1 at equal distances; one alone is in the middle."""
    if num_windows == 1:
        return [0.5]
    return [i / (num_windows - 1) for i in range(num_windows)]


def centered_box(crop: VideoCrop, *, height: int, width: int) -> CropBox:
    """The centered box of a crop."""
    if crop == "resized":
        return center_crop_box(height=height, width=width, share=EVAL_CROP_SHARE)
    box_height, box_width = _squashed_size(height, width)
    return CropBox(
        top=(height - box_height) // 2,
        left=(width - box_width) // 2,
        height=box_height,
        width=box_width,
    )


def random_squashed_box(rng: np.random.Generator, *, height: int, width: int) -> CropBox:
    """7/8 of each side at a random place: a random square of the picture squashed to a square."""
    box_height, box_width = _squashed_size(height, width)
    return CropBox(
        top=int(rng.random() * (height - box_height + 1)),
        left=int(rng.random() * (width - box_width + 1)),
        height=box_height,
        width=box_width,
    )


def draw_jitter(
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


def select_clips(batch: VideoClipBatch, slots: list[int]) -> VideoClipBatch:
    """A batch of only these clips."""
    return VideoClipBatch(
        frames=batch.frames[slots],
        color_factors=batch.color_factors[slots],
        color_orders=batch.color_orders[slots],
    )


def _squashed_size(height: int, width: int) -> tuple[int, int]:
    return max(1, round(height * EVAL_CROP_SHARE)), max(1, round(width * EVAL_CROP_SHARE))
