"""Similarity maps of two networks, one that sees and one that hears, for clips of a shard set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from avtrain.data.augment.crop import CropBox
from avtrain.data.samples import SampleStore, SampleTable, read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import FrameForm, choose_frame_form
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_reader import PairReader
from avtrain.maps.clip_map import SILENT_BELOW, ClipMaps, ClipRequest
from avtrain.methods.base import check_fields
from avtrain.methods.pair_inputs import check_pair_data
from avtrain.methods.pair_method import PairMethod
from avtrain.models.similarity_map import similarity_maps

LAYER = "conv5x"
"""Of the video network: the last one with places."""
_FLOOR_SLACK = 0.02
"""float16 rounds the floor."""


class PairMaps:
    """Cosines of every place with the sound around a clip; the whole picture, squashed to a square.

    The pictures lie in the middle of the window of sound, as far as the sample allows.
    """

    has_magnitude = False

    def __init__(self, method: PairMethod, shards: SampleStore, device: torch.device) -> None:
        """Of `method` for clips of `shards`.

        Raises:
            DataError: The set lacks a field, or its form does not fit.
        """
        view, where = method.view, str(shards.location)
        check_fields(view.requires, shards.spec, method=type(method).__name__.lower(), where=where)
        check_pair_data(view.audio, shards.spec, where=where)
        self._method, self._device = method, device
        self.table: SampleTable = read_sample_table(shards)
        self._reader = PairReader(shards, self.table, video=view.video, audio=view.audio)

    @property
    def clip_s(self) -> float:
        """Length of a clip's pictures."""
        return self._method.view.video.clip_s

    @property
    def min_shift_s(self) -> float:
        """The windows of sound share nothing."""
        return self._method.view.audio.window_s

    def last_start_s(self, sample: int) -> float | None:
        """Latest start of a whole clip; None where the sample is too short or has no sound."""
        spare_s = self._reader.video_duration_s(sample) - self.clip_s
        if spare_s < -1e-6 or self._reader.audio_duration_s(sample) <= 0:
            return None
        return max(spare_s, 0.0)

    def view(self, requests: Sequence[ClipRequest], *, pin_memory: bool) -> "_View":
        """One slot of pictures a request, and a slot of sound for each of its sounds."""
        return _View(self._reader, requests, pin_memory=pin_memory)

    def maps(self, batch: PairBatch, requests: Sequence[ClipRequest]) -> list[ClipMaps]:
        """Cosines in [-1, 1]."""
        method = self._method
        inputs = method.prepare(batch, self._device)
        heard = method.model.audio_proj(method.model.audio_model(inputs.audio))
        seen = method.model.video_model.features(inputs.video)[LAYER]
        values = similarity_maps(
            seen, method.model.video_proj, heard.reshape(len(requests), -1, heard.shape[-1])
        )
        num_steps = values.shape[2]
        silent = self._is_silent(batch).reshape(len(requests), -1).cpu().numpy()
        centers_s = (np.arange(num_steps) + 0.5) * self.clip_s / num_steps
        return [
            ClipMaps(
                request=request,
                values=of_clip,
                times_s=request.start_s + centers_s,
                silent=is_silent,
            )
            for request, of_clip, is_silent in zip(
                requests, values.cpu().numpy(), silent, strict=True
            )
        ]

    def _is_silent(self, batch: PairBatch) -> torch.Tensor:
        """bool (b,) of the batch's sounds."""
        sound = batch.sound
        if self._method.view.audio.input == "spectrogram":
            return (sound.abs() < SILENT_BELOW).all(dim=1)
        assert self._reader.logmel is not None
        floor = float(np.log(self._reader.logmel.log_floor))
        return (sound.float() <= floor + _FLOOR_SLACK).flatten(1).all(dim=1)


class _View:
    """Clips of requests with their sounds, which are as many times as many as the clips."""

    def __init__(
        self, reader: PairReader, requests: Sequence[ClipRequest], *, pin_memory: bool
    ) -> None:
        self._reader, self._requests, self._pin_memory = reader, requests, pin_memory
        device = torch.device("cuda" if pin_memory else "cpu")
        self._form: FrameForm = choose_frame_form(reader.shards, reader.video, device=device)

    @property
    def num_sounds(self) -> int:
        """Of each clip."""
        return len(self._requests[0].sounds)

    def allocate(self, num_items: int) -> PairBatch:
        """A slot an item for pictures, `num_sounds` neighboring ones for sound."""
        reader, pin = self._reader, self._pin_memory
        batch = reader.allocate(num_items, pin_memory=pin, form=self._form)
        batch.color_factors.fill_(1)
        batch.color_orders.fill_(-1)

        def repeated(tensor: torch.Tensor) -> torch.Tensor:
            shape = (num_items * self.num_sounds, *tensor.shape[1:])
            return torch.zeros(shape, dtype=tensor.dtype, pin_memory=pin)

        return replace(
            batch,
            sound=repeated(batch.sound),
            gain=repeated(batch.gain).fill_(1),
            time_spans=repeated(batch.time_spans),
            band_spans=repeated(batch.band_spans),
            source=repeated(batch.source),
        )

    def fill(self, batch: PairBatch, slot: int, item: StreamItem) -> None:
        """Write pictures and all sounds of a request."""
        reader, request = self._reader, self._requests[item.occurrence]
        for window, sound in enumerate(request.sounds):
            at = slot * self.num_sounds + window
            if sound is None:
                batch.sound.numpy()[at] = self._silence
                continue
            # the window around the clip, moved into the sample where it reaches beyond
            margin_s = (reader.audio.window_s - reader.video.clip_s) / 2
            spare_s = reader.audio_duration_s(sound.sample) - reader.audio.window_s
            start_s = min(max(sound.start_s - margin_s, 0.0), max(spare_s, 0.0))
            reader.read_sound(batch, at, sound.sample, start_s=start_s)
        first = reader.first_frame(request.sample, request.start_s)
        frames = reader.read_frames(batch, slot, request.sample, first_frame=first)
        whole = CropBox(top=0, left=0, height=frames.height, width=frames.width)
        reader.crop(batch, slot, frames, whole, flip=False)

    def select(self, batch: PairBatch, slots: list[int]) -> PairBatch:
        """A batch of only these slots."""
        sounds = [slot * self.num_sounds + i for slot in slots for i in range(self.num_sounds)]
        pictures = batch.select(slots)
        return replace(
            pictures,
            sound=batch.sound[sounds],
            gain=batch.gain[sounds],
            time_spans=batch.time_spans[sounds],
            band_spans=batch.band_spans[sounds],
            source=batch.source[sounds],
        )

    @property
    def _silence(self) -> float:
        if self._reader.audio.input == "spectrogram":
            return 0
        assert self._reader.logmel is not None
        return float(np.log(self._reader.logmel.log_floor))
