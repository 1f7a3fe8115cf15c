"""Flash and beep through each application: outputs decoded by PyAV alone, held against the input.

The methods are those of conftest.py, whose answers are known; times come from
`tests/movies/plain_decode.py`.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from flash_and_beep import EVENTS_S, MOVIES, frame_times_s, make
from movie_differences import added, differences, lag_s
from plain_decode import Played, play
from torch import Tensor

from avtrain.apps.localize import LocalizeOptions, localize, write_overlay
from avtrain.apps.map_source import ActivationMaps
from avtrain.apps.offset_scan import ScanOptions, WindowScorer, estimate_offset
from avtrain.apps.regions import choose_regions
from avtrain.apps.separate import write_movies, write_sounds
from avtrain.apps.separation_stream import RegionSeparator
from avtrain.apps.shifted_copy import write_shifted
from avtrain.apps.video_file import open_video
from avtrain.apps.windows import clip_form

pytestmark = pytest.mark.usefixtures("one_torch_thread")
CPU = torch.device("cpu")
BEEP_S = 6e-3
"""Beeps are found to this: AAC spreads an onset over some milliseconds."""


class TwoShares:
    """Three fifths of every sound belong to the picture."""

    def __init__(self, clip: Any) -> None:
        self.clip = clip

    def separate(self, frames: Tensor, mixture: Tensor) -> SimpleNamespace:
        return SimpleNamespace(on=0.6 * mixture, off=0.4 * mixture)


def _in_sync(name: str, given: Played, made: Played) -> None:
    """Every flash is seen where the input has it, every beep is heard at its event."""
    assert not differences(given, made, earlier_s=0.0)
    middle = (made.brightness.min() + made.brightness.max()) / 2
    flashes = made.flashes_s(middle)
    times = frame_times_s(MOVIES[name])
    shown = [times[times >= event][0] for event in EVENTS_S]
    np.testing.assert_allclose(flashes, shown, atol=2e-3)
    beeps = made.beeps_s(np.abs(made.sound).max() * 0.4)
    np.testing.assert_allclose(beeps, EVENTS_S, atol=BEEP_S)


@pytest.mark.parametrize("name", MOVIES)
def test_localize(name: str, flash_and_beep: Any, tmp_path: Path) -> None:
    video = open_video(make(tmp_path / "movie", MOVIES[name]), purpose="a test")
    options = LocalizeOptions(signed=True, min_positive=0.0)
    found = localize(video, ActivationMaps(flash_and_beep, CPU, keeps_aspect=False), options)
    write_overlay(video, found, options, out=tmp_path / "out.mp4", png=None)
    given, made = play(video.path), play(tmp_path / "out.mp4")
    _in_sync(name, given, made)
    assert lag_s(given, made, earlier_s=0.0) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("name", MOVIES)
def test_separate(name: str, flash_and_beep: Any, tmp_path: Path) -> None:
    video = open_video(make(tmp_path / "movie", MOVIES[name]), purpose="a test")
    regions = choose_regions(video, mask=None, boxes=())
    form = clip_form(flash_and_beep.clip, video, keeps_aspect=False)
    separator = RegionSeparator(TwoShares(flash_and_beep.clip), CPU, regions, sees=True)
    write_sounds(video, form, separator, tmp_path)
    paths = write_movies(video, regions, tmp_path)
    assert [path.name for path in paths] == ["on-screen.mp4", "off-screen.mp4"]
    given, parts = play(video.path), [play(path) for path in paths]
    for part in parts:
        _in_sync(name, given, part)
    assert lag_s(given, added(parts), earlier_s=0.0) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "delay_s", "suffix"),
    [
        ("30 fps", 0.31, ".mp4"),
        ("30 fps", -0.27, ".mkv"),
        ("B-frames, 29.97 fps, late audio", 0.31, ".mp4"),
        ("variable rate", 0.31, ".mov"),
        ("late video", -0.27, ".mp4"),
        ("mkv", 0.31, ".mp4"),
        ("webm", 0.31, ".mkv"),
        ("webm", -0.27, ".mp4"),
        ("ts", 0.31, ".mp4"),
        ("avi", -0.27, ".mkv"),
    ],
)
def test_sync_puts_beeps_back_to_their_flashes(
    name: str, delay_s: float, suffix: str, flash_and_beep: Any, tmp_path: Path
) -> None:
    movie = replace(MOVIES[name], beep_delay_s=delay_s)
    video = open_video(make(tmp_path / "movie", movie), purpose="a test")
    given = play(video.path)
    np.testing.assert_allclose(given.beeps_s(), np.array(EVENTS_S) + delay_s, atol=BEEP_S)
    form = clip_form(flash_and_beep.clip, video, keeps_aspect=False)
    found = estimate_offset(
        video, form, WindowScorer(flash_and_beep, CPU), ScanOptions(max_offset_s=0.5)
    )
    assert found.offset_s == pytest.approx(delay_s, abs=0.05)
    out = tmp_path / f"out{suffix}"
    write_shifted(video, out, earlier_s=found.offset_s)
    made = play(out)
    assert not differences(given, made, earlier_s=found.offset_s)
    np.testing.assert_allclose(made.flashes_s(), given.flashes_s(), atol=2e-3)
    late_s = made.beeps_s(np.abs(made.sound).max() * 0.4) - EVENTS_S
    np.testing.assert_allclose(late_s, delay_s - found.offset_s, atol=BEEP_S)
    assert np.abs(late_s).max() < 0.05
