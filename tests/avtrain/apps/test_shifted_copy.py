"""Copies with the sound moved: what is copied, what is encoded, and where the sound ends up."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from flash_and_beep import EVENTS_S, MOVIES, make
from movie_differences import differences
from plain_decode import play

from avdata import LimitsConfig, stream_pictures, stream_sound
from avdata.synthetic.movie import write_movie
from avtrain.apps.shifted_copy import CopyFacts, write_shifted
from avtrain.apps.video_file import VideoFile, open_video

LIMITS = LimitsConfig()
RATE_HZ = 16000


def _beeps(path: Path) -> np.ndarray:
    sound = np.concatenate(list(stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ)), axis=1)
    blocks = np.abs(sound[0, : sound.shape[1] // 16 * 16]).reshape(-1, 16).max(axis=1)
    loud = np.flatnonzero(blocks > 0.2)
    return loud[np.diff(loud, prepend=-100) > 40] / 1000


def _shown(video: VideoFile) -> tuple[list[float], float]:
    pictures = [p for p, _ in stream_pictures(video.path, LIMITS, width_px=2, height_px=2)]
    return [p.start_s for p in pictures], pictures[-1].end_s


@pytest.mark.parametrize(
    ("name", "suffix", "earlier_s"),
    [
        ("29.97 fps", ".mp4", 0.4),
        ("29.97 fps", ".mkv", -0.4),
        ("variable rate", ".mp4", -0.4),
        ("variable rate", ".mkv", 0.4),
        ("B-frames", ".mov", 0.4),
        ("mkv", ".mkv", -0.4),
        ("mkv", ".mp4", 0.4),
        ("avi", ".mp4", 0.4),
        ("ts", ".mkv", -0.4),
    ],
)
def test_sound_moves_and_pictures_stay(
    name: str, suffix: str, earlier_s: float, tmp_path: Path
) -> None:
    video = open_video(make(tmp_path / "movie", MOVIES[name]), purpose="a test")
    out = tmp_path / f"out{suffix}"
    copied = write_shifted(video, out, earlier_s=earlier_s)
    exact = name not in ("avi", "ts")
    assert copied == CopyFacts(pictures=exact, sound=exact)
    moved = open_video(out, purpose="a test")
    np.testing.assert_allclose(_beeps(out), np.array(EVENTS_S) - earlier_s, atol=4e-3)
    before, after = _shown(video), _shown(moved)
    np.testing.assert_allclose(after[0], before[0], atol=2e-3)
    assert after[1] == pytest.approx(before[1], abs=2e-3)
    assert moved.duration_s == pytest.approx(video.duration_s, abs=0.04)


def test_packets_are_copied_bit_by_bit(tmp_path: Path) -> None:
    video = open_video(make(tmp_path / "movie", MOVIES["B-frames"]), purpose="a test")
    out = tmp_path / "out.mkv"
    write_shifted(video, out, earlier_s=0.25)
    kinds = []
    for path in (video.path, out):
        with av.open(str(path)) as container:
            pictures = [bytes(p) for p in container.demux(video=0) if p.size]
        with av.open(str(path)) as container:
            sound = [bytes(p) for p in container.demux(audio=0) if p.size]
        kinds.append((pictures, sound))
    assert len(kinds[0][0]) == len(kinds[1][0]) == 150
    assert len(kinds[1][1]) == pytest.approx(len(kinds[0][1]) - 0.25 * 44100 / 1024, abs=2)
    assert kinds[0][1][-len(kinds[1][1]) :] == kinds[1][1]


@pytest.mark.parametrize(("name", "suffix"), [("mkv", ".mkv"), ("mkv", ".mp4"), ("avi", ".mp4")])
def test_a_file_that_breaks_off_is_as_long_as_what_it_holds(
    name: str, suffix: str, tmp_path: Path
) -> None:
    whole = make(tmp_path / "whole", MOVIES[name])
    broken = tmp_path / f"broken{whole.suffix}"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    video, out = open_video(broken, purpose="a test"), tmp_path / f"out{suffix}"
    given = play(broken)
    assert given.length_s < 4.0  # of 5
    for earlier_s in (0.3, -0.3):
        write_shifted(video, out, earlier_s=earlier_s)
        assert not differences(given, play(out), earlier_s=earlier_s)


def test_long_packets_are_encoded_where_their_end_would_show(tmp_path: Path) -> None:
    path = tmp_path / "movie.mkv"
    write_movie(
        path,
        frames=(np.full((32, 32, 3), 40 + i, np.uint8) for i in range(60)),
        frame_times_s=None,
        fps=Fraction(30),
        sound=np.full((2 * 8000, 1), 0.1, np.float32),
        sample_rate_hz=8000,  # packets of AAC last 128 ms
    )
    video, out, given = open_video(path, purpose="a test"), tmp_path / "out.mkv", play(path)
    for earlier_s in (0.3, -0.3):
        copied = write_shifted(video, out, earlier_s=earlier_s)
        assert copied == CopyFacts(pictures=True, sound=earlier_s > 0)
        assert not differences(given, play(out), earlier_s=earlier_s)


def test_what_mp4_does_not_hold_is_encoded(tmp_path: Path) -> None:
    video = open_video(make(tmp_path / "movie", MOVIES["webm"]), purpose="a test")
    assert write_shifted(video, tmp_path / "a.mp4", earlier_s=0.1) == CopyFacts(
        pictures=True, sound=True
    )
    odd = replace(video, path=make(tmp_path / "other", MOVIES["avi"]))
    assert not write_shifted(odd, tmp_path / "b.mkv", earlier_s=0.1).pictures


@pytest.mark.parametrize(
    ("name", "suffix", "copied"),
    [
        ("odd/rotated_90_vfr_with_audio.mp4", ".mkv", (True, True)),
        ("odd/sar_4_3_bipbop.mp4", ".mp4", (False, False)),  # the container states the aspect
        ("odd/edit_list_bipbop.mp4", ".mp4", (False, False)),  # one picture is cut off by it
        ("odd/mpeg4_amr.3gp", ".mkv", (True, False)),
        ("odd/av1_10bit_opus.webm", ".mp4", (True, True)),
        ("clips/big_buck_bunny_432_433.webm", ".mp4", (False, False)),
        ("clips/big_buck_bunny_432_433.webm", ".mkv", (True, True)),
    ],
)
def test_odd_files(
    name: str, suffix: str, copied: tuple[bool, bool], shared_data: Path, tmp_path: Path
) -> None:
    video = open_video(shared_data / name, purpose="a test")
    out = tmp_path / f"out{suffix}"
    facts = write_shifted(video, out, earlier_s=0.2)
    assert (facts.pictures, facts.sound) == copied
    moved = open_video(out, purpose="a test")
    assert (moved.width_px, moved.height_px) == (video.width_px, video.height_px)
    before, after = _shown(video), _shown(moved)
    assert len(after[0]) == len(before[0])
    assert after[1] == pytest.approx(before[1], abs=0.03)
