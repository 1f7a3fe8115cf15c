"""Localization of movies whose sounding place is known, by a map that is the brightness."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flash_and_beep import MOVIES, make
from PIL import Image

from avdata import LimitsConfig, stream_pictures, stream_sound
from avdata.synthetic.movie import write_movie
from avtrain.apps.localize import Localization, LocalizeOptions, localize, write_overlay
from avtrain.apps.map_source import ActivationMaps
from avtrain.apps.video_file import VideoFile, open_video

pytestmark = pytest.mark.usefixtures("one_torch_thread")
LIMITS = LimitsConfig()
RATE_HZ = 16000


def _moving(path: Path, *, seconds: float = 5.0, silent_from_s: float | None = None) -> VideoFile:
    """96x64: a bright square at the top left, from 2.5 s on at the bottom right, and a tone."""
    frames = np.full((round(seconds * 30), 64, 96, 3), 20, np.uint8)
    frames[:75, :32, :32] = 240
    frames[75:, 32:, 64:] = 240
    tone = 0.3 * np.sin(np.arange(round(seconds * RATE_HZ), dtype=np.float32) * 0.2)
    if silent_from_s is not None:
        tone[round(silent_from_s * RATE_HZ) :] = 0
    write_movie(
        path,
        frames=frames,
        frame_times_s=None,
        fps=Fraction(30),
        sound=tone[:, None],
        sample_rate_hz=RATE_HZ,
    )
    return open_video(path, purpose="localization")


def _found(video: VideoFile, method: Any, **options: Any) -> Localization:
    source = ActivationMaps(method, torch.device("cpu"), keeps_aspect=False)
    return localize(video, source, LocalizeOptions(min_positive=0.05, **options))


def test_peaks_follow_the_sounding_object(flash_and_beep: Any, tmp_path: Path) -> None:
    video = _moving(tmp_path / "movie.mp4")
    found = _found(video, flash_and_beep, signed=True)
    assert found.shown_share == 1.0 and not found.withheld
    assert [w.start_s for w in found.windows] == pytest.approx([0, 28 / 30, 56 / 30, 84 / 30, 3.0])
    assert len(found.peaks) >= 2
    for peak in found.peaks:
        assert 2.3 < peak.time_s < 2.7 or (peak.x_px > 64) == (peak.time_s > 2.5)
        assert (peak.y_px > 32) == (peak.x_px > 64)
    first = found.timeline.at(1.0)
    assert first[0, 0] > 0.4 > 0 > first[3, 3]


def test_the_movie_shows_the_map_and_keeps_the_rest(flash_and_beep: Any, tmp_path: Path) -> None:
    video = _moving(tmp_path / "movie.mp4")
    options = LocalizeOptions(min_positive=0.05, signed=True)
    source = ActivationMaps(flash_and_beep, torch.device("cpu"), keeps_aspect=False)
    found = localize(video, source, options)
    out, png = tmp_path / "out.mp4", tmp_path / "out.png"
    assert write_overlay(video, found, options, out=out, png=png)
    given, drawn = (
        list(stream_pictures(path, LIMITS, width_px=96, height_px=64)) for path in (video.path, out)
    )
    assert len(given) == len(drawn)
    for (before, _), (after, _) in zip(given, drawn, strict=True):
        assert after.start_s == pytest.approx(before.start_s, abs=1e-4)
        assert after.end_s == pytest.approx(before.end_s, abs=1e-4)
    early = drawn[30][1].astype(int) - given[30][1]
    warm, cold = early[4:24, 4:24].mean((0, 1)), early[44:60, 72:92].mean((0, 1))
    assert warm[0] > warm[2] + 20 and cold[2] > cold[0] + 10
    sounds = [
        np.concatenate(list(stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ)), axis=1)
        for path in (video.path, out)
    ]
    assert sounds[0].shape[1] == pytest.approx(sounds[1].shape[1], abs=0.03 * RATE_HZ)
    count = min(s.shape[1] for s in sounds) - 2000
    assert np.corrcoef(sounds[0][0, 1000:count], sounds[1][0, 1000:count])[0, 1] > 0.99
    with Image.open(png) as page:
        assert page.width > 96 and page.height > 64


def test_silence_has_no_map(flash_and_beep: Any, tmp_path: Path) -> None:
    video = _moving(tmp_path / "movie.mp4", seconds=8.0, silent_from_s=3.0)
    found = _found(video, flash_and_beep)
    (stretch,) = found.withheld
    assert stretch.reason == "silence"
    assert 3.3 < stretch.start_s < 3.8 and stretch.end_s == pytest.approx(8.0, abs=0.2)
    assert found.shown_share == pytest.approx(1 - (8 - stretch.start_s) / 8, abs=0.03)
    assert all(peak.time_s < stretch.start_s for peak in found.peaks)
    assert np.abs(found.timeline.at(7.0)).max() == 0


def test_a_sound_that_does_not_go_with_the_picture_has_no_map(
    flash_and_beep: Any, tmp_path: Path
) -> None:
    video = _moving(tmp_path / "movie.mp4")
    source = ActivationMaps(flash_and_beep, torch.device("cpu"), keeps_aspect=False)
    found = localize(video, source, LocalizeOptions(min_positive=0.5))
    assert found.shown_share == 0.0 and found.shown.is_flat and not found.peaks
    assert {w.reason for w in found.withheld} == {"sound does not go with the picture"}
    assert not write_overlay(
        video, found, LocalizeOptions(), out=tmp_path / "out.mp4", png=tmp_path / "out.png"
    )
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("name", ["7 fps", "variable rate", "late video", "late audio", "webm"])
def test_flash_and_beep_stay_together(name: str, flash_and_beep: Any, tmp_path: Path) -> None:
    video = open_video(make(tmp_path / "movie", MOVIES[name]), purpose="localization")
    out = tmp_path / "out.mp4"
    options = LocalizeOptions(min_positive=0)
    source = ActivationMaps(flash_and_beep, torch.device("cpu"), keeps_aspect=False)
    write_overlay(video, localize(video, source, options), options, out=out, png=None)
    onsets = [_onsets(path) for path in (video.path, out)]
    np.testing.assert_allclose(onsets[0], onsets[1], atol=3e-3)


def _onsets(path: Path) -> np.ndarray:
    """Times at which flashes and then beeps begin."""
    shown = list(stream_pictures(path, LIMITS, width_px=8, height_px=8))
    lit = np.array([pixels.mean() > 128 for _, pixels in shown])
    flashes = [shown[i + 1][0].start_s for i in np.flatnonzero(lit[1:] & ~lit[:-1])]
    sound = np.concatenate(list(stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ)), axis=1)
    blocks = np.abs(sound[0, : sound.shape[1] // 16 * 16]).reshape(-1, 16).max(axis=1)
    loud = np.flatnonzero(blocks > 0.2)
    beeps = loud[np.diff(loud, prepend=-100) > 40] / 1000
    assert len(flashes) == len(beeps) == 3
    return np.array([*flashes, *beeps])


def test_one_picture_is_a_video(flash_and_beep: Any, tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    write_movie(
        path,
        frames=[np.full((64, 96, 3), 200, np.uint8)],
        frame_times_s=None,
        fps=Fraction(25),
        sound=np.full((4000, 1), 0.2, np.float32),
        sample_rate_hz=8000,
    )
    video = open_video(path, purpose="localization")
    options = LocalizeOptions()
    source = ActivationMaps(flash_and_beep, torch.device("cpu"), keeps_aspect=False)
    found = localize(video, source, options)
    assert len(found.windows) == 1
    write_overlay(video, found, options, out=tmp_path / "out.mp4", png=None)
    shown = list(stream_pictures(tmp_path / "out.mp4", LIMITS, width_px=8, height_px=8))
    assert len(shown) == 1 and shown[0][0].end_s == pytest.approx(0.04, abs=1e-3)
