"""Clips with exactly their own sound: known answers from stored frames and samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from avdata import ShardSet
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.mixture import MixtureEvalView, MixtureReader, MixtureTrainView
from avtrain.data.views.mixture_batch import MixtureBatch
from avtrain.data.views.mixture_config import MixtureViewConfig
from avtrain.data.views.off_screen import OffScreenConfig, open_off_screen
from avtrain.errors import DataError

MakeShardSet = Callable[..., Path]
RATE_HZ, FPS = 24000, 16.0
PLAIN = MixtureViewConfig(
    clip_frames=8, fps=FPS, short_side_px=64, crop_px=64, aspect="squashed", flip_probability=0
)


def _reader(folder: Path, view: MixtureViewConfig) -> MixtureReader:
    shards = ShardSet(folder)
    return MixtureReader(shards, read_sample_table(shards), view)


def _filled(view: MixtureTrainView | MixtureEvalView, *items: tuple[int, int]) -> MixtureBatch:
    batch = view.allocate(len(items))
    for slot, (sample, epoch) in enumerate(items):
        view.fill(batch, slot, StreamItem(sample=sample, epoch=epoch, occurrence=0))
    return batch


def test_published_sizes() -> None:
    """Section 4.1 of the specification."""
    view = MixtureViewConfig()
    assert view.num_samples(21_000) == 44_144
    assert view.crop_size(256, 256) == (224, 224)
    assert view.crop_size(256, 340) == (224, 298)  # then made square
    kept = view.model_copy(update={"aspect": "kept"})
    assert kept.crop_size(256, 340) == (224, 224)
    assert (view.video.clip_frames, view.video.fps, view.video.crop_px) == (63, 29.97, 224)


def test_sound_is_that_of_the_frames(shard_set: Path) -> None:
    """Every window of the eval view, by its place in the stored sample."""
    reader = _reader(shard_set, PLAIN)
    view = MixtureEvalView(reader, num_windows=3, pin_memory=False)
    batch = _filled(view, (4, 0), (7, 0))
    assert batch.sound.shape == (6, 2, 12_000)
    assert repr(batch) == "MixtureBatch(frames=(6, 8, 64, 64, 3), sound=(6, 2, 12000))"
    for clip, sample in enumerate((4, 4, 4, 7, 7, 7)):
        num_frames = int(reader.table.num_frames[sample])
        first = [0, round((num_frames - 8) / 2), num_frames - 8][clip % 3]
        stored = reader.shards.read_audio(sample)
        start = round(first / FPS * RATE_HZ)
        for channel in batch.sound[clip].numpy():
            np.testing.assert_array_equal(channel, stored[0, start : start + 12_000])
        frames = reader.shards.read_frames(sample, range(first, first + 8))
        centers = batch.frames[clip][:, 32, 32].float()
        expected = frames[:, 32, frames.shape[2] // 2].astype(float)
        assert np.abs(centers.numpy() - expected).mean() < 20  # squashed, so not the same pixels
    assert batch.gain.tolist() == [1.0] * 6
    assert batch.source.tolist() == [4, 4, 4, 7, 7, 7]


def test_random_clips_are_in_time(shard_set: Path) -> None:
    reader = _reader(shard_set, PLAIN)
    view = MixtureTrainView(reader, seed=5, pin_memory=False)
    batch = _filled(view, *((sample, epoch) for sample in range(4) for epoch in range(6)))
    starts = set()
    for clip in range(24):
        sample = clip // 6
        stored = reader.shards.read_audio(sample)[0]
        found = [
            first
            for first in range(reader.last_start(sample) + 1)
            if np.array_equal(batch.sound[clip, 0], stored[round(first / FPS * RATE_HZ) :][:12_000])
        ]
        assert len(found) == 1
        starts.add((sample, found[0]))
        frames = reader.shards.read_frames(sample, range(found[0], found[0] + 8))
        small = torch.from_numpy(frames).permute(0, 3, 1, 2)
        expected = torch.nn.functional.interpolate(small, (64, 64), mode="bilinear", antialias=True)
        assert torch.equal(batch.frames[clip], expected.permute(0, 2, 3, 1))
    assert len(starts) > 15
    again = _filled(view, (2, 3))
    for one, other in zip(again.tensors(), batch.select([15]).tensors(), strict=True):
        assert torch.equal(one, other)


def test_flip_crop_and_level(shard_set: Path) -> None:
    view = PLAIN.model_copy(
        update={"flip_probability": 0.5, "crop_px": 48, "gain_octaves": 1.0, "aspect": "kept"}
    )
    train = MixtureTrainView(_reader(shard_set, view), seed=1, pin_memory=False)
    batch = _filled(train, *((3, epoch) for epoch in range(40)))
    assert batch.frames.shape == (40, 8, 48, 48, 3)
    assert 0.5 <= batch.gain.min() < 0.7 and 1.4 < batch.gain.max() <= 2
    assert batch.gain.log2().mean().abs() < 0.3
    moved = batch.frames[:, 0, 24].float().sum(dim=2)  # a row of each clip
    lefts = {tuple(row.tolist()) for row in moved}
    assert len(lefts) > 20


def test_a_share_of_the_clips_is_shown_in_a_part_of_the_picture(shard_set: Path) -> None:
    parts = {}
    for share in (0.0, 0.5):
        view = PLAIN.model_copy(update={"hidden_share": share})
        train = MixtureTrainView(_reader(shard_set, view), seed=1, pin_memory=False)
        batch = _filled(train, *((i % 4, i) for i in range(200)))
        parts[share] = batch.part
        moved = batch.select([3, 1]).to(torch.device("cpu")).part
        assert moved is None if batch.part is None else torch.equal(moved, batch.part[[3, 1]])
    assert parts[0.0] is None and parts[0.5] is not None
    left, top, right, bottom = parts[0.5].unbind(dim=1)
    assert (left >= 0).all() and (top >= 0).all() and (right <= 1).all() and (bottom <= 1).all()
    assert ((right - left) > 0.39).all() and ((bottom - top) > 0.39).all()
    whole = (parts[0.5] == torch.tensor([0.0, 0, 1, 1])).all(dim=1)
    left_half, right_half = (
        (parts[0.5] == torch.tensor(half)).all(dim=1) for half in ([0.0, 0, 0.5, 1], [0.5, 0, 1, 1])
    )
    assert 75 < int(whole.sum()) < 125
    assert 12 < int(left_half.sum()) < 40 and 12 < int(right_half.sum()) < 40


def test_sound_may_be_moved(shard_set: Path) -> None:
    view = PLAIN.model_copy(update={"jitter_frames": 3})
    reader = _reader(shard_set, view)
    plain = _filled(
        MixtureTrainView(_reader(shard_set, PLAIN), seed=9, pin_memory=False),
        *((1, epoch) for epoch in range(30)),
    )
    batch = _filled(
        MixtureTrainView(reader, seed=9, pin_memory=False), *((1, epoch) for epoch in range(30))
    )
    stored = np.pad(reader.shards.read_audio(1)[0], 6000)
    moved = []
    for clip in range(30):
        assert torch.equal(batch.frames[clip], plain.frames[clip])
        at = {
            6000 + round(first / FPS * RATE_HZ + shift / FPS * RATE_HZ): shift
            for first in range(reader.last_start(1) + 1)
            if torch.equal(
                plain.sound[clip, 0],
                torch.from_numpy(stored[6000:][round(first * 1500) :][:12_000]),
            )
            for shift in range(-3, 4)
        }
        moved += [
            shift
            for start, shift in at.items()
            if np.array_equal(batch.sound[clip, 0], stored[start : start + 12_000])
        ]
    assert len(moved) == 30
    assert set(moved) == set(range(-3, 4))


def test_a_sample_shorter_than_the_clip(make_shard_set: MakeShardSet) -> None:
    folder = make_shard_set(num_clips=4, durations_s=(0.25,), num_splits=0)
    reader = _reader(folder, PLAIN)
    assert reader.last_start(0) == 0
    batch = _filled(MixtureTrainView(reader, seed=0, pin_memory=False), (0, 0))
    stored = reader.shards.read_audio(0)[0]
    np.testing.assert_array_equal(batch.sound[0, 0, : len(stored)], stored)
    assert batch.sound[0, :, len(stored) :].abs().max() == 0
    assert torch.equal(batch.frames[0, :4], batch.frames[0, 4:])  # begins anew


def test_whole_frames_for_a_device_that_crops(shard_set: Path) -> None:
    view = PLAIN.model_copy(update={"crop_on": "device", "crop_px": 48})
    batch = _filled(MixtureTrainView(_reader(shard_set, view), seed=1, pin_memory=False), (3, 0))
    assert batch.frames.shape == (1, 8, 64, 88, 3)
    assert batch.crops is not None
    top, left, height, width, flip = batch.crops[0].tolist()
    assert (height, width, flip) == (48, 66, 0)
    assert 0 <= top <= 16 and 0 <= left <= 22
    copy = batch.to(torch.device("cpu"))
    assert copy.crops is not None and copy.select([0]).crops is not None


def test_mono_sound_goes_into_both_channels(shard_set: Path) -> None:
    reader = _reader(shard_set, PLAIN)
    batch = reader.allocate(1, pin_memory=False, form="cropped")
    reader.read(batch, 0, 2, first_frame=5, rng=None)
    assert torch.equal(batch.sound[0, 0], batch.sound[0, 1])


@pytest.mark.parametrize("field", ["clip_frames", "fps", "crop_px"])
def test_settings_are_positive(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        MixtureViewConfig.model_validate({field: 0})


def test_sounds_without_pictures(shard_set: Path, make_shard_set: MakeShardSet) -> None:
    """A share of clips gets a window of the other set, a function of seed and clip."""
    folder = make_shard_set(num_clips=6, fields=("audio",))
    off_screen = open_off_screen(
        OffScreenConfig(shards=str(folder), split="test"), sample_rate_hz=RATE_HZ
    )
    assert off_screen is not None
    assert repr(off_screen) == f"OffScreenSounds(2 samples of {folder})"
    shards = ShardSet(shard_set)
    reader = MixtureReader(
        shards, read_sample_table(shards), PLAIN, off_screen=off_screen, off_screen_share=0.5
    )
    view = MixtureTrainView(reader, seed=3, pin_memory=False)
    batch = _filled(view, *((0, epoch) for epoch in range(40)))
    assert 10 < batch.has_other.sum() < 30
    stored = [off_screen.shards.read_audio(sample)[0] for sample in off_screen.samples]
    for other, wanted in zip(batch.other, batch.has_other, strict=True):
        if not wanted:
            assert other.abs().max() == 0
            continue
        assert torch.equal(other[0], other[1])
        windows = [np.lib.stride_tricks.sliding_window_view(s, 12_000) for s in stored]
        heads = [np.flatnonzero((w[:, :50] == other[0, :50].numpy()).all(axis=1)) for w in windows]
        assert sum(len(head) for head in heads) == 1
    every = MixtureReader(shards, reader.table, PLAIN, off_screen=off_screen)
    even = MixtureEvalView(every, num_windows=2, pin_memory=False)
    one, same = _filled(even, (3, 0)), _filled(even, (3, 7))
    assert torch.equal(one.other, same.other)
    assert not torch.equal(one.other[0], one.other[1])
    plain = _filled(MixtureTrainView(_reader(shard_set, PLAIN), seed=3, pin_memory=False), (0, 0))
    assert plain.other.shape == (1, 2, 0) and not plain.has_other.any()


def test_sets_of_sounds_that_do_not_fit(shard_set: Path, make_shard_set: MakeShardSet) -> None:
    assert open_off_screen(OffScreenConfig(), sample_rate_hz=RATE_HZ) is None
    config = OffScreenConfig(shards=str(shard_set))
    with pytest.raises(DataError, match=r"has sound at 24000 Hz, the clips have 8000 Hz; build"):
        open_off_screen(config, sample_rate_hz=8000)
    with pytest.raises(DataError, match=r"no samples of split 'dev'"):
        open_off_screen(config.model_copy(update={"split": "dev"}), sample_rate_hz=RATE_HZ)
    silent = make_shard_set(num_clips=2, fields=("frames", "logmel"))
    with pytest.raises(DataError, match=r"has fields \{frames, logmel\} and no audio; build it"):
        open_off_screen(OffScreenConfig(shards=str(silent)), sample_rate_hz=RATE_HZ)
