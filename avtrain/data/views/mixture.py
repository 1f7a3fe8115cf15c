"""A clip and exactly its own sound: what mixtures are made of."""

import math

import numpy as np
import torch

from avtrain.data.augment.crop import CropBox
from avtrain.data.augment.device_crop import CROP_COLUMNS
from avtrain.data.jpeg_decode import JpegFrames
from avtrain.data.sample_generator import sample_generator
from avtrain.data.samples import SampleStore, SampleTable
from avtrain.data.stage_clock import StageClock
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import FrameForm, choose_frame_form, frame_sizes
from avtrain.data.views.mixture_batch import MixtureBatch
from avtrain.data.views.mixture_config import MixtureViewConfig
from avtrain.data.views.off_screen import OffScreenSounds
from avtrain.data.views.pair_config import AudioViewConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.data.views.stored import read_stereo_window

WHOLE = (0.0, 0.0, 1.0, 1.0)
"""All of the picture, as `MixtureBatch.part` has it."""
_LEAST_SIDE = 0.4
"""Of a box, in shares of the picture's width and height."""


class MixtureReader:
    """Reads clips of one shard set into the slots of a batch; threads share it.

    A sample shorter than the clip begins anew, and its sound is followed by silence. The clock
    counts the time of the stages `sound`, `frames` (reading and decoding) and `crop`.
    """

    def __init__(
        self,
        shards: SampleStore,
        table: SampleTable,
        view: MixtureViewConfig,
        *,
        off_screen: OffScreenSounds | None = None,
        off_screen_share: float = 1.0,
    ) -> None:
        assert shards.spec.audio is not None
        self.shards, self.table, self.view = shards, table, view
        self.off_screen, self.off_screen_share = off_screen, off_screen_share
        self.sample_rate_hz = shards.spec.audio.sample_rate_hz
        self._pairs = PairReader(
            shards, table, video=view.video, audio=AudioViewConfig(input="spectrogram")
        )

    @property
    def clock(self) -> StageClock:
        """Time of the threads by stage."""
        return self._pairs.clock

    def allocate(self, num_clips: int, *, pin_memory: bool, form: FrameForm) -> MixtureBatch:
        """Batch of `num_clips` empty slots."""

        def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty((num_clips, *shape), dtype=dtype, pin_memory=pin_memory)

        view, num_samples = self.view, self.view.num_samples(self.sample_rate_hz)
        heights, widths = frame_sizes(self.shards)
        height, width = int(heights.max()), int(widths.max())
        if form == "cropped":
            height = width = view.crop_px
        frames: torch.Tensor | JpegFrames
        if form == "jpegs":
            frames = JpegFrames(jpegs=[[] for _ in range(num_clips)], height=height, width=width)
        else:
            frames = empty(view.clip_frames, height, width, 3, dtype=torch.uint8)
        return MixtureBatch(
            frames=frames,
            crops=None if form == "cropped" else empty(len(CROP_COLUMNS), dtype=torch.int32),
            crop_px=view.crop_px,
            sound=empty(2, num_samples, dtype=torch.int16),
            gain=empty(dtype=torch.float32),
            source=empty(dtype=torch.int64),
            other=empty(2, num_samples if self.off_screen else 0, dtype=torch.int16),
            has_other=empty(dtype=torch.bool),
            part=empty(4, dtype=torch.float32) if view.hidden_share else None,
        )

    def last_start(self, sample: int) -> int:
        """Last stored frame that a clip can begin with so that it ends with the sample."""
        steps = self._pairs.frame_steps(sample)
        return max(int(self.table.num_frames[sample]) - 1 - steps[-1], 0)

    def read(
        self,
        batch: MixtureBatch,
        slot: int,
        sample: int,
        *,
        first_frame: int,
        rng: np.random.Generator | None,
    ) -> None:
        """Fill a slot with the clip from `first_frame` on.

        Args:
            rng: For crop, flip, level and the place of the sound; None is the center as it is.
        """
        view = self.view
        frames = self._pairs.read_frames(batch, slot, sample, first_frame=first_frame)
        height, width = view.crop_size(frames.height, frames.width)
        free = frames.height - height, frames.width - width
        top, left = free[0] // 2, free[1] // 2
        flip, gain, moved, part = False, 1.0, 0, WHOLE
        if rng is not None:
            top, left = int(rng.integers(free[0] + 1)), int(rng.integers(free[1] + 1))
            flip = bool(rng.random() < view.flip_probability)
            gain = 2 ** (view.gain_octaves * (2 * rng.random() - 1))
            moved = int(rng.integers(-view.jitter_frames, view.jitter_frames + 1))
            if view.hidden_share and rng.random() < view.hidden_share:
                part = draw_part(rng)
        box = CropBox(top=top, left=left, height=height, width=width)
        self._pairs.crop(batch, slot, frames, box, flip=flip)
        batch.gain.numpy()[slot] = gain
        if batch.part is not None:
            batch.part.numpy()[slot] = part
        batch.source.numpy()[slot] = self.table.source_index[sample]
        start_s = first_frame / self._pairs.fps(sample) + moved / view.fps
        # the sound of a flipped picture stays where it is, as published
        self._read_sound(batch, slot, sample, start=round(start_s * self.sample_rate_hz))

    def read_other(self, batch: MixtureBatch, slot: int, rng: np.random.Generator) -> None:
        """Fill the sound without pictures of a slot, in the share of slots that have one."""
        wanted = self.off_screen is not None and rng.random() < self.off_screen_share
        batch.has_other.numpy()[slot] = wanted
        if self.off_screen is None:
            return
        out = batch.other.numpy()[slot]
        if not wanted:
            out[:] = 0
            return
        with self.clock.stage("sound"):
            self.off_screen.read(out, rng)

    def _read_sound(self, batch: MixtureBatch, slot: int, sample: int, *, start: int) -> None:
        out = batch.sound.numpy()[slot]
        skipped = min(max(-start, 0), out.shape[1])
        out[:, :skipped] = 0
        if skipped == out.shape[1]:
            return
        with self.clock.stage("sound"):
            out[:, skipped:] = read_stereo_window(
                self.shards, sample, start=start + skipped, stop=start + out.shape[1]
            )


def draw_part(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a half of the picture, or of a box anywhere in it."""
    if rng.random() < 0.5:
        return (0.0, 0.0, 0.5, 1.0) if rng.random() < 0.5 else (0.5, 0.0, 1.0, 1.0)
    width, height = rng.uniform(_LEAST_SIDE, 1, 2)
    left, top = rng.uniform(0, 1, 2) * (1 - width, 1 - height)
    return float(left), float(top), float(left + width), float(top + height)


class MixtureTrainView:
    """One random clip of each item: where it starts, its crop, its flip and its level."""

    def __init__(self, reader: MixtureReader, *, seed: int, pin_memory: bool) -> None:
        self.reader, self.seed, self.pin_memory = reader, seed, pin_memory
        self.form: FrameForm = _choose_form(reader, pin_memory=pin_memory)

    @property
    def clock(self) -> StageClock:
        """Time of the threads in the stages of `fill`."""
        return self.reader.clock

    def allocate(self, num_items: int) -> MixtureBatch:
        """One slot an item."""
        return self.reader.allocate(num_items, pin_memory=self.pin_memory, form=self.form)

    def fill(self, batch: MixtureBatch, slot: int, item: StreamItem) -> None:
        """Draw everything from the generator of (seed, epoch, occurrence, key)."""
        rng = sample_generator(
            seed=self.seed,
            epoch=item.epoch,
            occurrence=item.occurrence,
            key=self.reader.table.keys[item.sample],
        )
        first_frame = int(rng.integers(self.reader.last_start(item.sample) + 1))
        self.reader.read(batch, slot, item.sample, first_frame=first_frame, rng=rng)
        self.reader.read_other(batch, slot, rng)

    def select(self, batch: MixtureBatch, slots: list[int]) -> MixtureBatch:
        """A batch of only these slots."""
        return batch.select(slots)


class MixtureEvalView:
    """Evenly spaced clips of each item, centered, without augmentation.

    Sounds without pictures are functions of the seed, the sample's key and the window.
    """

    def __init__(
        self, reader: MixtureReader, *, num_windows: int, pin_memory: bool, seed: int = 0
    ) -> None:
        self.reader, self.num_windows, self.pin_memory = reader, num_windows, pin_memory
        self.seed = seed
        self.form: FrameForm = _choose_form(reader, pin_memory=pin_memory)

    @property
    def clock(self) -> StageClock:
        """Time of the threads in the stages of `fill`."""
        return self.reader.clock

    def allocate(self, num_items: int) -> MixtureBatch:
        """`num_windows` neighboring slots an item."""
        num_clips = num_items * self.num_windows
        return self.reader.allocate(num_clips, pin_memory=self.pin_memory, form=self.form)

    def fill(self, batch: MixtureBatch, slot: int, item: StreamItem) -> None:
        """Write all windows of the item."""
        reader = self.reader
        last = reader.last_start(item.sample)
        for i in range(self.num_windows):
            at = slot * self.num_windows + i
            share = i / (self.num_windows - 1) if self.num_windows > 1 else 0.5
            first_frame = math.floor(share * last + 0.5)
            reader.read(batch, at, item.sample, first_frame=first_frame, rng=None)
            key = reader.table.keys[item.sample]
            reader.read_other(
                batch, at, sample_generator(seed=self.seed, epoch=0, occurrence=i, key=key)
            )

    def select(self, batch: MixtureBatch, slots: list[int]) -> MixtureBatch:
        """A batch of only the windows of these slots."""
        windows = range(self.num_windows)
        return batch.select([slot * self.num_windows + i for slot in slots for i in windows])


def _choose_form(reader: MixtureReader, *, pin_memory: bool) -> FrameForm:
    # memory is pinned for CUDA and for nothing else
    device = torch.device("cuda" if pin_memory else "cpu")
    return choose_frame_form(reader.shards, reader.view.video, device=device)
