"""A video clip with its own sound and with sound of other times: what sync is learned from."""

from collections.abc import Mapping

import torch

from avtrain.data.sample_generator import sample_generator
from avtrain.data.stage_clock import StageClock
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import FrameForm, choose_frame_form
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_places import ClipPlace, Places
from avtrain.data.views.sync_reader import SyncReader


class SyncTrainView:
    """One random clip of each item, drawn from the item's generator."""

    def __init__(self, reader: SyncReader, places: Places, *, seed: int, pin_memory: bool) -> None:
        self.reader, self.places, self.seed, self.pin_memory = reader, places, seed, pin_memory
        self.form: FrameForm = _form(reader, pin_memory)

    @property
    def clock(self) -> StageClock:
        """Time of the threads in the stages of `fill`."""
        return self.reader.clock

    def allocate(self, num_items: int) -> SyncBatch:
        """One slot an item."""
        return self.reader.allocate(
            num_items,
            num_windows=self.places.num_windows,
            form=self.form,
            pin_memory=self.pin_memory,
        )

    def fill(self, batch: SyncBatch, slot: int, item: StreamItem) -> None:
        """Draw place, crop and flip from the generator of (seed, epoch, occurrence, key).

        Raises:
            DataError: The sample is too short.
        """
        reader, sample = self.reader, item.sample
        rng = sample_generator(
            seed=self.seed,
            epoch=item.epoch,
            occurrence=item.occurrence,
            key=reader.table.keys[sample],
        )
        room = reader.check_room(sample, min_starts=self.places.min_starts)
        place = self.places(rng, num_starts=room)
        reader.read_sounds(batch, slot, sample, place)
        reader.read_frames(batch, slot, sample, first=place.video, rng=rng)

    def select(self, batch: SyncBatch, slots: list[int]) -> SyncBatch:
        """A batch of only these slots."""
        return batch.select(slots)


class SyncEvalView:
    """Clips of each item in the middle of the picture, without flips, the same every time.

    Args:
        places: How clips are chosen: from a generator of (seed, key, number of the clip).
        num_clips: Neighboring slots of an item.
        partners: For each sample another one; the windows of its own clip follow in each slot, as
            sound that has nothing to do with the pictures.
    """

    def __init__(
        self,
        reader: SyncReader,
        places: Places,
        *,
        seed: int,
        num_clips: int,
        pin_memory: bool,
        partners: Mapping[int, int] | None = None,
    ) -> None:
        self.reader, self.places, self.seed = reader, places, seed
        self.num_clips, self.pin_memory, self.partners = num_clips, pin_memory, partners
        self.form: FrameForm = _form(reader, pin_memory)

    @property
    def clock(self) -> StageClock:
        """Time of the threads in the stages of `fill`."""
        return self.reader.clock

    def allocate(self, num_items: int) -> SyncBatch:
        """`num_clips` neighboring slots an item."""
        num_windows = self.places.num_windows
        return self.reader.allocate(
            num_items * self.num_clips,
            num_windows=num_windows if self.partners is None else 2 * num_windows,
            form=self.form,
            pin_memory=self.pin_memory,
        )

    def fill(self, batch: SyncBatch, slot: int, item: StreamItem) -> None:
        """Write all clips of the item.

        Raises:
            DataError: The sample is too short.
        """
        for number in range(self.num_clips):
            at = slot * self.num_clips + number
            place = self._place(item.sample, number)
            self.reader.read_sounds(batch, at, item.sample, place)
            self.reader.read_frames(batch, at, item.sample, first=place.video, rng=None)
            if self.partners is not None:
                partner = self.partners[item.sample]
                self.reader.read_sounds(
                    batch,
                    at,
                    partner,
                    self._place(partner, number),
                    first_window=self.places.num_windows,
                )

    def select(self, batch: SyncBatch, slots: list[int]) -> SyncBatch:
        """A batch of only the clips of these slots."""
        clips = range(self.num_clips)
        return batch.select([slot * self.num_clips + i for slot in slots for i in clips])

    def _place(self, sample: int, number: int) -> ClipPlace:
        reader = self.reader
        rng = sample_generator(
            seed=self.seed, epoch=-1, occurrence=number, key=reader.table.keys[sample]
        )
        return self.places(
            rng, num_starts=reader.check_room(sample, min_starts=self.places.min_starts)
        )


def _form(reader: SyncReader, pin_memory: bool) -> FrameForm:
    # memory is pinned for CUDA and for nothing else
    device = torch.device("cuda" if pin_memory else "cpu")
    return choose_frame_form(reader.shards, reader.view.video, device=device)
