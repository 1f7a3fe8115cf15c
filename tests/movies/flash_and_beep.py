"""Movies whose flashes and beeps belong together, in every form that tears them apart elsewhere."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from avdata.synthetic.movie import write_movie

RATE_HZ = 44100
DURATION_S = 5.0
EVENTS_S = (1.031, 2.217, 3.402)
FLASH_S = 0.15
BEEP_S = 0.06


@dataclass(frozen=True)
class Movie:
    suffix: str = ".mp4"
    fps: Fraction = Fraction(30)
    uneven: bool = False
    bframes: int = 0
    audio_start_s: float = 0.0
    video_start_s: float = 0.0
    beep_delay_s: float = 0.0
    """Of the beeps after their flashes, whatever the streams' starts are."""


MOVIES = {
    "30 fps": Movie(),
    "29.97 fps": Movie(fps=Fraction(30000, 1001)),
    "7 fps": Movie(fps=Fraction(7)),
    "variable rate": Movie(uneven=True),
    "B-frames": Movie(bframes=3),
    "B-frames, 29.97 fps, late audio": Movie(
        fps=Fraction(30000, 1001), bframes=3, audio_start_s=0.4
    ),
    "late audio": Movie(audio_start_s=0.7),
    "late video": Movie(uneven=True, video_start_s=0.6),
    "mov": Movie(suffix=".mov", bframes=2, audio_start_s=0.3),
    "mkv": Movie(suffix=".mkv", bframes=2, audio_start_s=0.3),
    "webm": Movie(suffix=".webm", audio_start_s=0.3),
    "avi": Movie(suffix=".avi", fps=Fraction(25), audio_start_s=0.3),
    "ts": Movie(suffix=".ts", bframes=2, audio_start_s=0.3),
}


def frame_times_s(movie: Movie) -> np.ndarray:
    if not movie.uneven:
        return np.arange(round(DURATION_S * movie.fps)) / float(movie.fps)
    gaps = np.random.default_rng(0).uniform(0.01, 0.07, 200)
    times = np.concatenate([[0.0], np.cumsum(gaps)]) + movie.video_start_s
    return times[times < DURATION_S]


def make(path: Path, movie: Movie) -> Path:
    path = path.with_suffix(movie.suffix)
    times = frame_times_s(movie)
    lit = [any(t <= s < t + FLASH_S for t in EVENTS_S) for s in times]
    sound = np.zeros((round((DURATION_S - movie.audio_start_s) * RATE_HZ), 1), np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(round(BEEP_S * RATE_HZ)) / RATE_HZ)
    for t in EVENTS_S:
        first = round((t + movie.beep_delay_s - movie.audio_start_s) * RATE_HZ)
        sound[first : first + len(tone), 0] = tone
    write_movie(
        path,
        frames=(np.full((64, 96, 3), 235 if on else 16, np.uint8) for on in lit),
        frame_times_s=times.tolist() if movie.uneven else None,
        fps=movie.fps,
        sound=sound,
        sample_rate_hz=RATE_HZ,
        audio_start_s=movie.audio_start_s,
        bframes=movie.bframes,
    )
    return path
