"""Windows of a video: every frame once where they belong, the tail kept, sound by position."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avdata.synthetic.movie import write_movie
from avtrain.apps.video_file import open_video
from avtrain.apps.windows import ClipForm, SoundTape, clip_form, expected_windows, read_windows
from avtrain.errors import VideoError

RATE_HZ = 8000
FPS = 10


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.5 s at 10 fps: frame i has level 8 i; the sound is a ramp from 0 to 0.5, right half it."""
    path = tmp_path_factory.mktemp("media") / "counted.avi"
    ramp = np.linspace(0, 0.5, round(2.5 * RATE_HZ), dtype=np.float32)
    write_movie(
        path,
        frames=(np.full((32, 48, 3), 8 * i, np.uint8) for i in range(25)),
        frame_times_s=None,
        fps=Fraction(FPS),
        sound=np.stack([ramp, ramp / 2], axis=1),
        sample_rate_hz=RATE_HZ,
    )
    return path


def _form(clip_frames: int, **changes: float) -> ClipForm:
    settings = {
        "clip_frames": clip_frames,
        "fps": float(FPS),
        "width_px": 4,
        "height_px": 4,
        "sound_rate_hz": RATE_HZ,
        "num_samples": clip_frames * RATE_HZ // FPS,
    }
    return ClipForm(**{**settings, **changes})


@pytest.mark.parametrize(
    ("clip_frames", "hop", "tail", "firsts"),
    [
        (8, 4, True, [0, 4, 8, 12, 16, 17]),
        (8, 4, False, [0, 4, 8, 12, 16]),
        (5, 5, True, [0, 5, 10, 15, 20]),
        (4, 12, True, [0, 12, 21]),
        (30, 15, True, [0]),
    ],
)
def test_each_window_shows_its_frames_and_plays_its_sound(
    counted: Path, clip_frames: int, hop: int, tail: bool, firsts: list[int]
) -> None:
    video = open_video(counted, purpose="a test")
    form = _form(clip_frames)
    windows = list(read_windows(video, form, hop_frames=hop, tail=tail))
    assert [w.first_frame for w in windows] == firsts
    if tail:
        assert expected_windows(video, form, hop) == len(firsts)
    for window in windows:
        last = min(window.first_frame + clip_frames, 25) - 1
        wanted = np.minimum(window.first_frame + np.arange(clip_frames), last)
        np.testing.assert_array_equal(np.round(window.frames.mean((1, 2, 3)) / 8), wanted)
        assert window.start_s == pytest.approx(window.first_frame / FPS)
        assert window.num_real == min(clip_frames, 25)
        first, stop = window.sound_span
        times = (window.first_frame * RATE_HZ / FPS + np.arange(first, stop)) / RATE_HZ
        np.testing.assert_allclose(window.sound[0, first:stop], times / 5, atol=1e-3)
        np.testing.assert_allclose(window.sound[1], window.sound[0] / 2, atol=1e-3)
        assert (window.sound[:, stop:] == 0).all()


def test_sound_around_a_window(counted: Path) -> None:
    video = open_video(counted, purpose="a test")
    form = _form(8).with_margin(0.5)
    first, *_, last = read_windows(video, form, hop_frames=8)
    assert first.sound.shape == (2, 8 * RATE_HZ // FPS + RATE_HZ)
    assert first.sound_span == (RATE_HZ // 2, first.sound.shape[1])
    assert first.sound[0, RATE_HZ] == pytest.approx(0.5 / 5, abs=1e-3)
    assert last.sound_span == (0, last.sound.shape[1] - RATE_HZ // 2)


def test_silence_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    write_movie(
        path,
        frames=[np.zeros((32, 32, 3), np.uint8)] * 10,
        frame_times_s=None,
        fps=Fraction(10),
        sound=np.zeros((8000, 1), np.float32),
        sample_rate_hz=8000,
    )
    video = open_video(path, purpose="a test")
    assert [w.is_silent for w in read_windows(video, _form(5), hop_frames=5)] == [True, True]


@pytest.mark.parametrize("seed", range(8))
def test_a_tape_gives_what_a_whole_array_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.standard_normal((2, 400)).astype(np.float32)
    cuts = np.sort(rng.integers(0, 400, 9))
    tape = SoundTape(np.split(whole, cuts, axis=1))
    first = -30
    for _ in range(15):
        count = int(rng.integers(0, 90))
        cut, (low, high) = tape.cut(first, count)
        wanted = np.zeros((2, count), np.float32)
        places = np.arange(first, first + count)
        there = (places >= 0) & (places < 400)
        wanted[:, there] = whole[:, places[there]]
        np.testing.assert_array_equal(cut, wanted)
        assert there[low:high].all() and there.sum() == high - low
        first += int(rng.integers(0, 60))


@dataclass(frozen=True)
class _Clip:
    clip_frames: int = 4
    fps: float = 8.0
    crop_px: int = 64
    sound_rate_hz: int = 8000
    num_samples: int = 4000


@pytest.mark.parametrize(
    ("size", "keeps_aspect", "wanted"),
    [
        ((1280, 720), False, (64, 64)),
        ((1280, 720), True, (112, 64)),
        ((360, 640), True, (64, 112)),
        ((100, 100), True, (64, 64)),
        ((2000, 100), True, (256, 64)),
    ],
)
def test_pictures_are_whole_and_squashed_or_not(
    counted: Path, size: tuple[int, int], keeps_aspect: bool, wanted: tuple[int, int]
) -> None:
    from dataclasses import replace

    video = replace(open_video(counted, purpose="a test"), width_px=size[0], height_px=size[1])
    form = clip_form(_Clip(), video, keeps_aspect=keeps_aspect)
    assert (form.width_px, form.height_px) == wanted
    assert form.clip_s == 0.5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing.mp4", "missing.mp4 is missing; give one video file"),
        (".", "is a folder; give one video file"),
        ("text.mp4", r"text.mp4 cannot be used: .*\((format_not_allowed|not_media)\)"),
        ("mute.mp4", "mute.mp4 has no sound, a test needs pictures and sound"),
        ("dark.wav", "dark.wav has no pictures, a test needs pictures and sound"),
    ],
)
def test_files_that_are_no_videos_with_sound(name: str, text: str, tmp_path: Path) -> None:
    import soundfile

    (tmp_path / "text.mp4").write_text("no video")
    soundfile.write(tmp_path / "dark.wav", np.zeros(800), 8000)
    frames = [np.zeros((32, 32, 3), np.uint8)] * 3
    write_movie(
        tmp_path / "mute.mp4",
        frames=frames,
        frame_times_s=None,
        fps=Fraction(10),
        sound=None,
        sample_rate_hz=8000,
    )
    with pytest.raises(VideoError, match=text):
        open_video(tmp_path / name, purpose="a test")
