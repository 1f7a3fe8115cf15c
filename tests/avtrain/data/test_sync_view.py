"""Sync views: exact cuts, one crop and flip a clip, delays with the right sign, messages."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flash_and_beep import MOVIES, make
from pydantic import ValidationError

from avdata import ShardSet
from avdata.cli import main as avdata
from avtrain.data.augment.device_crop import crop_frames
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem, StreamPlan, batches
from avtrain.data.views.sync import SyncEvalView, SyncTrainView
from avtrain.data.views.sync_batch import SyncBatch
from avtrain.data.views.sync_config import SyncViewConfig
from avtrain.data.views.sync_places import (
    ClipPlace,
    GridPlaces,
    OffsetGridConfig,
    Places,
    ScannedPlaces,
    ShiftedPlaces,
)
from avtrain.data.views.sync_reader import SyncReader
from avtrain.data.views.sync_room import num_starts, samples_with_room
from avtrain.errors import DataError

# 1 s of clip at the fixture's 16 fps and 24 kHz, cropped from 64 px
VIEW = SyncViewConfig(
    clip_frames=16, fps=16, min_shift_s=0.5, short_side_px=64, crop_px=56, aspect="kept"
)
GRID = OffsetGridConfig(max_s=0.5, step_s=0.25)


def reader(path: Path, view: SyncViewConfig = VIEW) -> SyncReader:
    shards = ShardSet(path)
    return SyncReader(shards, read_sample_table(shards), view)


def train_view(path: Path, view: SyncViewConfig = VIEW, places: Places | None = None):
    places = ShiftedPlaces(view=view) if places is None else places
    return SyncTrainView(reader(path, view), places, seed=5, pin_memory=False)


def filled(view: SyncTrainView | SyncEvalView, samples: list[int]) -> SyncBatch:
    batch = view.allocate(len(samples))
    for slot, sample in enumerate(samples):
        view.fill(batch, slot, StreamItem(sample=sample, epoch=0, occurrence=0))
    return batch


def test_the_published_clip() -> None:
    view = SyncViewConfig()
    assert (view.num_shown, view.num_sound_samples(21_000)) == (125, 87_588)
    assert (view.min_shift_frames, view.max_shift_frames) == (65, None)
    assert [view.first_sound_sample(f, 21_000) for f in (0, 1, 2, 176)] == [0, 701, 1401, 123_323]
    assert view.crop_size(256, 340) == (224, 298)
    slow = SyncViewConfig(frame_stride=4)
    assert (slow.num_shown, slow.shown_fps) == (32, 29.97 / 4)
    assert slow.num_sound_samples(21_000) == 87_588


def test_starts_of_the_published_sample(shard_set: Path) -> None:
    def starts(num_frames: int, num_audio_samples: int) -> int:
        table = replace(
            read_sample_table(ShardSet(shard_set)),
            num_frames=np.array([num_frames]),
            frame_fps=np.array([29.97]),
            num_audio_samples=np.array([num_audio_samples]),
        )
        return num_starts(SyncViewConfig(), table, sample=0, sample_rate_hz=21_000)

    assert starts(302, 212_100) == 177
    assert [starts(frames, 212_100) for frames in (124, 125, 126, 127)] == [0, 1, 1, 2]
    assert [starts(302, 87_588 + more) for more in (-1, 0, 700, 701)] == [0, 1, 1, 2]


def test_sound_is_cut_at_the_frames_time(shard_set: Path) -> None:
    clips = reader(shard_set)
    batch = clips.allocate(1, num_windows=3, form="cropped", pin_memory=False)
    clips.read_sounds(batch, 0, 2, ClipPlace(video=10, sounds=(10, 3, None)))
    stored = clips.shards.read_audio(2)
    for window, first in ((0, 10), (1, 3)):
        cut = stored[0, first * 1500 : first * 1500 + 24_000]
        np.testing.assert_array_equal(batch.sound[0, window].numpy(), np.stack([cut, cut]))
    assert not batch.sound[0, 2].any()
    assert batch.valid[0].tolist() == [True, True, False]
    # sound that began earlier than the pictures is heard late
    assert batch.delay_s[0, :2].tolist() == [0, 7 / 16]
    assert batch.delay_s[0, 2].isnan()


def test_frames_have_one_crop_and_one_flip(shard_set: Path) -> None:
    clips = reader(shard_set)
    stored = clips.shards.read_frames(4, range(5, 21))  # (t, 64, 88, 3)
    windows = np.lib.stride_tricks.sliding_window_view(stored[0], (56, 56, 3))[:, :, 0]
    seen = set()
    batch = clips.allocate(1, num_windows=1, form="cropped", pin_memory=False)
    for seed in range(8):
        clips.read_frames(batch, 0, 4, first=5, rng=np.random.default_rng(seed))
        shown = batch.frames[0].numpy()
        places = {
            (top, left, flip)
            for flip in (False, True)
            for top, left in np.argwhere(
                (windows == (shown[0, :, ::-1] if flip else shown[0])).all(axis=(2, 3, 4))
            )
        }
        [(top, left, flip)] = places
        cut = stored[:, top : top + 56, left : left + 56]
        np.testing.assert_array_equal(shown, cut[:, :, ::-1] if flip else cut)
        seen.add((top, left, flip))
    assert {flip for _, _, flip in seen} == {False, True}
    assert len(seen) == 8


def test_stride_takes_every_so_many_th_frame(shard_set: Path) -> None:
    view = VIEW.model_copy(update={"frame_stride": 3})
    clips = reader(shard_set, view)
    batch = clips.allocate(1, num_windows=1, form="cropped", pin_memory=False)
    clips.read_frames(batch, 0, 1, first=7, rng=None)
    stored = clips.shards.read_frames(1, [7, 10, 13, 16, 19, 22])
    np.testing.assert_array_equal(batch.frames[0].numpy(), stored[:, 4:60, 16:72])


def test_squashed_frames_show_all_of_the_width(shard_set: Path) -> None:
    view = VIEW.model_copy(update={"aspect": "squashed", "short_side_px": 56})
    clips = reader(shard_set, view)
    whole = clips.allocate(1, num_windows=1, form="whole", pin_memory=False)
    clips.read_frames(whole, 0, 0, first=0, rng=None)
    assert whole.crops is not None
    assert whole.crops[0].tolist() == [0, 0, 64, 88, 0]
    cropped = clips.allocate(1, num_windows=1, form="cropped", pin_memory=False)
    clips.read_frames(cropped, 0, 0, first=0, rng=None)
    on_device = crop_frames(whole.frames, whole.crops, side_px=56)[0].permute(0, 2, 3, 1) * 255
    assert (on_device - cropped.frames[0].float()).abs().max() <= 1


def test_batches_do_not_depend_on_threads(shard_set: Path) -> None:
    def load(num_threads: int) -> list[SyncBatch]:
        plan = StreamPlan(samples=tuple(range(24)), seed=5, batch_size=10, clips_per_sample=2)
        with BatchLoader(
            train_view(shard_set), batches(plan), num_threads=num_threads, prefetch_batches=2
        ) as loader:
            return [next(loader).batch for _ in range(4)]

    for one, three in zip(load(1), load(3), strict=True):
        tensors = list(zip(one.tensors(), three.tensors(), strict=True))
        assert len(tensors) == 5
        for a, b in tensors:
            assert torch.equal(a, b)


def test_shifted_sound_is_far_enough_and_on_both_sides(shard_set: Path) -> None:
    view = train_view(shard_set)
    batch = view.allocate(48)
    for slot in range(48):
        view.fill(batch, slot, StreamItem(sample=slot // 2, epoch=0, occurrence=slot % 2))
    assert batch.sound.shape == (48, 2, 2, 24_000)
    assert not batch.delay_s[:, 0].any()
    # clips of 3, 3.5 and 4 s leave up to 3 s - 1 frame
    shift = batch.delay_s[:, 1].abs()
    assert float(shift.min()) >= 0.5
    assert 1.5 < float(shift.max()) <= 3 - 1 / 16
    assert 0.3 < (batch.delay_s[:, 1] > 0).float().mean() < 0.7
    again = filled(view, [3])
    assert torch.equal(again.sound, filled(view, [3]).sound)
    limited = VIEW.model_copy(update={"max_shift_s": 0.6})
    near = filled(train_view(shard_set, limited), [*range(24)])
    assert set(near.delay_s[:, 1].abs().tolist()) <= {0.5, 0.5625, 0.625}


def test_delays_of_the_grid_are_equally_likely(shard_set: Path) -> None:
    assert OffsetGridConfig().delays_s == pytest.approx([k / 5 for k in range(-10, 11)])
    places = GridPlaces(view=VIEW, grid=GRID)
    rng = np.random.default_rng(0)
    drawn = [places(rng, num_starts=20) for _ in range(2000)]
    delays = [place.video - (place.sounds[0] or 0) for place in drawn]
    assert {d: abs(delays.count(d) - 400) < 90 for d in set(delays)} == dict.fromkeys(
        (-8, -4, 0, 4, 8), True
    )
    assert {place.sounds[0] for place in drawn} == set(range(20))
    batch = filled(train_view(shard_set, places=places), [0, 1])
    assert batch.sound.shape[1] == 1


def test_scans_leave_out_what_a_sample_has_no_room_for() -> None:
    places = ScannedPlaces(view=VIEW, grid=GRID)
    rng = np.random.default_rng(0)
    assert places(rng, num_starts=17) == ClipPlace(video=8, sounds=(16, 12, 8, 4, 0))
    assert places(rng, num_starts=9) == ClipPlace(video=4, sounds=(None, 8, 4, 0, None))


def test_evaluation_is_the_same_every_time_with_sound_of_partners(shard_set: Path) -> None:
    def view(num_clips: int) -> SyncEvalView:
        return SyncEvalView(
            reader(shard_set),
            ShiftedPlaces(view=VIEW),
            seed=0,
            num_clips=num_clips,
            pin_memory=False,
            partners={1: 2, 2: 1},
        )

    batch, other = filled(view(3), [1, 2]), filled(view(3), [2, 1])
    assert batch.sound.shape[:2] == (6, 4)
    assert torch.equal(batch.frames[:3], other.frames[3:])
    assert torch.equal(batch.sound[:3], other.sound[3:])
    # the partner's windows are those that it has in its own slots
    assert torch.equal(batch.sound[:3, 2:], batch.sound[3:, :2])
    first = filled(view(1), [1])
    assert torch.equal(first.frames[0], batch.frames[0])
    picked = view(3).select(batch, [1])
    assert torch.equal(picked.sound, batch.sound[3:])


def test_short_samples_are_named_counted_and_left_out(shard_set: Path) -> None:
    view = VIEW.model_copy(update={"clip_frames": 48, "min_shift_s": 0.4})  # 3 s and 6 frames
    table = read_sample_table(ShardSet(shard_set))
    found = samples_with_room(
        view, table, tuple(range(24)), sample_rate_hz=24_000, min_starts=7, where="SET"
    )
    assert found.samples == tuple(i for i in range(24) if i % 3 != 0)
    assert found.left_out is not None
    assert (
        "left out: 8 of 24 samples of SET are too short, with 3.00 to 3.00 s of picture and sound; "
        "3.00 s of clip and 0.38 s to shift it are 3.38 s: lower sync.view.clip_frames=48, or "
        "sync.view.min_shift_s"
    ) in found.left_out
    with pytest.raises(DataError, match="24 of 24 samples of SET are too short"):
        samples_with_room(
            view, table, tuple(range(24)), sample_rate_hz=24_000, min_starts=99, where="SET"
        )
    with pytest.raises(DataError, match=r"sample clip-000 of .* has 3.00 s with picture and sound"):
        filled(train_view(shard_set, view), [0])


def test_the_grid_ends_on_a_step() -> None:
    with pytest.raises(ValidationError, match=r"max_s=0.5 must be a multiple of step_s=0.2"):
        OffsetGridConfig(max_s=0.5, step_s=0.2)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"max_shift_s=1.0 is below min_shift_s=2.17"):
        SyncViewConfig(max_shift_s=1)
    with pytest.raises(ValidationError, match=r"crop_px=224 is cropped of short_side_px=128"):
        SyncViewConfig(short_side_px=128)


@pytest.fixture(scope="module")
def flashes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two movies of 5 s with three flashes and beeps, stored in stereo at 29.97 fps."""
    folder = tmp_path_factory.mktemp("flashes")
    media = folder / "media"
    media.mkdir()
    for name in ("30 fps", "late audio"):
        make(media / name.replace(" ", "_"), MOVIES[name])
    done = CliRunner().invoke(avdata, [
        "build", "--source", str(media), "--out", str(folder / "set"), "--workers", "0",
        "--set", 'fields=["frames","audio"]', "--set", "video.fps=29.97",
        "--set", "video.short_side_px=32", "--set", "audio.sample_rate_hz=21000",
        "--set", "audio.layout=stereo",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder / "set"


@pytest.mark.parametrize("fps", [29.97, 12.0])
def test_flash_and_beep_are_as_far_apart_as_is_said(fps: float, flashes: Path) -> None:
    """At the stored rate, and at one that stored frames do not divide."""
    # 2.4 s around 5 s with flashes at 1.031, 2.217 and 3.402 s
    view = SyncViewConfig(
        clip_frames=round(2.4 * fps), fps=fps, min_shift_s=0.3, short_side_px=32, crop_px=32
    )
    evaluated = SyncEvalView(
        reader(flashes, view),
        ShiftedPlaces(view=view),
        seed=0,
        num_clips=6,
        pin_memory=False,
    )
    batch = filled(evaluated, [0, 1])
    checked = 0
    for slot in range(12):
        lit = batch.frames[slot].float().mean((1, 2, 3)).numpy() > 120
        flashes_s = (np.flatnonzero(lit[1:] & ~lit[:-1]) + 1) / fps
        for window in (0, 1):
            sound = batch.sound[slot, window].numpy()
            assert (sound[0] == sound[1]).all()
            loud = np.flatnonzero(np.abs(sound[0].astype(int)) > 3000)
            beeps_s = [t / 21000 for i, t in enumerate(loud) if i == 0 or t - loud[i - 1] > 4000]
            delay_s = float(batch.delay_s[slot, window])
            for flash_s in flashes_s:
                if 0.1 < flash_s + delay_s < 2.3:
                    # a flash is seen in the first frame after it; frames are the nearest ones
                    late_s = min((flash_s + delay_s - beep for beep in beeps_s), key=abs)
                    assert -0.5 / 29.97 <= late_s <= 1 / fps + 1.5 / 29.97
                    checked += 1
    assert checked > 20
