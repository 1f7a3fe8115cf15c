"""Clips with their own sound for classification: where they lie, what they hold, what is drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avdata import ShardSet
from avtrain.data.samples import SampleTable, read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.labelled_audio_visual import (
    AudioVisualClips,
    EvenAudioVisualView,
    RandomAudioVisualView,
)
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_config import SyncViewConfig

# 1 s of clip at the fixture's 16 fps and 24 kHz
VIEW = SyncViewConfig(clip_frames=16, fps=16, short_side_px=64, crop_px=56, aspect="kept")
RATE_HZ = 24_000


def clips(
    where: Path, view: SyncViewConfig = VIEW, table: SampleTable | None = None
) -> AudioVisualClips:
    shards = ShardSet(where)
    own = read_sample_table(shards) if table is None else table
    return AudioVisualClips(shards, own, view, pin_memory=False)


def item(sample: int, *, occurrence: int = 0) -> StreamItem:
    return StreamItem(sample=sample, epoch=0, occurrence=occurrence)


def filled(view: RandomAudioVisualView | EvenAudioVisualView, *items: StreamItem) -> SyncBatch:
    batch = view.allocate(len(items))
    for slot, one in enumerate(items):
        view.fill(batch, slot, one)
    return batch


def test_even_clips_have_the_sound_of_their_frames(shard_set: Path) -> None:
    own = clips(shard_set)
    batch = filled(EvenAudioVisualView(own, num_windows=3), item(0))
    stored = own.reader.shards
    for slot, first in enumerate((0, 16, 32)):  # of 48 frames
        frames = stored.read_frames(0, range(first, first + 16))
        assert torch.equal(batch.frames[slot], torch.from_numpy(frames[:, 4:60, 16:72].copy()))
        start = first * RATE_HZ // 16
        sound = stored.read_audio(0, start, start + RATE_HZ)
        for channel in range(2):
            assert np.array_equal(batch.sound[slot, 0, channel].numpy(), sound[0])
    assert batch.valid.all() and not batch.delay_s.any()
    chosen = EvenAudioVisualView(own, num_windows=3).select(batch, [0])
    assert torch.equal(chosen.sound, batch.sound)


def test_random_clips_move_their_sound_by_a_frame_at_most(shard_set: Path) -> None:
    own = clips(shard_set)
    frame_s = 1 / VIEW.fps
    still = RandomAudioVisualView(own, seed=3, augment=True)
    moved = RandomAudioVisualView(own, seed=3, augment=True, max_moved_s=frame_s)
    items = [item(0, occurrence=i) for i in range(24)]
    one, other = filled(still, *items), filled(moved, *items)
    assert torch.equal(one.frames, other.frames)
    whole = own.reader.shards.read_audio(0)[0].astype(np.float64)

    def start_of(window: torch.Tensor) -> int:
        """By the noise of the sound, which is nowhere the same."""
        part = window[0].numpy().astype(np.float64)
        starts = [s for s in np.flatnonzero(whole[: -len(part) + 1] == part[0])
                  if np.array_equal(whole[s : s + len(part)], part)]  # fmt: skip
        assert len(starts) == 1
        return int(starts[0])

    shifts = np.array(
        [start_of(b) - start_of(a) for a, b in zip(one.sound[:, 0], other.sound[:, 0], strict=True)]
    )
    frame = RATE_HZ / VIEW.fps
    assert np.abs(shifts).max() <= frame
    assert (shifts < -0.2 * frame).any() and (shifts > 0.2 * frame).any()
    assert all(start_of(window) % frame == 0 for window in one.sound[:, 0])
    again = filled(moved, *items)
    assert torch.equal(again.sound, other.sound)
    tested = filled(RandomAudioVisualView(own, seed=3, augment=False), *items)
    assert not torch.equal(tested.frames, one.frames)  # no flip, and the middle
    assert torch.equal(tested.sound, one.sound)


def test_short_samples_begin_again_with_their_sound(shard_set: Path) -> None:
    long = VIEW.model_copy(update={"clip_frames": 80})  # 5 s of a sample of 3 s
    own = clips(shard_set, long)
    assert own.last_start(0) == 0
    batch = filled(EvenAudioVisualView(own, num_windows=1), item(0))
    frames, sound = batch.frames[0], batch.sound[0, 0]
    assert torch.equal(frames[48:80], frames[:32])
    assert torch.equal(sound[:, 3 * RATE_HZ :], sound[:, : 2 * RATE_HZ])
    assert sound.any()


@pytest.mark.parametrize("stored_samples", [0, RATE_HZ // 2])
def test_where_there_is_no_sound_there_is_silence(shard_set: Path, stored_samples: int) -> None:
    table = read_sample_table(ShardSet(shard_set))
    numbers = table.num_audio_samples.copy()
    numbers[0] = stored_samples
    own = clips(shard_set, table=replace(table, num_audio_samples=numbers))
    batch = filled(EvenAudioVisualView(own, num_windows=2), item(0), item(1))
    heard = batch.sound.bool().any(dim=-1).all(dim=-1)[:, 0].tolist()
    assert heard == [stored_samples > 0, False, True, True]
    assert batch.frames[0].any()


def test_a_still_picture_does_not_begin_again(shard_set: Path) -> None:
    table = read_sample_table(ShardSet(shard_set))
    numbers = table.num_frames.copy()
    numbers[0] = 1
    own = clips(shard_set, table=replace(table, num_frames=numbers))
    batch = filled(EvenAudioVisualView(own, num_windows=1), item(0))
    assert torch.equal(batch.frames[0, 0], batch.frames[0, -1])
    sound = own.reader.shards.read_audio(0, 0, RATE_HZ)[0]
    assert np.array_equal(batch.sound[0, 0, 0].numpy(), sound)
