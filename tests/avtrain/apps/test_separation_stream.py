"""Separation over any length, by a method that gives each visible half of the picture a channel."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from avdata import LimitsConfig, stream_sound
from avdata.synthetic.movie import write_movie
from avtrain.apps.regions import Region, choose_regions
from avtrain.apps.separation_stream import (
    RegionSeparator,
    SeparatedBlock,
    separation_hop,
    stream_separated,
)
from avtrain.apps.video_file import VideoFile, open_video
from avtrain.apps.windows import clip_form, read_windows
from avtrain.errors import VideoError
from avtrain.methods.separation_inputs import GRAY

pytestmark = pytest.mark.usefixtures("one_torch_thread")
RATE_HZ = 16000


def _video(
    path: Path, *, seconds: float = 5.3, sound_s: float | None = None, late_s: float = 0.0
) -> VideoFile:
    """A gray ramp of pictures from `late_s` on, and two different noises."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.3, 0.3, (round((sound_s or seconds) * RATE_HZ), 2))
    count = round((seconds - late_s) * 30)
    write_movie(
        path,
        frames=(np.full((32, 64, 3), 20 + i % 100, np.uint8) for i in range(count)),
        frame_times_s=[late_s + i / 30 for i in range(count)] if late_s else None,
        fps=Fraction(30),
        sound=noise.astype(np.float32),
        sample_rate_hz=RATE_HZ,
    )
    return open_video(path, purpose="separation")


def _separated(
    video: VideoFile, method: Any, regions: tuple[Region, ...], *, sees: bool = True
) -> SeparatedBlock:
    form = clip_form(method.clip, video, keeps_aspect=False)
    separator = RegionSeparator(method, torch.device("cpu"), regions, sees=sees)
    windows = read_windows(video, form, hop_frames=separation_hop(form))
    blocks = list(stream_separated(video, form, separator, windows))
    return SeparatedBlock(
        mixture=np.concatenate([b.mixture for b in blocks], axis=-1),
        on=np.concatenate([b.on for b in blocks], axis=-1),
        off=np.concatenate([b.off for b in blocks], axis=-1),
    )


def _whole_sound(video: VideoFile) -> np.ndarray:
    return np.concatenate(
        list(stream_sound(video.path, LimitsConfig(), sample_rate_hz=RATE_HZ)), axis=1
    )


@pytest.mark.parametrize("seconds", [0.7, 2.0, 5.3, 7.1])
@pytest.mark.parametrize(("mask", "heard"), [(None, (1, 1)), ("l", (0, 1)), ("r", (1, 0))])
def test_each_half_keeps_its_channel_without_seams(
    seconds: float, mask: str | None, heard: tuple[int, int], flash_and_beep: Any, tmp_path: Path
) -> None:
    video = _video(tmp_path / "movie.avi", seconds=seconds)
    whole = _whole_sound(video)
    found = _separated(video, flash_and_beep, choose_regions(video, mask=mask, boxes=()))
    np.testing.assert_array_equal(found.mixture, whole)
    wanted = whole * np.array(heard)[:, None]
    inside = slice(0, round(seconds * RATE_HZ) - round(0.021 * RATE_HZ))
    np.testing.assert_allclose(found.on[0][:, inside], wanted[:, inside], atol=2e-6)
    np.testing.assert_allclose(found.on[0] + found.off, whole, atol=1e-6)
    assert found.on.shape == (1, *whole.shape)


def test_people_in_boxes_and_the_rest(flash_and_beep: Any, tmp_path: Path) -> None:
    video = _video(tmp_path / "movie.avi")
    regions = choose_regions(video, mask=None, boxes=("0,0,16,32", "40,8,20,20"))
    assert [region.name for region in regions] == ["person-1", "person-2"]
    found = _separated(video, flash_and_beep, regions)
    whole = _whole_sound(video)
    inside = slice(0, whole.shape[1] - 400)
    np.testing.assert_allclose(found.on[0, 0, inside], whole[0, inside], atol=2e-6)
    np.testing.assert_allclose(found.on[1, 1, inside], whole[1, inside], atol=2e-6)
    assert np.abs(found.on[0, 1]).max() == 0 and np.abs(found.on[1, 0]).max() == 0
    np.testing.assert_allclose(found.off[:, inside], 0, atol=2e-6)


def test_sound_without_pictures_is_off_screen(flash_and_beep: Any, tmp_path: Path) -> None:
    video = _video(tmp_path / "movie.mkv", seconds=4.0, sound_s=5.5, late_s=1.0)
    found = _separated(video, flash_and_beep, (Region(name="on-screen"),))
    whole = _whole_sound(video)
    first, stop = round(1.0 * RATE_HZ), round(4.0 * RATE_HZ)
    assert found.on.shape[-1] == whole.shape[1] >= round(5.4 * RATE_HZ)
    for outside in (slice(0, first), slice(stop + 600, None)):
        assert np.abs(found.on[0, :, outside]).max() == 0
        np.testing.assert_allclose(found.off[:, outside], whole[:, outside], atol=1e-6)
    inside = slice(first + 400, stop - 400)
    np.testing.assert_allclose(found.on[0][:, inside], whole[:, inside], atol=2e-6)


@dataclass
class _Swapping:
    """Gives left and right as its two parts, in another order in every window."""

    clip: Any
    calls: int = 0

    def separate(self, frames: Tensor, mixture: Tensor) -> Any:
        left = mixture * torch.tensor([1.0, 0.0])[:, None]
        parts = [left, mixture - left]
        self.calls += 1
        return _Parts(on=parts[self.calls % 2], off=parts[1 - self.calls % 2])


@dataclass(frozen=True)
class _Parts:
    on: Tensor
    off: Tensor


def test_a_network_without_pictures_keeps_its_order(flash_and_beep: Any, tmp_path: Path) -> None:
    video = _video(tmp_path / "movie.avi")
    found = _separated(
        video, _Swapping(flash_and_beep.clip), (Region(name="on-screen"),), sees=False
    )
    whole = _whole_sound(video)
    np.testing.assert_allclose(found.on[0, 1, :-400], whole[1, :-400], atol=2e-6)
    assert np.abs(found.on[0, 0]).max() < 1e-6


def test_what_is_hidden_is_gray(flash_and_beep: Any, tmp_path: Path) -> None:
    video = _video(tmp_path / "movie.avi", seconds=0.5)
    frames = np.full((2, 32, 64, 3), 7, np.uint8)
    (box,) = choose_regions(video, mask=None, boxes=("16,8,32,16",))
    masked = box.masked(frames)
    assert (masked[:, 8:24, 16:48] == 7).all() and (masked == GRAY).sum() == 2 * 3 * (64 * 32 - 512)
    small = box.masked(np.full((1, 8, 8, 3), 7, np.uint8))
    assert (small[0, 2:6, 2:6] == 7).all() and (small == 7).sum() == 3 * 16
    drawn = box.drawn(frames[0])
    assert (drawn[12, 30] == 7).all() and (drawn[0, 0] == 2).all() and drawn[8, 16, 0] == 255
    whole = Region(name="on-screen")
    assert whole.masked(frames) is frames and whole.drawn(frames[0]) is not None


@pytest.mark.parametrize(
    ("mask", "boxes", "text"),
    [
        ("l", ("0,0,9,9",), "--mask and --box exclude each other"),
        (None, ("1,2,3",), "--box 1,2,3 must be x,y,w,h"),
        (None, ("a,b,c,d",), "--box a,b,c,d must be x,y,w,h"),
        (None, ("60,0,20,20",), "lie within the picture, which is 64x32 as shown"),
        (None, ("0,0,2,20",), "must be at least 8 px wide and high"),
    ],
)
def test_wrong_boxes(mask: str | None, boxes: tuple[str, ...], text: str, tmp_path: Path) -> None:
    video = _video(tmp_path / "movie.avi", seconds=0.5)
    with pytest.raises(VideoError, match=text):
        choose_regions(replace(video, width_px=64), mask=mask, boxes=boxes)
