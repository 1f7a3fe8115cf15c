"""Slots of batches that were used before, batches of some slots, and who crops."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from avdata import ShardSet, ShardSetError
from avtrain.data.samples import SampleStore, read_sample_table
from avtrain.data.shard_mix import open_shard_mix
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import choose_frame_form, filled_share
from avtrain.data.views.pair import PairEvalView, PairTrainView
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_config import (
    AudioViewConfig,
    ColorJitterConfig,
    SpectrumMaskConfig,
    VideoViewConfig,
)
from avtrain.data.views.pair_reader import PairReader
from avtrain.errors import DataError
from avtrain.methods.pair_inputs import PairPreparation

MASKED = AudioViewConfig(masks=SpectrumMaskConfig(num_time_masks=2, num_band_masks=1))
NO_JITTER = ColorJitterConfig(brightness=0, contrast=0, saturation=0, hue=0)
CPU = torch.device("cpu")


def view(
    store: SampleStore, *, crop_on: str, windows: int = 0, **video: object
) -> PairTrainView | PairEvalView:
    reader = PairReader(
        store,
        read_sample_table(store),
        video=VideoViewConfig(crop_px=32, crop_on=crop_on, **video),  # type: ignore[arg-type]
        audio=MASKED,
    )
    if windows:
        return PairEvalView(reader, num_windows=windows, pin_memory=False)
    return PairTrainView(reader, seed=5, pin_memory=False)


def filled(own: PairTrainView | PairEvalView, samples: list[int], batch: PairBatch) -> PairBatch:
    for slot, sample in enumerate(samples):
        own.fill(batch, slot, StreamItem(sample=sample, epoch=1, occurrence=0))
    return batch


@pytest.fixture
def mixed(make_shard_set: Callable[..., Path]) -> SampleStore:
    """Samples 0 to 2 are 88 pixels wide and of 0.25 to 4 s, 3 and 4 are 120 wide."""
    narrow = make_shard_set(num_clips=3, durations_s=(3.0, 0.25, 4.0), num_splits=0)
    wide = make_shard_set(num_clips=2, width_px=120, num_splits=0, build_hash="wide")
    return open_shard_mix([narrow, wide], ())


@pytest.mark.parametrize("windows", [0, 2])
@pytest.mark.parametrize("crop_on", ["loader", "device"])
def test_nothing_is_left_of_an_earlier_batch(
    mixed: SampleStore, crop_on: str, windows: int
) -> None:
    own = view(mixed, crop_on=crop_on, windows=windows)
    fresh, used = own.allocate(5), own.allocate(5)
    for tensor in fresh.tensors():
        tensor.fill_(3)
    for tensor in used.tensors():
        tensor.fill_(77)
    for one, other in zip(
        filled(own, [0, 1, 2, 3, 4], fresh).tensors(),
        filled(own, [0, 1, 2, 3, 4], filled(own, [4, 3, 0, 1, 2], used)).tensors(),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("windows", [0, 3])
def test_a_batch_of_some_slots_has_all_their_parts(mixed: SampleStore, windows: int) -> None:
    own = view(mixed, crop_on="device", windows=windows)
    batch = filled(own, [0, 3, 2, 4], own.allocate(4))
    kept = own.select(batch, [0, 2])
    alone = filled(own, [0, 2], own.allocate(2))
    for one, other in zip(kept.tensors(), alone.tensors(), strict=True):
        assert torch.equal(one, other)
    assert kept.source.tolist() == [0] * max(windows, 1) + [2] * max(windows, 1)


@pytest.mark.parametrize("windows", [0, 2])
def test_the_device_crops_what_the_loader_crops(mixed: SampleStore, windows: int) -> None:
    """Same draws, and pictures within one level of 255, in a batch of two frame sizes."""
    forms = {
        crop_on: view(mixed, crop_on=crop_on, windows=windows, jitter=NO_JITTER)
        for crop_on in ("loader", "device")
    }
    batches = {name: filled(own, [0, 1, 3, 4], own.allocate(4)) for name, own in forms.items()}
    by_loader, by_device = batches["loader"], batches["device"]
    assert by_loader.crops is None and by_device.crops is not None
    assert by_device.frames.shape[2:] == (64, 120, 3)
    for name in ("sound", "color_factors", "color_orders", "gain", "time_spans", "source"):
        assert torch.equal(getattr(by_loader, name), getattr(by_device, name)), name
    preparation = PairPreparation(MASKED, mixed.spec)
    one, other = (preparation.video(batch) for batch in (by_loader, by_device))
    levels = (one - other).abs() * preparation.video_std.reshape(1, 3, 1, 1, 1) * 255
    assert levels.max() <= 1.001
    assert one.shape == (4 * max(windows, 1), 3, 8, 32, 32)


def test_flips_come_at_their_rate(shard_set: Path) -> None:
    own = view(ShardSet(shard_set), crop_on="device", clip_frames=1, flip_probability=0.3)
    batch = own.allocate(400)
    for slot in range(400):
        own.fill(batch, slot, StreamItem(sample=slot % 24, epoch=slot, occurrence=0))
    assert batch.crops is not None
    assert set(batch.crops[:, 4].tolist()) == {0, 1}
    assert abs(float(batch.crops[:, 4].float().mean()) - 0.3) < 3 * (0.3 * 0.7 / 400) ** 0.5


def test_stages_are_timed(shard_set: Path) -> None:
    own = view(ShardSet(shard_set), crop_on="loader", windows=2)
    filled(own, [0, 1, 2], own.allocate(3))
    assert own.clock.counts() == {"sound": 6, "frames": 6, "crop": 6}
    assert all(seconds > 0 for seconds in own.clock.seconds().values())


def test_masks_hide_sound_at_the_mean(shard_set: Path) -> None:
    store = ShardSet(shard_set)
    own = view(store, crop_on="loader")
    batch = filled(own, [0, 1], own.allocate(2))
    audio = PairPreparation(MASKED, store.spec)(batch, CPU).audio
    plain = PairPreparation(AudioViewConfig(), store.spec)
    for clip in range(2):
        whole = (plain.sound(batch)[clip] - plain.audio_mean) / (plain.audio_std + 1e-5)
        for start, end in batch.time_spans[clip].tolist():
            whole[start:end] = 0
        for start, end in batch.band_spans[clip].tolist():
            whole[:, start:end] = 0
        assert torch.equal(audio[clip, 0], whole)


def test_inputs_do_not_share_memory_with_the_loader(shard_set: Path) -> None:
    store = ShardSet(shard_set)
    own = view(store, crop_on="loader")
    batch = filled(own, [3, 4], own.allocate(2))
    inputs = PairPreparation(MASKED, store.spec)(batch, CPU)
    before = (inputs.video.clone(), inputs.audio.clone(), inputs.source.clone())
    filled(own, [5, 6], batch)
    assert all(torch.equal(a, b) for a, b in zip((inputs.video, inputs.audio, inputs.source),
                                                 before, strict=True))  # fmt: skip


def test_the_loader_crops_for_a_cpu_and_the_device_where_it_is_told(shard_set: Path) -> None:
    store = ShardSet(shard_set)
    assert choose_frame_form(store, VideoViewConfig(), device=CPU) == "cropped"
    asked = VideoViewConfig(crop_on="device")
    assert choose_frame_form(store, asked, device=CPU) == "whole"
    told = VideoViewConfig(crop_on="loader")
    assert choose_frame_form(store, told, device=torch.device("cuda")) == "cropped"


def test_many_sizes_of_frames_are_cropped_by_the_loader(
    make_shard_set: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """On CUDA; nothing of it is touched to choose."""
    one = make_shard_set(num_clips=4, num_splits=0)
    far = make_shard_set(num_clips=2, width_px=400, num_splits=0, build_hash="far")
    store = open_shard_mix([one, far], ())
    assert filled_share(store) == pytest.approx((4 * 88 + 2 * 400) / 6 / 400)
    with caplog.at_level("INFO"):
        form = choose_frame_form(store, VideoViewConfig(), device=torch.device("cuda"))
    assert form == "cropped"
    assert "52 % of whole ones would be padding" in caplog.text


def test_decoding_on_a_device_that_cannot_is_refused(shard_set: Path) -> None:
    asked = VideoViewConfig(jpeg_decoder="device")
    with pytest.raises(DataError, match=r"needs a CUDA device .* and crops made there.* set it to"):
        choose_frame_form(ShardSet(shard_set), asked, device=CPU)


def test_pictures_that_do_not_fit_their_place_are_an_error(shard_set: Path) -> None:
    store = ShardSet(shard_set)
    small = np.empty((2, 32, 88, 3), np.uint8)
    with pytest.raises(
        ShardSetError, match=r"frame 4 of sample clip-000 .*88x64, and the place for it 88x32"
    ):
        store.read_frames_into(small, 0, [4, 5])
