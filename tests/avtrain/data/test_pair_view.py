"""Pair views: windows in range and together, independent of threads, padding at the ends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avdata import ShardSet
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem, StreamPlan, batches
from avtrain.data.views.pair import PairEvalView, PairTrainView
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.data.views.pair_window import draw_pair_window, even_pair_windows

VIDEO = VideoViewConfig(crop_px=32)
AUDIO = AudioViewConfig()


def reader(path: Path, *, video: VideoViewConfig = VIDEO, audio: AudioViewConfig = AUDIO):
    shards = ShardSet(path)
    return PairReader(shards, read_sample_table(shards), video=video, audio=audio)


@given(
    st.integers(0, 2**64),
    st.floats(0.05, 12),
    st.floats(-0.3, 0.3),
    st.floats(0, 1),
)
def test_windows_lie_in_the_sample_and_within_the_offset(
    seed: int, video_s: float, more_s: float, max_offset_s: float
) -> None:
    audio_s = max(video_s + more_s, 0.05)
    video = VideoViewConfig(max_offset_s=max_offset_s)
    window = draw_pair_window(
        np.random.default_rng(seed),
        video=video,
        audio=AUDIO,
        video_duration_s=video_s,
        audio_duration_s=audio_s,
    )
    a0, v0 = window.audio_start_s, window.video_start_s
    assert 0 <= a0 <= max(audio_s - AUDIO.window_s, 0)
    assert 0 <= v0 <= max(video_s - video.clip_s, 0)
    assert v0 >= a0 - max_offset_s - 1e-9
    assert v0 + video.clip_s <= a0 + AUDIO.window_s + max_offset_s + 1e-9


@given(st.integers(1, 7), st.floats(0.1, 12))
def test_even_windows_cover_the_sample_in_order(num_windows: int, duration_s: float) -> None:
    windows = even_pair_windows(
        num_windows,
        video=VIDEO,
        audio=AUDIO,
        video_duration_s=duration_s,
        audio_duration_s=duration_s,
    )
    starts = [window.audio_start_s for window in windows]
    assert len(windows) == num_windows
    assert starts == sorted(starts)
    last_s = max(duration_s - AUDIO.window_s, 0)
    assert starts[0] == pytest.approx(last_s / 2 if num_windows == 1 else 0)
    assert starts[-1] == pytest.approx(last_s / 2 if num_windows == 1 else last_s)


def load(path: Path, num_threads: int) -> list[PairBatch]:
    view = PairTrainView(reader(path), seed=5, pin_memory=False)
    plan = StreamPlan(samples=tuple(range(24)), seed=5, batch_size=10, clips_per_sample=2)
    with BatchLoader(view, batches(plan), num_threads=num_threads, prefetch_batches=2) as loader:
        return [next(loader).batch for _ in range(6)]


def assert_equal(one: PairBatch, other: PairBatch) -> None:
    assert (one.crops is None, one.crop_px) == (other.crops is None, other.crop_px)
    tensors = list(one.tensors())
    assert len(tensors) == len(PairBatch.__slots__) - 1 - (one.crops is None)
    for a, b in zip(tensors, other.tensors(), strict=True):
        assert torch.equal(a, b)


def test_batches_do_not_depend_on_threads(shard_set: Path) -> None:
    for one, three in zip(load(shard_set, 1), load(shard_set, 3), strict=True):
        assert_equal(one, three)


def test_clips_of_one_sample_differ_between_epochs_and_occurrences(shard_set: Path) -> None:
    view = PairTrainView(reader(shard_set), seed=5, pin_memory=False)
    batch = view.allocate(3)
    for slot, (epoch, occurrence) in enumerate([(0, 0), (1, 0), (0, 1)]):
        view.fill(batch, slot, StreamItem(sample=0, epoch=epoch, occurrence=occurrence))
    assert batch.source.tolist() == [0, 0, 0]
    assert len({tuple(row.tolist()) for row in batch.color_factors}) == 3
    assert sorted(batch.color_orders[0].tolist()) == [0, 1, 2, 3]
    assert (batch.gain - 1).abs().max() <= 0.1


def test_frames_and_sound_come_from_the_same_place(make_shard_set) -> None:
    path = make_shard_set(num_clips=2, durations_s=(8.0,), num_splits=0)
    pairs = reader(path)
    batch = pairs.allocate(1, pin_memory=False, form="whole")
    pairs.read_frames(batch, 0, 1, first_frame=20)
    np.testing.assert_array_equal(batch.frames[0], pairs.shards.read_frames(1, range(20, 28)))
    pairs.read_sound(batch, 0, 1, start_s=1.25)
    stored = pairs.shards.read_logmel(1)
    np.testing.assert_array_equal(batch.sound[0].numpy(), stored[0, 125:325])


def test_half_rate_sound_takes_every_second_column(shard_set: Path) -> None:
    pairs = reader(shard_set, audio=AudioViewConfig(frame_rate_hz=50))
    batch = pairs.allocate(1, pin_memory=False, form="cropped")
    pairs.read_sound(batch, 0, 0, start_s=0.5)
    np.testing.assert_array_equal(batch.sound[0].numpy(), pairs.shards.read_logmel(0)[0, 50:250:2])


def test_other_frame_rates_take_the_nearest_stored_frames(make_shard_set) -> None:
    half = reader(make_shard_set(num_clips=2, fps=8.0))
    assert half.frame_steps(0) == [0, 1, 1, 2, 2, 3, 3, 4]
    double = reader(make_shard_set(num_clips=2, fps=32.0))
    assert double.frame_steps(1) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_frame_rates_may_differ_from_sample_to_sample(shard_set: Path) -> None:
    """The same pictures, said to be of other rates: each clip shows the times that were asked."""
    shards = ShardSet(shard_set)
    rates = np.resize([16.0, 8.0, 24.0], len(shards))
    table = replace(read_sample_table(shards), frame_fps=rates)
    pairs = PairReader(shards, table, video=VIDEO, audio=AUDIO)
    assert pairs.frame_steps(0) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert pairs.frame_steps(1) == [0, 1, 1, 2, 2, 3, 3, 4]
    assert pairs.frame_steps(2) == [0, 2, 3, 5, 6, 8, 9, 11]
    durations = [pairs.video_duration_s(sample) for sample in range(3)]
    assert durations == [48 / 16, 56 / 8, 64 / 24]
    assert [pairs.first_frame(sample, 1.0) for sample in range(3)] == [16, 8, 24]
    assert [pairs.first_frame(sample, 99.0) for sample in range(3)] == [40, 51, 52]
    batch = pairs.allocate(1, pin_memory=False, form="cropped")
    for sample, indices in (
        (1, [8, 9, 9, 10, 10, 11, 11, 12]),
        (2, [8, 10, 11, 13, 14, 16, 17, 19]),
    ):
        frames = pairs.read_frames(batch, 0, sample, first_frame=8)
        np.testing.assert_array_equal(frames.pixels, shards.read_frames(sample, indices))


def test_sound_moves_with_the_frames_but_not_with_a_still(shard_set: Path) -> None:
    shards = ShardSet(shard_set)
    table = read_sample_table(shards)
    counts = table.num_frames.copy()
    counts[1] = 1
    table = replace(table, num_frames=counts)
    pairs = PairReader(shards, table, video=VIDEO, audio=AUDIO)
    assert pairs.snapped_s(0, 16, 1.03) == pytest.approx(-0.03)
    assert pairs.snapped_s(1, 0, 1.03) == 0


def test_short_samples_wrap_frames_and_end_in_silence(make_shard_set) -> None:
    path = make_shard_set(num_clips=2, durations_s=(0.25,), num_splits=0)
    view = PairTrainView(reader(path), seed=0, pin_memory=False)
    batch = view.allocate(1)
    view.fill(batch, 0, StreamItem(sample=0, epoch=0, occurrence=0))
    frames = batch.frames[0]
    assert torch.equal(frames[:4], frames[4:])
    floor = np.float16(np.log(1e-10))
    assert (batch.sound[0, 26:].numpy() == floor).all()
    assert (batch.sound[0, :26].numpy() > floor).any()


def test_waveform_windows_end_in_zeros(shard_set: Path) -> None:
    pairs = reader(shard_set, audio=AudioViewConfig(input="spectrogram"))
    batch = pairs.allocate(1, pin_memory=False, form="cropped")
    pairs.read_sound(batch, 0, 0, start_s=2.0)
    assert batch.sound.shape == (1, 48000)
    assert batch.sound[0, :24000].abs().max() > 4000
    assert (batch.sound[0, 24000:] == 0).all()


def test_eval_view_fills_neighboring_slots_without_augmentation(shard_set: Path) -> None:
    view = PairEvalView(reader(shard_set), num_windows=3, pin_memory=False)
    batch = view.allocate(2)
    for slot in (0, 1):
        view.fill(batch, slot, StreamItem(sample=4 + slot, epoch=0, occurrence=0))
    assert batch.source.tolist() == [4, 4, 4, 5, 5, 5]
    assert batch.frames.shape == (6, 8, 32, 32, 3)
    assert (batch.color_orders == -1).all()
    assert (batch.gain == 1).all()
