"""Clips of pictures with their own sound, for classification: random ones, or evenly spaced ones.

::

    sample     |-------------------------------------|
    clip            |-- clip_frames --|                 first frame 0 .. last start
    its sound       |-----------------|                 moved by the jitter, in training
    too short  |-------|-------|-----                   pictures and sound begin again, together
"""

import math

import numpy as np
import torch

from avtrain.data.sample_generator import sample_generator
from avtrain.data.samples import SampleStore, SampleTable
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import choose_frame_form
from avtrain.data.views.labelled_video import even_shares
from avtrain.data.views.stored import read_stereo_window
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_config import SyncViewConfig
from avtrain.data.views.sync_reader import SyncReader


class AudioVisualClips:
    """Clips of one shard set with their sound, and where in a sample they may lie."""

    def __init__(
        self, shards: SampleStore, table: SampleTable, view: SyncViewConfig, *, pin_memory: bool
    ) -> None:
        self.reader = SyncReader(shards, table, view)
        self.pin_memory = pin_memory
        # memory is pinned for CUDA and for nothing else
        device = torch.device("cuda" if pin_memory else "cpu")
        self.form = choose_frame_form(shards, view.video, device=device)

    def allocate(self, num_clips: int) -> SyncBatch:
        """Batch of `num_clips` empty slots, each with one window of sound."""
        return self.reader.allocate(
            num_clips, num_windows=1, form=self.form, pin_memory=self.pin_memory
        )

    def last_start(self, sample: int) -> int:
        """Last frame of the view's rate from which on a whole clip lies in the pictures."""
        reader = self.reader
        stored_s = float(reader.table.num_frames[sample] / reader.table.frame_fps[sample])
        return max(math.floor(stored_s * reader.view.fps + 1e-6) - reader.view.clip_frames, 0)

    def fill(
        self,
        batch: SyncBatch,
        slot: int,
        sample: int,
        *,
        first: int,
        rng: np.random.Generator | None,
        moved_s: float = 0.0,
    ) -> None:
        """Write the clip from frame `first` on; the sound is moved by `moved_s`.

        Args:
            rng: For crop and flip; None is the center as it is.
        """
        rate_hz = self.reader.sample_rate_hz
        start = self.reader.sound_start(sample, first) + round(rate_hz * moved_s)
        batch.sound.numpy()[slot, 0] = self._sound(sample, max(start, 0), batch.sound.shape[-1])
        batch.delay_s.numpy()[slot] = 0.0
        batch.valid.numpy()[slot] = True
        self.reader.read_frames(batch, slot, sample, first=first, rng=rng)

    def _sound(self, sample: int, start: int, num_samples: int) -> np.ndarray:
        """int16 (2, n) from `start` on; silence where the sample has no sound."""
        reader = self.reader
        table, view = reader.table, reader.view
        stored = int(table.num_frames[sample])
        length_s = float(stored / table.frame_fps[sample])
        # a picture that stands for the whole sample does not begin again
        repeats = stored > 1 and length_s < view.clip_s - 0.5 / view.fps
        if not repeats:
            return self._stored(sample, start, start + num_samples)
        period = max(round(length_s * reader.sample_rate_hz), 1)
        once = self._stored(sample, 0, period)
        return once[:, (start + np.arange(num_samples)) % period]

    def _stored(self, sample: int, start: int, stop: int) -> np.ndarray:
        reader = self.reader
        if start >= int(reader.table.num_audio_samples[sample]):
            return np.zeros((2, stop - start), np.int16)
        with reader.clock.stage("sound"):
            return read_stereo_window(reader.shards, sample, start=start, stop=stop)


class RandomAudioVisualView:
    """One clip of each item at a random place; augmented, or as tests see it.

    Args:
        augment: Random crop and flip, and sound that is moved.
        max_moved_s: Most that the sound is moved, earlier or later.
    """

    def __init__(
        self, clips: AudioVisualClips, *, seed: int, augment: bool, max_moved_s: float = 0.0
    ) -> None:
        self.clips, self.seed, self.augment = clips, seed, augment
        self.max_moved_s = max_moved_s

    def allocate(self, num_items: int) -> SyncBatch:
        """One slot an item."""
        return self.clips.allocate(num_items)

    def fill(self, batch: SyncBatch, slot: int, item: StreamItem) -> None:
        """Draw everything from the generator of (seed, epoch, occurrence, key)."""
        clips, sample = self.clips, item.sample
        rng = sample_generator(
            seed=self.seed,
            epoch=item.epoch,
            occurrence=item.occurrence,
            key=clips.reader.table.keys[sample],
        )
        first = int(rng.integers(clips.last_start(sample) + 1))
        if not self.augment:
            clips.fill(batch, slot, sample, first=first, rng=None)
            return
        moved_s = self.max_moved_s * (2 * rng.random() - 1)
        clips.fill(batch, slot, sample, first=first, rng=rng, moved_s=moved_s)

    def select(self, batch: SyncBatch, slots: list[int]) -> SyncBatch:
        """A batch of only these slots."""
        return batch.select(slots)


class EvenAudioVisualView:
    """Evenly spaced clips of each item, the middle of the picture, in neighboring slots."""

    def __init__(self, clips: AudioVisualClips, *, num_windows: int) -> None:
        self.clips, self.num_windows = clips, num_windows

    def allocate(self, num_items: int) -> SyncBatch:
        """`num_windows` neighboring slots an item."""
        return self.clips.allocate(num_items * self.num_windows)

    def fill(self, batch: SyncBatch, slot: int, item: StreamItem) -> None:
        """Write all clips of the item."""
        last = self.clips.last_start(item.sample)
        for number, share in enumerate(even_shares(self.num_windows)):
            at, first = slot * self.num_windows + number, round(share * last)
            self.clips.fill(batch, at, item.sample, first=first, rng=None)

    def select(self, batch: SyncBatch, slots: list[int]) -> SyncBatch:
        """A batch of only the clips of these items."""
        windows = range(self.num_windows)
        return batch.select([slot * self.num_windows + i for slot in slots for i in windows])
