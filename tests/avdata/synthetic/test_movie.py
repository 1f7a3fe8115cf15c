"""Movies hold what they were given, when they were given it."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avdata.synthetic import SceneConfig, render_frames, render_sound, sample_scene, write_movie
from avdata.synthetic.movie import CONTAINERS

FPS = Fraction(30000, 1001)
RATE_HZ = 48000
NUM_FRAMES = 45
IRREGULAR_S = tuple(np.cumsum([0.0, *np.tile([0.02, 0.05, 0.033], 15)])[:NUM_FRAMES].tolist())
MARK = 20
"""The one white frame."""
BEEP_S = 0.5


def frame_times_s(path: Path) -> tuple[np.ndarray, int]:
    """Times of the pictures, and the index of the brightest."""
    with av.open(str(path)) as movie:
        frames = [(f.time, f.to_ndarray(format="gray").mean()) for f in movie.decode(video=0)]
    return np.array([time for time, _ in frames]), int(np.argmax([level for _, level in frames]))


def beep_s(path: Path) -> float:
    """When the sound first exceeds a third of its peak."""
    with av.open(str(path)) as movie:
        parts, start_s, rate = [], None, RATE_HZ
        for frame in movie.decode(audio=0):
            start_s = frame.time if start_s is None else start_s
            rate = frame.sample_rate
            planes = frame.to_ndarray().astype(float)
            channels = len(frame.layout.channels)
            parts.append(planes.reshape(-1, channels).T if len(planes) != channels else planes)
    level = np.abs(np.concatenate(parts, axis=1)).max(axis=0)
    assert start_s is not None
    return float(start_s + np.flatnonzero(level > level.max() / 3)[0] / rate)


def write_flash_and_beep(path: Path, *, variable: bool, audio_start_s: float, bframes: int) -> None:
    frames = np.full((NUM_FRAMES, 64, 96, 3), 40, dtype=np.uint8)
    frames[MARK] = 250
    sound = np.zeros((RATE_HZ, 2), dtype=np.float32)
    beep = np.arange(4800) / RATE_HZ
    sound[int(BEEP_S * RATE_HZ) :][:4800] = 0.5 * np.cos(2 * np.pi * 1500 * beep)[:, None]
    write_movie(
        path,
        frames=frames,
        frame_times_s=IRREGULAR_S if variable else None,
        fps=FPS,
        sound=sound,
        sample_rate_hz=RATE_HZ,
        audio_start_s=audio_start_s,
        bframes=bframes,
    )


@pytest.mark.parametrize(
    ("suffix", "variable"),
    [(s, v) for s in sorted(CONTAINERS) for v in (False, True) if (s, v) != (".avi", True)],
)
@pytest.mark.parametrize(("audio_start_s", "bframes"), [(0.0, 2), (0.25, 0)])
def test_times_survive_the_container(
    tmp_path: Path, suffix: str, variable: bool, audio_start_s: float, bframes: int
) -> None:
    path = tmp_path / f"movie{suffix}"
    write_flash_and_beep(path, variable=variable, audio_start_s=audio_start_s, bframes=bframes)
    times_s, brightest = frame_times_s(path)
    wanted_s = np.array(IRREGULAR_S) if variable else np.arange(NUM_FRAMES) / float(FPS)
    assert len(times_s) == NUM_FRAMES
    assert brightest == MARK
    # 1 ms is the clock of Matroska; a transport stream starts where it likes
    np.testing.assert_allclose(times_s - times_s[0], wanted_s, atol=0.0011)
    assert suffix == ".ts" or times_s[0] == 0
    assert beep_s(path) - times_s[0] == pytest.approx(BEEP_S + audio_start_s, abs=0.005)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_scene_survives_mp4(tmp_path: Path) -> None:
    config = SceneConfig(
        duration_s=2.0, max_objects=1, noise_level=0, silent_probability=0, off_screen_probability=0
    )
    for index in range(8):
        scene = sample_scene(config, seed=5, index=index)
        path = tmp_path / f"{index}.mp4"
        pictures = render_frames(scene)
        write_movie(
            path,
            frames=pictures,
            frame_times_s=None,
            fps=Fraction(config.fps),
            sound=render_sound(scene),
            sample_rate_hz=config.sample_rate_hz,
        )
        strike = scene.main.strikes[0]
        assert beep_s(path) == pytest.approx(strike.time_s, abs=0.005)
        with av.open(str(path)) as movie:
            decoded = np.stack([f.to_ndarray(format="rgb24") for f in movie.decode(video=0)])
        assert decoded.shape == pictures.shape
        dull = render_frames(replace(scene, objects=(replace(scene.main, strikes=()),)))
        lit = (decoded.astype(int).sum(axis=3) - dull.astype(int).sum(axis=3)) > 150
        lit_frames = np.flatnonzero(lit.sum(axis=(1, 2)) > 12)
        assert lit_frames[0] == int(np.ceil(strike.time_s * config.fps)), index


def test_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    frames = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    write_movie(path, frames=frames, frame_times_s=None, fps=FPS, sound=None, sample_rate_hz=8000)
    with av.open(str(path)) as movie:
        assert len(movie.streams.audio) == 0
        assert len(movie.streams.video) == 1


@pytest.mark.parametrize(
    ("name", "num_frames", "times_s", "channels", "size", "message"),
    [
        ("a.gif", 2, None, 1, 32, "'.gif' must be one of"),
        ("a.avi", 2, (0.0, 0.1), 1, 32, "AVI has a constant frame rate"),
        ("a.mp4", 2, (0.0,), 1, 32, "more frames than the 1 frame_times_s"),
        ("a.mp4", 1, (0.0, 0.1), 1, 32, "1 frames came, 2 needed"),
        ("a.mp4", 0, None, 1, 32, "0 frames came, at least one needed"),
        ("a.mp4", 2, None, 3, 32, r"\(n, 1\) and \(n, 2\) are allowed"),
        ("a.mp4", 2, None, 1, 33, "33x33 must be even"),
    ],
)
def test_bad_arguments_leave_no_file(
    tmp_path: Path,
    name: str,
    num_frames: int,
    times_s: tuple[float, ...] | None,
    channels: int,
    size: int,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        write_movie(
            tmp_path / name,
            frames=np.zeros((num_frames, size, size, 3), dtype=np.uint8),
            frame_times_s=times_s,
            fps=FPS,
            sound=np.zeros((4000, channels), dtype=np.float32),
            sample_rate_hz=16000,
        )
    assert not list(tmp_path.iterdir())
