"""Batches of clips for classification, and class scores of whole samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from avdata import ShardSet
from avtrain.data.loader import BatchLoader, LoadedBatch, View
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem, sequential_batches
from avtrain.data.views.labelled_audio import (
    AudioAugmentation,
    AudioClips,
    Beyond,
    EvenAudioView,
    RandomAudioView,
    SoundForm,
)
from avtrain.data.views.labelled_video import (
    EvenVideoView,
    RandomVideoView,
    VideoClips,
    VideoCrop,
)
from avtrain.data.views.pair_config import ColorJitterConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.errors import DataError
from avtrain.evaluate.frozen import ClipBatch, FrozenEncoders
from avtrain.methods import Modality
from avtrain.progress import Progress

if TYPE_CHECKING:
    from jaxtyping import Float


class LabelledClips(Protocol):
    """Clips of one shard set, and what a network takes of them."""

    def random_view(self, *, seed: int, augment: bool) -> View[Any]:
        """One clip of each item at a random place."""
        ...

    def even_view(self, num_windows: int, *, paired: bool = False) -> View[Any]:
        """Evenly spaced clips of each item; `paired`: video and sound at the same times."""
        ...

    def inputs(self, batch: Any) -> Any:
        """What the network takes of a batch, on the device."""
        ...

    def load(
        self, view: View[Any], item_lists: list[list[StreamItem]], *, num_threads: int
    ) -> Iterator[LoadedBatch[Any]]:
        """Filled batches in order; a batch may be used until the next one is asked for."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipForm:
    """What a clip of a modality is, and how random ones are augmented."""

    modality: Modality
    clip_frames: int | None = None
    """Frames of a video clip; None: those of the training."""
    crop: VideoCrop = "resized"
    jitter: ColorJitterConfig = field(default_factory=ColorJitterConfig)
    augmentation: AudioAugmentation = field(default_factory=AudioAugmentation)
    beyond: Beyond = "silence"
    sound_form: SoundForm | None = None
    """Stored field to read; None: the log-mel where there is one."""


class ClipSource:
    """Views of one shard set for one modality."""

    def __init__(self, frozen: FrozenEncoders, shards: ShardSet, form: ClipForm) -> None:
        view, where = frozen.view, str(shards.location)
        video = view.video
        if form.clip_frames is not None:
            video = video.model_copy(update={"clip_frames": form.clip_frames})
        self.frozen, self.form, self.shards = frozen, form, shards
        self.table = read_sample_table(shards)
        self.pin_memory = pin_memory = frozen.device.type == "cuda"
        reader = PairReader(shards, self.table, video=video, audio=view.audio)
        self.video: VideoClips | None = None
        self.audio: AudioClips | None = None
        if form.modality == "video":
            if "frames" not in shards.spec.fields:
                raise DataError(
                    f"the video network needs field frames, {where} has "
                    f"{{{', '.join(sorted(shards.spec.fields))}}}; build it again with --set "
                    "'fields=[\"frames\", ...]', or evaluate with --encoder audio"
                )
            self.video = VideoClips(reader, pin_memory=pin_memory)
        else:
            sound = form.sound_form or frozen.sound_form(
                shards.spec, where=where, prefer_sound=False
            )
            self.audio = AudioClips(
                reader,
                form=sound,
                beyond=form.beyond,
                margin=frozen.margin(sound),
                pin_memory=pin_memory,
            )

    def random_view(self, *, seed: int, augment: bool) -> View[Any]:
        """One clip of each item at a random place."""
        form = self.form
        if self.video is not None:
            return RandomVideoView(
                self.video, seed=seed, crop=form.crop, augment=augment, jitter=form.jitter
            )
        assert self.audio is not None
        augmentation = form.augmentation if augment else AudioAugmentation(volume=0.0)
        return RandomAudioView(self.audio, seed=seed, augmentation=augmentation)

    def even_view(self, num_windows: int, *, paired: bool = False) -> View[Any]:
        """Evenly spaced clips of each item; `paired`: video and sound at the same times."""
        if self.video is not None:
            return EvenVideoView(
                self.video, num_windows=num_windows, crop=self.form.crop, with_sound=paired
            )
        assert self.audio is not None
        return EvenAudioView(self.audio, num_windows=num_windows, with_video=paired)

    def inputs(self, batch: ClipBatch) -> Tensor:
        """What the network takes, on the device."""
        return self.frozen.inputs(batch)

    def load(
        self, view: View[Any], item_lists: list[list[StreamItem]], *, num_threads: int
    ) -> Iterator[LoadedBatch[Any]]:
        """Filled batches in order; a sample that cannot be read is an error.

        A batch may be used until the next one is asked for.
        """
        return load_batches(
            view,
            item_lists,
            num_threads=num_threads,
            keys=self.table.keys,
            reuse=not self.pin_memory,
        )


def load_batches(
    view: View[Any],
    item_lists: list[list[StreamItem]],
    *,
    num_threads: int,
    keys: list[str],
    reuse: bool,
) -> Iterator[LoadedBatch[Any]]:
    """Filled batches in order; a sample that cannot be read is an error.

    Args:
        keys: Of all samples.
        reuse: A batch is filled again when the next one is asked for; not where copies to a device
            may still read it.
    """
    with BatchLoader(
        view, item_lists, num_threads=num_threads, prefetch_batches=2, keys=keys
    ) as loader:
        for loaded in loader:
            yield loaded
            if reuse:
                loader.release(loaded)


def epoch_batches(
    samples: tuple[int, ...],
    *,
    clips_per_sample: int,
    batch_size: int,
    seed: int,
    epoch: int,
    occurrence: int = 0,
) -> list[list[StreamItem]]:
    """One epoch in random order, in batches of almost equal sizes, none above `batch_size`.

    Raw 64-bit draws are sorted, because numpy promises that those never change.
    """
    num_clips = len(samples) * clips_per_sample
    draws = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(num_clips)
    order = np.argsort(draws, kind="stable")
    parts = np.array_split(order, -(-num_clips // batch_size))
    return [
        [
            StreamItem(
                sample=samples[clip % len(samples)],
                epoch=epoch,
                occurrence=occurrence + clip // len(samples),
            )
            for clip in part.tolist()
        ]
        for part in parts
    ]


def sample_scores(
    source: LabelledClips,
    samples: tuple[int, ...],
    score: Callable[[Any], dict[str, Tensor]],
    *,
    num_windows: int,
    batch_clips: int,
    num_threads: int,
    progress: Progress,
    description: str,
) -> dict[str, Float[Tensor, "n c"]]:
    """Class probabilities of samples, the mean over their evenly spaced clips, float64 on the CPU.

    Args:
        score: Network inputs of a batch to logits (b, c) by name.
        batch_clips: Most clips at a time, if a sample has fewer.
    """
    view = source.even_view(num_windows)
    items = list(sequential_batches(samples, max(1, batch_clips // num_windows)))
    rows: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        loaded_batches = source.load(view, items, num_threads=num_threads)
        for loaded in progress(loaded_batches, total=len(items), description=description):
            for name, logits in score(source.inputs(loaded.batch)).items():
                chances = logits.double().softmax(dim=1)
                mean = chances.reshape(len(loaded.items), num_windows, -1).mean(dim=1)
                rows.setdefault(name, []).append(mean.cpu())
    return {name: torch.cat(parts) for name, parts in rows.items()}
