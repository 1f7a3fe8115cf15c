"""Where the video clip and the audio window of a pair lie in a sample.

Times are seconds of the clip clock (`avdata.schema`)::

    audio            a0 |---------- window_s ----------| a0 + window_s
    video     v0 |-- clip_s --| ......................... |-- clip_s --|
              ^ at the earliest a0 - max_offset_s         at the latest, up to + max_offset_s ^

Departures from the published code: a video clip always lies within the sample (there it may start
at its very end and come out short); the sound of a sample shorter than the window is padded at its
end with silence (there such samples are never trained).
"""

from dataclasses import dataclass

import numpy as np

from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PairWindow:
    """Where the two parts of a view start."""

    audio_start_s: float
    video_start_s: float


def draw_pair_window(
    rng: np.random.Generator,
    *,
    video: VideoViewConfig,
    audio: AudioViewConfig,
    video_duration_s: float,
    audio_duration_s: float,
) -> PairWindow:
    """Audio start uniform where both fit, then video start uniform around the audio window.

    A part that is longer than the sample starts at 0.
    """
    last_video_start_s = max(video_duration_s - video.clip_s, 0.0)
    last_audio_start_s = min(max(audio_duration_s - audio.window_s, 0.0), last_video_start_s)
    audio_start_s = last_audio_start_s * rng.random()
    earliest = max(audio_start_s - video.max_offset_s, 0.0)
    latest = audio_start_s + audio.window_s + video.max_offset_s - video.clip_s
    latest = max(min(latest, last_video_start_s), earliest)
    return PairWindow(
        audio_start_s=audio_start_s,
        video_start_s=earliest + (latest - earliest) * rng.random(),
    )


def even_pair_windows(
    num_windows: int,
    *,
    video: VideoViewConfig,
    audio: AudioViewConfig,
    video_duration_s: float,
    audio_duration_s: float,
) -> list[PairWindow]:
    """Evenly spaced audio windows over the whole sample, each with a video clip in its middle."""
    last_video_start_s = max(video_duration_s - video.clip_s, 0.0)
    last_audio_start_s = min(max(audio_duration_s - audio.window_s, 0.0), last_video_start_s)
    windows = []
    for i in range(num_windows):
        share = i / (num_windows - 1) if num_windows > 1 else 0.5
        start_s = share * last_audio_start_s
        middle_s = start_s + (audio.window_s - video.clip_s) / 2
        windows.append(
            PairWindow(
                audio_start_s=start_s,
                video_start_s=min(max(middle_s, 0.0), last_video_start_s),
            )
        )
    return windows
