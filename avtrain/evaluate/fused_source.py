"""Clips of a shard set as the network of a sync run sees and hears them."""

from collections.abc import Iterator
from typing import Any

from avdata import ShardSet
from avtrain.data.loader import LoadedBatch, View
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.labelled_audio_visual import (
    AudioVisualClips,
    EvenAudioVisualView,
    RandomAudioVisualView,
)
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.errors import DataError
from avtrain.evaluate.clip_batches import load_batches
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.methods.sync import Sync, SyncInputs


class FusedSource:
    """Views of one shard set: clips of pictures, each with its own sound."""

    def __init__(
        self,
        frozen: FrozenEncoders[Any],
        method: Sync,
        shards: ShardSet,
        *,
        clip_frames: int | None = None,
        sound_jitter_frames: float = 0.0,
    ) -> None:
        """Clips of a set that fits the run.

        Args:
            frozen: Whose device the clips go to.
            method: The run.
            shards: The set.
            clip_frames: In frames of the run's rate; None: as in the run.
            sound_jitter_frames: Most that the sound of augmented clips is moved.

        Raises:
            DataError: The set does not have what the run needs.
        """
        where = str(shards.location)
        method.config.check(shards.spec, where=where)
        check_sound_rate(method, shards)
        self.method, self.device, self.shards = method, frozen.device, shards
        view = method.config.view
        if clip_frames is not None:
            view = view.model_copy(update={"clip_frames": clip_frames})
        self.view = view
        self.max_moved_s = sound_jitter_frames / view.fps
        self.table = read_sample_table(shards)
        self.pin_memory = frozen.device.type == "cuda"
        self.clips = AudioVisualClips(shards, self.table, view, pin_memory=self.pin_memory)

    def random_view(self, *, seed: int, augment: bool) -> View[Any]:
        """One clip of each item at a random place."""
        return RandomAudioVisualView(
            self.clips, seed=seed, augment=augment, max_moved_s=self.max_moved_s
        )

    def even_view(self, num_windows: int, *, paired: bool = False) -> View[Any]:
        """Evenly spaced clips of each item; pictures and sound always belong together."""
        return EvenAudioVisualView(self.clips, num_windows=num_windows)

    def inputs(self, batch: SyncBatch) -> SyncInputs:
        """What the network takes, on the device."""
        return self.method.prepare(batch, self.device)

    def load(
        self, view: View[Any], item_lists: list[list[StreamItem]], *, num_threads: int
    ) -> Iterator[LoadedBatch[Any]]:
        """Filled batches in order; a batch may be used until the next one is asked for."""
        return load_batches(
            view,
            item_lists,
            num_threads=num_threads,
            keys=self.table.keys,
            reuse=not self.pin_memory,
        )


def check_sound_rate(method: Sync, shards: ShardSet) -> None:
    """Refuse a set whose sound has another rate than the run's.

    Raises:
        DataError: It has.
    """
    assert shards.spec.audio is not None
    rate_hz, wanted_hz = shards.spec.audio.sample_rate_hz, method.clip.sound_rate_hz
    if rate_hz != wanted_hz:
        raise DataError(
            f"{shards.location} has sound at {rate_hz} Hz, the run was trained on {wanted_hz} Hz; "
            f"build it again with --set audio.sample_rate_hz={wanted_hz}"
        )
