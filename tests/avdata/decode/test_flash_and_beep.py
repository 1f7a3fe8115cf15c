"""A flash and its beep stay together from the movie file to the stored clip."""

import subprocess
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from flash_and_beep import EVENTS_S, MOVIES, frame_times_s, make

from avdata.config import LimitsConfig
from avdata.decode.clip import DecodedClip
from avdata.decode.with_av import decode_clip
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec
from avdata.shards.codec import decode_frame


def decode(path: Path, start_s: float | None = None, end_s: float | None = None) -> DecodedClip:
    return decode_clip(
        path,
        start_s=start_s,
        end_s=end_s,
        video=VideoSpec(short_side_px=64),
        audio=AudioSpec(),
        clips=ClipsSpec(),
        limits=LimitsConfig(),
    )


def flashes_s(clip: DecodedClip, fps: float) -> list[float]:
    """Clip times of the first lit stored frame of every flash."""
    assert clip.video is not None
    frames = clip.video.frames
    jpegs = [frames.data[a:b] for a, b in pairwise(frames.offsets)]
    lit = [decode_frame(jpeg).mean() > 120 for jpeg in jpegs]
    return [k / fps for k in range(1, len(lit)) if lit[k] and not lit[k - 1]]


def beeps_s(clip: DecodedClip) -> list[float]:
    """Clip times of the first loud sample of every beep."""
    assert clip.audio is not None
    loud = np.flatnonzero(np.abs(clip.samples[0]) > 0.1 * 32768) / 24000
    return [t for i, t in enumerate(loud) if i == 0 or t - loud[i - 1] > 0.2]


@pytest.mark.parametrize("name", MOVIES)
def test_flash_and_beep_stay_together(name: str, tmp_path: Path) -> None:
    clip = decode(make(tmp_path / "movie", MOVIES[name]))
    flashes, beeps = flashes_s(clip, 16), beeps_s(clip)
    assert len(flashes) == len(beeps) == len(EVENTS_S)
    # the flash is on the first source frame after its event; it may not move by a stored frame
    times = frame_times_s(MOVIES[name])
    late_s = [times[np.searchsorted(times, t)] - t for t in EVENTS_S]
    assert np.abs(np.subtract(flashes, beeps) - late_s).max() <= 1 / 16
    # both are where the movie has them, on the media clock that a muxer may shift as a whole
    shift = beeps[0] + clip.start_s - EVENTS_S[0]
    assert abs(shift) < 0.03 or MOVIES[name].suffix == ".ts"
    assert np.allclose(np.diff(beeps), np.diff(EVENTS_S), atol=2e-3)


@pytest.mark.parametrize("name", ["30 fps", "B-frames, 29.97 fps, late audio", "mkv", "ts", "avi"])
@pytest.mark.parametrize("start_s", [0.8, 1.9])
def test_a_cut_clip_counts_from_the_listed_start(name: str, start_s: float, tmp_path: Path) -> None:
    clip = decode(make(tmp_path / "movie", MOVIES[name]), start_s, start_s + 2)
    expected = [t - start_s for t in EVENTS_S if start_s < t < start_s + 1.9]
    beeps = beeps_s(clip)
    assert np.allclose(beeps, expected, atol=0.03)
    assert np.abs(np.subtract(flashes_s(clip, 16), beeps)).max() <= 1 / 16 + 1 / 25
    assert clip.end_s - clip.start_s == pytest.approx(2, abs=1 / 16)


def test_late_audio_is_measured(tmp_path: Path) -> None:
    clip = decode(make(tmp_path / "movie", MOVIES["late audio"]))
    assert clip.video is not None
    assert clip.audio is not None
    assert clip.audio.start_s - clip.video.start_s == pytest.approx(
        0.7, abs=0.03
    )  # AAC begins with 23 ms of priming
    assert clip.start_s == pytest.approx(0.7, abs=0.03)  # AAC begins with 23 ms of priming


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_a_cut_without_reencoding_keeps_them_together(suffix: str, tmp_path: Path) -> None:
    """Such a cut starts at the key frame before it and hides the rest: by an edit list in mov."""
    whole = make(tmp_path / "whole", MOVIES["B-frames"])
    cut = tmp_path / f"cut{suffix}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-ss", "1.5", "-i", str(whole)]
    subprocess.run([*command, "-c", "copy", str(cut)], check=True)
    clip = decode(cut)
    flashes, beeps = flashes_s(clip, 16), beeps_s(clip)
    expected = [t for t in EVENTS_S if t > 1.5]
    assert len(beeps) >= len(expected)
    assert np.allclose(np.diff(beeps[-2:]), np.diff(expected), atol=2e-3)
    assert np.abs(np.subtract(flashes[-2:], beeps[-2:])).max() <= 1 / 16 + 1 / 30
    if suffix == ".mov":
        assert clip.start_s + beeps[-2] == pytest.approx(expected[0] - 1.5, abs=0.03)
