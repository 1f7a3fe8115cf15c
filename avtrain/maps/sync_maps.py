"""Activation maps of a network that sees and hears at once, for the clips of a shard set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from avtrain.data.samples import SampleStore, SampleTable, read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import FrameForm, choose_frame_form
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_places import ClipPlace
from avtrain.data.views.sync_reader import SyncReader
from avtrain.errors import DataError
from avtrain.maps.clip_map import SILENT_BELOW, ClipMaps, ClipRequest
from avtrain.maps.smoothing import refined_maps
from avtrain.methods.sync import Sync
from avtrain.models import MultisensoryNet, map_geometry


class SyncMaps:
    """Class activation maps; the network sees the whole picture, squashed to a square.

    Reference: Owens and Efros 2018, section 4, whose released code squashes too.
    """

    has_magnitude = True

    def __init__(
        self,
        method: Sync,
        shards: SampleStore,
        device: torch.device,
        *,
        mirrored: bool = False,
        smoothing_cells: float = 0.0,
    ) -> None:
        """Of `method` for clips of `shards`.

        Args:
            method: A trained one.
            shards: Where the clips are.
            device: Where the network works.
            mirrored: Maps are the mean of those of a clip and of its mirror image, where the
                training mirrored clips too: steadier places, in twice the time.
            smoothing_cells: Standard deviation of a Gaussian over each map.

        Raises:
            DataError: The set lacks pictures or sound, or its sound has another rate.
        """
        where = str(shards.location)
        method.config.check(shards.spec, where=where)
        assert shards.spec.audio is not None
        rate_hz = shards.spec.audio.sample_rate_hz
        if rate_hz != method.clip.sound_rate_hz:
            raise DataError(
                f"{where} has sound at {rate_hz} Hz, the run was trained on "
                f"{method.clip.sound_rate_hz} Hz; build it again with --set "
                f"audio.sample_rate_hz={method.clip.sound_rate_hz}"
            )
        view = method.config.view
        self._view = view.model_copy(
            update={"short_side_px": view.crop_px, "aspect": "squashed", "flip_probability": 0.0}
        )
        self._method, self._device = method, device
        self._mirrored = mirrored and view.flip_probability > 0
        self._smoothing_cells = smoothing_cells
        self.table: SampleTable = read_sample_table(shards)
        self._reader = SyncReader(shards, self.table, self._view)

    @property
    def clip_s(self) -> float:
        """Length of a clip's pictures."""
        return self._view.clip_s

    @property
    def min_shift_s(self) -> float:
        """Of the training."""
        return self._view.min_shift_s

    def last_start_s(self, sample: int) -> float | None:
        """Latest start of a whole clip with its sound; None where the sample is too short."""
        starts = self._reader.num_starts(sample)
        return (starts - 1) / self._view.fps if starts else None

    def view(self, requests: Sequence[ClipRequest], *, pin_memory: bool) -> "_View":
        """One slot a request, a window for each of its sounds."""
        return _View(self._reader, requests, pin_memory=pin_memory)

    def maps(self, batch: SyncBatch, requests: Sequence[ClipRequest]) -> list[ClipMaps]:
        """The network's head at every cell; the part that only sees works once."""
        inputs = self._method.prepare(batch, self._device)
        values = refined_maps(
            lambda frames: self._method.window_maps(replace(inputs, frames=frames)),
            inputs.frames,
            width_dim=-1,
            mirrored=self._mirrored,
            smoothing_cells=self._smoothing_cells,
        )
        silent = (batch.sound.abs() < SILENT_BELOW).all(dim=3).all(dim=2).cpu().numpy()
        centers_s = self._centers_s(*inputs.frames.shape[2:], num_steps=values.shape[2])
        return [
            ClipMaps(
                request=request,
                values=of_clip,
                times_s=request.start_s + centers_s,
                silent=is_silent,
            )
            for request, of_clip, is_silent in zip(requests, values, silent, strict=True)
        ]

    def _centers_s(self, num_frames: int, height: int, width: int, *, num_steps: int) -> np.ndarray:
        """Center of each step after the clip's start."""
        model = self._method.model
        centers = (np.arange(num_steps) + 0.5) * num_frames / num_steps
        if isinstance(model, MultisensoryNet):
            geometry = map_geometry(
                model.config, num_frames=num_frames, height_px=height, width_px=width
            )
            centers = np.asarray(geometry.frames) + 0.5  # frame i is shown from i to i + 1
        return np.asarray(centers / self._view.shown_fps)


class _View:
    """Clips of requests with their sounds."""

    def __init__(
        self, reader: SyncReader, requests: Sequence[ClipRequest], *, pin_memory: bool
    ) -> None:
        self._reader, self._requests, self._pin_memory = reader, requests, pin_memory
        device = torch.device("cuda" if pin_memory else "cpu")
        self._form: FrameForm = choose_frame_form(reader.shards, reader.view.video, device=device)

    def allocate(self, num_items: int) -> SyncBatch:
        """One slot an item."""
        return self._reader.allocate(
            num_items,
            num_windows=len(self._requests[0].sounds),
            form=self._form,
            pin_memory=self._pin_memory,
        )

    def fill(self, batch: SyncBatch, slot: int, item: StreamItem) -> None:
        """Write pictures and all sounds of a request.

        Raises:
            DataError: A sample is too short.
        """
        request = self._requests[item.occurrence]
        for window, sound in enumerate(request.sounds):
            if sound is None:
                batch.sound.numpy()[slot, window] = 0
                batch.delay_s.numpy()[slot, window] = 0
                batch.valid.numpy()[slot, window] = True
                continue
            first = self._frame(sound.sample, sound.start_s)
            place = ClipPlace(video=first, sounds=(first,))
            self._reader.read_sounds(batch, slot, sound.sample, place, first_window=window)
        first = self._frame(request.sample, request.start_s)
        self._reader.read_frames(batch, slot, request.sample, first=first, rng=None)

    def select(self, batch: SyncBatch, slots: list[int]) -> SyncBatch:
        """A batch of only these slots."""
        return batch.select(slots)

    def _frame(self, sample: int, start_s: float) -> int:
        last = self._reader.check_room(sample, min_starts=1) - 1
        return min(max(round(start_s * self._reader.view.fps), 0), last)
