"""A whole medium as a stream: times of pictures and sound, shapes, gaps, damage."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from flash_and_beep import EVENTS_S, MOVIES, make

from avdata import (
    FailureReason,
    LimitsConfig,
    MediaError,
    media_facts,
    stream_frames,
    stream_pictures,
    stream_sound,
)
from avdata.synthetic.movie import write_movie

LIMITS = LimitsConfig()
RATE_HZ = 16000
GRAY = np.full((48, 64, 3), 128, np.uint8)


def _onsets(curve: np.ndarray, level: float) -> np.ndarray:
    above = curve > level
    return np.flatnonzero(above[1:] & ~above[:-1]) + 1


@pytest.mark.parametrize("name", MOVIES)
def test_flashes_and_beeps_have_their_times(name: str, tmp_path: Path) -> None:
    path = make(tmp_path / "movie", MOVIES[name])
    shown = list(stream_pictures(path, LIMITS, width_px=8, height_px=8))
    bright = np.array([pixels.mean() for _, pixels in shown])
    flashes = np.array([shown[i][0].start_s for i in _onsets(bright, 128)])
    sound = np.concatenate(list(stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ)), axis=1)
    blocks = np.abs(sound[0, : sound.shape[1] // 16 * 16]).reshape(-1, 16).max(axis=1)  # of 1 ms
    quiet_before = np.array([blocks[max(i - 40, 0) : i].max(initial=0) for i in range(len(blocks))])
    beeps = np.flatnonzero((blocks > 0.2) & (quiet_before < 0.05)) / 1000
    gap_s = float(np.diff([p.start_s for p, _ in shown]).max())
    np.testing.assert_allclose(beeps, EVENTS_S, atol=0.003)
    assert len(flashes) == len(EVENTS_S)
    assert all(
        -1e-6 <= seen - event <= gap_s + 1e-3 for seen, event in zip(flashes, EVENTS_S, strict=True)
    )
    assert all(a.end_s == b.start_s for (a, _), (b, _) in pairwise(shown))


@pytest.mark.parametrize("fps", [7.0, 29.97, 60.0])
def test_the_grid_shows_the_nearest_picture_until_the_last_one_ends(
    fps: float, tmp_path: Path
) -> None:
    times = [0.0, 0.11, 0.5, 0.52, 1.2]
    levels = [20, 60, 100, 140, 200]
    path = tmp_path / "movie.mp4"
    write_movie(
        path,
        frames=(np.full((32, 32, 3), level, np.uint8) for level in levels),
        frame_times_s=times,
        fps=Fraction(25),
        sound=None,
        sample_rate_hz=8000,
    )
    (*_, (last, _)) = stream_pictures(path, LIMITS, width_px=4, height_px=4)
    frames = list(stream_frames(path, LIMITS, fps=fps, width_px=4, height_px=4))
    shown = [levels[np.abs(np.array(levels) - frame.mean()).argmin()] for frame in frames]
    grid = np.arange(len(frames)) / fps
    distance = np.abs(grid[:, None] - np.array(times)[None])
    nearest = distance.shape[1] - 1 - distance[:, ::-1].argmin(axis=1)  # a tie takes the later
    assert shown == [levels[i] for i in nearest]
    assert len(frames) == np.ceil((last.end_s - last.start_s + times[-1]) * fps - 0.5 - 1e-6)
    assert frames[0].shape == (4, 4, 3) and frames[0].dtype == np.uint8


def test_late_sound_begins_with_silence(tmp_path: Path) -> None:
    path = tmp_path / "movie.mp4"
    tone = 0.5 * np.sin(np.arange(RATE_HZ) * 0.3, dtype=np.float32)[:, None]
    write_movie(
        path,
        frames=[GRAY] * 50,
        frame_times_s=None,
        fps=Fraction(25),
        sound=tone,
        sample_rate_hz=RATE_HZ,
        audio_start_s=0.75,
    )
    blocks = list(stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ))
    sound = np.concatenate(blocks, axis=1)
    assert sound.dtype == np.float32 and len(sound) == 2
    assert max(block.shape[1] for block in blocks) <= 48000
    assert np.abs(sound[:, :11500]).max() < 0.01 < np.abs(sound[:, 12100:12400]).max()
    np.testing.assert_array_equal(sound[0], sound[1])


@pytest.mark.parametrize(
    ("times_s", "audio_start_s", "what"),
    [([0.0, 1.0, 4000.0], 0.0, "the picture at 1.000 s"), ([0.0, 1.0], 4000.0, "the sound at 0")],
)
def test_times_that_jump_by_more_than_an_hour_are_damage(
    times_s: list[float], audio_start_s: float, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "movie.mp4"
    write_movie(
        path,
        frames=[GRAY] * len(times_s),
        frame_times_s=times_s,
        fps=Fraction(25),
        sound=np.zeros((8000, 1), np.float32),
        sample_rate_hz=8000,
        audio_start_s=audio_start_s,
    )
    with pytest.raises(MediaError, match=f"its times are damaged: {what}") as fault:
        _play(path)
    assert fault.value.reason == FailureReason.CORRUPT


def _play(path: Path) -> None:
    list(stream_frames(path, LIMITS, fps=1.0, width_px=4, height_px=4))
    list(stream_sound(path, LIMITS, sample_rate_hz=8000))


SHOWN = {
    # pictures, width and height, first and last moment, seconds of sound
    "rotated_90.mov": (3, (320, 568), 0.0, 0.1, None),
    "rotated_90_vfr_with_audio.mp4": (44, (480, 640), 0.226, 5.228, 5.178),
    "sar_4_3_bipbop.mp4": (48, (534, 300), 0.0, 1.602, 1.579),
    "sar_11_12_ac3.mp4": (21, (660, 480), 0.0, 0.701, 0.697),
    "late_video_0.5s_mpegts.ts": (286, (400, 300), 0.523, 10.098, 9.985),
    "no_audio_hmdb51_SchoolRules_wave.avi": (74, (320, 240), 0.033, 2.533, None),
    "one_by_one_pixel_-name-with-dash-.mp4": (5, (2, 2), 0.0, 5.0, None),
    "wrong_extension_flv.mp4": (48, (720, 480), 0.0, 1.601, 1.625),
    "ambisonic_bformat_4ch_BF_rec3.ogg": (0, None, None, None, 15.019),
}


@pytest.mark.parametrize("name", SHOWN)
def test_odd_files(name: str, shared_data: Path) -> None:
    path = shared_data / "odd" / name
    count, size, start_s, end_s, sound_s = SHOWN[name]
    facts = media_facts(path, LIMITS)
    if facts.pictures is None:
        assert count == 0
    else:
        assert (facts.pictures.width_px, facts.pictures.height_px) == size
        shown = [p for p, _ in stream_pictures(path, LIMITS, width_px=2, height_px=2)]
        assert len(shown) == count
        assert (shown[0].start_s, shown[-1].end_s) == pytest.approx((start_s, end_s), abs=1e-3)
    assert (facts.sound is None) == (sound_s is None)
    if sound_s is not None:
        blocks = stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ)
        num_samples = sum(block.shape[1] for block in blocks)
        assert num_samples / RATE_HZ == pytest.approx(sound_s, abs=2e-3)


FAULTS = {
    "zero_bytes.webm": FailureReason.NOT_MEDIA,
    "encrypted_cenc.mp4": FailureReason.VIDEO_UNDECODABLE,
    "corrupt_huge_frame_vp9.webm": FailureReason.TOO_MANY_PIXELS,
}


@pytest.mark.parametrize("name", FAULTS)
def test_files_that_cannot_be_played(name: str, shared_data: Path) -> None:
    with pytest.raises(MediaError) as fault:
        media_facts(shared_data / "odd" / name, LIMITS)
    assert fault.value.reason == FAULTS[name]


def test_sound_that_does_not_decode(shared_data: Path) -> None:
    with pytest.raises(MediaError, match="none of its sound decodes"):
        list(
            stream_sound(
                shared_data / "odd" / "corrupt_bug604067.webm", LIMITS, sample_rate_hz=RATE_HZ
            )
        )
