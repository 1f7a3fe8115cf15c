"""Views of one modality: where windows lie, what they hold, and what is drawn at random."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from avdata import ShardSet, ShardSetError
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.data.views.labelled_audio import (
    AudioAugmentation,
    AudioClips,
    EvenAudioView,
    RandomAudioView,
)
from avtrain.data.views.labelled_video import (
    EvenVideoView,
    RandomVideoView,
    VideoClips,
    centered_box,
    random_squashed_box,
)
from avtrain.data.views.pair_config import AudioViewConfig, ColorJitterConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader

MakeShardSet = Callable[..., Path]
RATE_HZ = 24000


def reader(where: Path, **video: object) -> PairReader:
    shards = ShardSet(where)
    return PairReader(
        shards,
        read_sample_table(shards),
        video=VideoViewConfig(crop_px=32, **video),
        audio=AudioViewConfig(frame_rate_hz=50, window_s=1.0),
    )


def item(sample: int, *, epoch: int = 0, occurrence: int = 0) -> StreamItem:
    return StreamItem(sample=sample, epoch=epoch, occurrence=occurrence)


def test_even_clips_go_from_the_first_frame_to_the_last(shard_set: Path) -> None:
    clips = VideoClips(reader(shard_set), pin_memory=False)
    view = EvenVideoView(clips, num_windows=3, crop="resized", with_sound=False)
    assert clips.even_starts_s(0, 3, with_sound=False) == [0, 1.25, 2.5]  # of 3 s, clips of 0.5 s
    batch = view.allocate(2)
    view.fill(batch, 1, item(0))
    shards = clips.reader.shards
    for slot, first in ((3, 0), (4, 20), (5, 40)):
        whole = shards.read_frames(0, range(first, first + 8))
        # 7/8 of 64 px, in the middle of 88 x 64
        cut = torch.from_numpy(whole[:, 4:60, 16:72]).permute(0, 3, 1, 2)
        expected = torch.nn.functional.interpolate(cut, (32, 32), mode="bilinear", antialias=True)
        torch.testing.assert_close(batch.frames[slot], expected.permute(0, 2, 3, 1))
        assert (batch.color_orders[slot] == -1).all()


def test_one_even_clip_is_in_the_middle_and_short_samples_repeat(shard_set: Path) -> None:
    clips = VideoClips(reader(shard_set, clip_frames=64), pin_memory=False)
    assert clips.even_starts_s(0, 2, with_sound=False) == [0, 0]
    frames = clips.read(0, 0.0)
    assert np.array_equal(frames[48:], frames[:16])
    assert VideoClips(reader(shard_set), pin_memory=False).even_starts_s(
        0, 1, with_sound=False
    ) == [1.25]


def test_random_clips_are_a_function_of_seed_epoch_occurrence_and_key(shard_set: Path) -> None:
    clips = VideoClips(reader(shard_set), pin_memory=False)

    def draw(seed: int, of: StreamItem) -> torch.Tensor:
        view = RandomVideoView(clips, seed=seed, crop="squashed", augment=True)
        batch = view.allocate(1)
        view.fill(batch, 0, of)
        assert sorted(batch.color_orders[0].tolist()) == [0, 1, 2, 3]
        return torch.cat([batch.frames.float().flatten(), batch.color_factors.flatten()])

    first = draw(0, item(1))
    assert torch.equal(first, draw(0, item(1)))
    for other in (item(1, epoch=1), item(1, occurrence=1), item(2)):
        assert not torch.equal(first, draw(0, other))
    assert not torch.equal(first, draw(1, item(1)))


def test_reused_slots_keep_nothing(shard_set: Path) -> None:
    clips = VideoClips(reader(shard_set), pin_memory=False)
    augmented = RandomVideoView(clips, seed=0, crop="resized", augment=True)
    plain = RandomVideoView(clips, seed=0, crop="resized", augment=False)
    used, fresh = augmented.allocate(1), plain.allocate(1)
    augmented.fill(used, 0, item(0))
    plain.fill(used, 0, item(0))
    plain.fill(fresh, 0, item(0))
    assert torch.equal(used.frames, fresh.frames)
    assert torch.equal(used.color_orders, fresh.color_orders)
    assert torch.equal(used.color_factors, fresh.color_factors)


def test_a_jitter_of_nothing_draws_nothing(shard_set: Path) -> None:
    clips = VideoClips(reader(shard_set), pin_memory=False)
    still = ColorJitterConfig(brightness=0, contrast=0, saturation=0, hue=0)
    view = RandomVideoView(clips, seed=0, crop="resized", augment=True, jitter=still)
    batch = view.allocate(1)
    view.fill(batch, 0, item(0))
    assert (batch.color_orders == -1).all()


def test_squashed_boxes_cover_seven_eighths_of_each_side() -> None:
    box = centered_box("squashed", height=64, width=88)
    assert (box.top, box.left, box.height, box.width) == (4, 5, 56, 77)
    rng = np.random.default_rng(0)
    boxes = [random_squashed_box(rng, height=64, width=88) for _ in range(400)]
    assert {(b.height, b.width) for b in boxes} == {(56, 77)}
    assert {b.top for b in boxes} == set(range(9))
    assert {b.left for b in boxes} == set(range(12))


def test_selected_slots_keep_their_windows(shard_set: Path) -> None:
    video = EvenVideoView(
        VideoClips(reader(shard_set), pin_memory=False),
        num_windows=2,
        crop="resized",
        with_sound=True,
    )
    batch = video.allocate(3)
    for slot in range(3):
        video.fill(batch, slot, item(slot))
    assert torch.equal(video.select(batch, [2]).frames, batch.frames[4:])
    audio = EvenAudioView(audio_clips(shard_set), num_windows=2, with_video=True)
    sounds = audio.allocate(3)
    for slot in range(3):
        audio.fill(sounds, slot, item(slot))
    assert torch.equal(audio.select(sounds, [0, 2]).sound, sounds.sound[[0, 1, 4, 5]])


def audio_clips(
    where: Path, *, form: str = "waveform", beyond: str = "silence", margin: int = 0
) -> AudioClips:
    return AudioClips(
        reader(where),
        form=form,  # type: ignore[arg-type]
        beyond=beyond,  # type: ignore[arg-type]
        margin=margin,
        pin_memory=False,
    )


def test_waveform_windows_with_margin_silence_and_repetition(shard_set: Path) -> None:
    whole = ShardSet(shard_set).read_audio(0)[0]  # 3 s
    inside = audio_clips(shard_set, margin=100).read(0, 1.5)
    assert np.array_equal(inside, whole[36000 - 100 : 60000 + 100])
    early = audio_clips(shard_set, margin=100).read(0, 0.0)
    assert not early[:100].any()
    assert np.array_equal(early[100:], whole[:24100])
    late = audio_clips(shard_set).read(0, 2.5)
    assert np.array_equal(late[:12000], whole[60000:])
    assert not late[12000:].any()
    ring = audio_clips(shard_set, beyond="repeat", margin=100).read(0, 2.5)
    assert np.array_equal(ring, np.concatenate([whole[60000 - 100 :], whole[:12100]]))


def test_stored_logmel_is_thinned_out_to_the_rate_of_the_networks(shard_set: Path) -> None:
    stored = ShardSet(shard_set).read_logmel(0)[0]  # 100 columns a second
    clips = audio_clips(shard_set, form="logmel")
    assert np.array_equal(clips.read(0, 1.0), stored[100:200:2])
    late = clips.read(0, 2.5)
    assert np.array_equal(late[:26], stored[250::2])
    assert np.allclose(late[26:], np.log(1e-10), atol=0.01)


@pytest.mark.parametrize("speed", [0.75, 1.3])
def test_speed_moves_the_pitch(shard_set: Path, speed: float) -> None:
    sample = 6
    pitch_hz = 300 + 5000 * sample / 24
    changed = audio_clips(shard_set, beyond="repeat").read(sample, 0.3, speed=speed)
    assert len(changed) == RATE_HZ
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
    # `speed` times as long at the same rate: lower by it
    assert spectrum.argmax() == pytest.approx(pitch_hz / speed, abs=2)
    assert np.abs(changed).max() == pytest.approx(8000, rel=0.05)


def test_random_windows_draw_place_volume_and_speed(shard_set: Path) -> None:
    clips = audio_clips(shard_set, beyond="repeat")
    augmentation = AudioAugmentation(volume=0.1, speed=(0.75, 4 / 3))
    view = RandomAudioView(clips, seed=0, augmentation=augmentation)
    batch = view.allocate(40)
    for slot in range(40):
        view.fill(batch, slot, item(3, occurrence=slot))
    assert 0.9 <= float(batch.gain.min()) < 0.95
    assert 1.05 < float(batch.gain.max()) <= 1.1
    windows = np.hanning(RATE_HZ) * batch.sound.numpy()
    speeds = (300 + 5000 * 3 / 24) / np.abs(np.fft.rfft(windows)).argmax(axis=1)
    assert 0.74 < speeds.min() < 0.85
    assert 1.2 < speeds.max() < 1.34
    again = view.allocate(1)
    view.fill(again, 0, item(3, occurrence=7))
    assert torch.equal(again.sound[0], batch.sound[7])


def test_sets_without_frames_have_even_windows(make_shard_set: MakeShardSet) -> None:
    where = make_shard_set(num_clips=3, fields=("audio", "logmel"))
    clips = audio_clips(where)
    assert clips.even_starts_s(0, 3, with_video=True) == [0, 1, 2]


def test_damaged_sound_is_told_with_its_key(make_shard_set: MakeShardSet, tmp_path: Path) -> None:
    where = tmp_path / "set"
    shutil.copytree(make_shard_set(num_clips=3), where)
    shards = ShardSet(where)
    row = shards.manifest.select(["audio_offset_bytes", "shard"]).take([1]).to_pylist()[0]
    with (where / row["shard"]).open("r+b") as file:
        file.seek(row["audio_offset_bytes"])
        file.write(b"\0" * 64)
    with pytest.raises(ShardSetError, match=r"sound of sample clip-001 .* cannot be decoded"):
        audio_clips(where).read(1, 0.0)
