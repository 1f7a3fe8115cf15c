"""How late sound is: evidence added up as the equations say, and movies with known offsets."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flash_and_beep import MOVIES, Movie, make

from avdata.synthetic.movie import write_movie
from avtrain.apps.offset_evidence import (
    MOST_RIVAL,
    OUTLIERS,
    OffsetEstimate,
    chance_of,
    combine,
    rival_of,
)
from avtrain.apps.offset_scan import ScanOptions, WindowScorer, estimate_offset
from avtrain.apps.video_file import VideoFile, open_video
from avtrain.apps.windows import clip_form
from avtrain.errors import VideoError

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _estimate(video: VideoFile, method: Any, **options: Any) -> OffsetEstimate:
    form = clip_form(method.clip, video, keeps_aspect=False)
    scorer = WindowScorer(method, torch.device("cpu"))
    return estimate_offset(video, form, scorer, ScanOptions(**{"max_offset_s": 0.6, **options}))


def test_evidence_is_added_up_as_the_equation_says() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, (5, 7))
    scores[2, :3] = np.nan
    posterior, supports = combine(scores)
    wanted = np.ones(7)
    for window in range(5):
        known = [z for z in scores[window] if np.isfinite(z)]
        row = [z if np.isfinite(z) else sum(known) / len(known) for z in scores[window]]
        odds = [np.exp(z) for z in row]
        for offset in range(7):
            single = odds[offset] / sum(odds)
            mixed = (1 - OUTLIERS) * single + OUTLIERS / 7
            wanted[offset] *= mixed
            assert supports[window, offset] == pytest.approx((1 - OUTLIERS) * single / mixed)
    np.testing.assert_allclose(posterior, wanted / wanted.sum(), rtol=1e-9)


def test_one_window_that_is_sure_does_not_outweigh_the_others() -> None:
    scores = np.zeros((10, 21))
    scores[:9, 4] = 4.0
    scores[9, 17] = 1000.0
    posterior, supports = combine(scores)
    assert posterior[4] > 0.99
    assert supports[0, 4] > 0.99 > 0.01 > supports[9, 4]


def test_agreement_by_chance_is_known_for_what_it_is() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 3, (8, 21)) for _ in range(40)]
    chances = np.array([chance_of(scores, rng=rng) for scores in noise])
    assert 0.3 < chances.mean() < 0.7 and (chances <= 0.05).mean() < 0.15
    for scores in noise[:5]:
        scores[:, 13] += 8
        assert chance_of(scores, rng=rng) == pytest.approx(0.001)
    assert chance_of(noise[0][:2], rng=rng) is None


def test_a_rival_is_another_peak_and_not_a_shoulder() -> None:
    offsets = np.linspace(-1, 1, 51)

    def bump(center_s: float, height: float, width_s: float = 0.05) -> np.ndarray:
        return height * np.exp(-(((offsets - center_s) / width_s) ** 2))

    best = int(np.abs(offsets - 0.2).argmin())
    for scale in (1.0, 0.01):  # logits have no unit
        found = rival_of(offsets, scale * (bump(0.2, 10) + bump(-0.4, 7) + bump(0.8, 4)) - 3, best)
        assert found is not None
        assert (found.offset_s, found.height) == pytest.approx((-0.4, 0.7), abs=1e-4)
    assert rival_of(offsets, bump(0.2, 10) + bump(0.3, 9.5), best) is None  # within the tolerance
    rng = np.random.default_rng(0)
    wide = bump(0.2, 10, width_s=1.0) + rng.uniform(0, 0.2, len(offsets))
    assert rival_of(offsets, wide, best) is None
    edge = rival_of(offsets, bump(0.2, 10) + bump(-1.0, 9), best)  # its peak may lie beyond
    assert edge is not None and edge.offset_s == -1.0
    assert rival_of(offsets, np.zeros(51), best) is None


def test_a_metronome_is_not_sure_which_of_its_beats_it_is(
    flash_and_beep: Any, tmp_path: Path
) -> None:
    period_s = 0.4
    regular = [0.3 + period_s * i for i in range(16)]
    path = _shifted(tmp_path / "movie.mp4", 0.1, events=regular)
    found = _estimate(open_video(path, purpose="a test"), flash_and_beep)
    assert found.rival is not None and found.rival.height > MOST_RIVAL and not found.is_sure
    beats = (found.rival.offset_s - found.offset_s) / period_s
    assert abs(beats) > 0.5 and beats == pytest.approx(round(beats), abs=0.15)
    path = _shifted(tmp_path / "other.mp4", 0.1)
    uneven = _estimate(open_video(path, purpose="a test"), flash_and_beep)
    assert uneven.is_sure and (uneven.rival is None or uneven.rival.height < 0.6)


@pytest.mark.parametrize(
    "name", ["30 fps", "29.97 fps", "7 fps", "variable rate", "B-frames", "late video", "mkv", "ts"]
)
def test_movies_in_sync_are_in_sync(name: str, flash_and_beep: Any, tmp_path: Path) -> None:
    movie = MOVIES[name]
    video = open_video(make(tmp_path / "movie", movie), purpose="a test")
    found = _estimate(video, flash_and_beep)
    assert abs(found.offset_s) < (0.08 if name == "7 fps" else 0.05)
    assert found.agreement == 1.0 and found.confidence > 0.95
    if name != "7 fps":  # so few pictures that windows agree by chance
        assert found.is_sure


@pytest.mark.parametrize("offset_s", [0.45, 0.13, -0.32])
def test_the_offset_is_found_with_its_sign(
    offset_s: float, flash_and_beep: Any, tmp_path: Path
) -> None:
    video = open_video(_shifted(tmp_path / "movie.mp4", offset_s), purpose="a test")
    found = _estimate(video, flash_and_beep)
    assert found.offset_s == pytest.approx(offset_s, abs=0.04)
    assert found.is_sure and found.num_used == len(found.windows) == 4
    for window in found.windows:
        assert window.offset_s == pytest.approx(offset_s, abs=0.1)
        assert window.score is not None and window.score_as_is is not None
        assert window.score > window.score_as_is


def _shifted(
    path: Path,
    offset_s: float,
    *,
    seconds: float = 7.0,
    silent: bool = False,
    events: Sequence[float] = (0.9, 1.63, 3.1, 4.0, 5.71, 6.2),
) -> Path:
    """Flashes, at uneven times unless told otherwise, and beeps `offset_s` later."""
    rate = 16000
    times = np.arange(round(seconds * 30)) / 30
    lit = [any(t <= s < t + 0.2 for t in events) for s in times]
    sound = np.zeros((round(seconds * rate), 1), np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate // 10) / rate)
    for event in events:
        first = round((event + offset_s) * rate)
        part = sound[first : first + len(tone), 0]
        part[:] = 0 if silent else tone[: len(part)]
    write_movie(
        path,
        frames=(np.full((32, 32, 3), 235 if on else 16, np.uint8) for on in lit),
        frame_times_s=None,
        fps=Fraction(30),
        sound=sound,
        sample_rate_hz=rate,
    )
    return path


def test_an_offset_beyond_the_largest_is_not_sure(flash_and_beep: Any, tmp_path: Path) -> None:
    video = open_video(_shifted(tmp_path / "movie.mp4", 0.6), purpose="a test")
    found = _estimate(video, flash_and_beep, max_offset_s=0.6, coarse_step_s=0.1, fine_step_s=0.1)
    assert found.at_edge and not found.is_sure


def test_windows_are_spread_over_a_long_video(flash_and_beep: Any, tmp_path: Path) -> None:
    video = open_video(_shifted(tmp_path / "movie.mp4", 0.2), purpose="a test")
    found = _estimate(video, flash_and_beep, max_windows=2)
    assert [w.start_s for w in found.windows] == pytest.approx([0.0, 5.0], abs=0.05)
    assert found.offset_s == pytest.approx(0.2, abs=0.05)


def test_a_scorer_gives_all_sounds_to_the_same_pictures(flash_and_beep: Any) -> None:
    rng = np.random.default_rng(0)
    clip = flash_and_beep.clip
    frames = rng.integers(0, 255, (clip.clip_frames, 4, 4, 3), np.uint8)
    sounds = [rng.standard_normal((2, clip.num_samples)).astype(np.float32) for _ in range(11)]
    scorer = WindowScorer(flash_and_beep, torch.device("cpu"))
    alone = [
        flash_and_beep.scores(torch.from_numpy(frames)[None], torch.from_numpy(sound)[None])
        for sound in sounds
    ]
    np.testing.assert_allclose(scorer(frames, sounds), torch.cat(alone), atol=1e-5)


def test_silence_says_nothing(flash_and_beep: Any, tmp_path: Path) -> None:
    video = open_video(_shifted(tmp_path / "movie.mp4", 0, silent=True), purpose="a test")
    with pytest.raises(VideoError, match="none of its 4 windows says anything: silence"):
        _estimate(video, flash_and_beep)


def test_a_video_shorter_than_a_window_is_said_to_be(
    flash_and_beep: Any, shared_data: Path
) -> None:
    path = shared_data / "cases" / "sync_video_too_short" / "short.mp4"
    video = open_video(path, purpose="a test")
    with pytest.raises(VideoError, match=r"the video lasts 1\.0 s, a window \d\.\d s"):
        _estimate(video, flash_and_beep)


def test_a_picture_that_stands_still_says_nothing(flash_and_beep: Any, tmp_path: Path) -> None:
    path = tmp_path / "movie.mp4"
    write_movie(
        path,
        frames=[np.full((32, 32, 3), 90, np.uint8)] * 120,
        frame_times_s=None,
        fps=Fraction(30),
        sound=np.full((64000, 1), 0.3, np.float32),
        sample_rate_hz=16000,
    )
    with pytest.raises(VideoError, match="its picture stands still; there is nothing to compare"):
        _estimate(open_video(path, purpose="a test"), flash_and_beep)


def test_too_short_videos(flash_and_beep: Any, tmp_path: Path) -> None:
    short = open_video(make(tmp_path / "a", Movie()), purpose="a test")
    clip = type(flash_and_beep.clip)(clip_frames=400, num_samples=213333)
    with pytest.raises(VideoError, match=r"the video lasts 5\.0 s, a window 13\.3 s"):
        _estimate(short, type(flash_and_beep)(clip))
    clip = type(flash_and_beep.clip)(clip_frames=149, num_samples=79466)
    with pytest.raises(VideoError, match=r"too short to try offsets: .* clips of 4\.97 s"):
        _estimate(short, type(flash_and_beep)(clip), coarse_step_s=1.5, max_offset_s=1.5)
