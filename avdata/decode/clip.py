"""One decoded clip: stored frames, stored sound, and what was measured on the way."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from avdata.frame_clock import FrameClock
from avdata.picture_color import StatedColor

Gaps = tuple[tuple[float, float], ...]
"""Spans of time [start, end) in seconds."""


def cut_to(gaps_s: Iterable[tuple[float, float]], start_s: float, end_s: float) -> Gaps:
    """The parts of spans that lie in [start_s, end_s)."""
    cut = ((max(start, start_s), min(end, end_s)) for start, end in gaps_s)
    return tuple((start, end) for start, end in cut if end > start)


def joined(gaps_s: Iterable[tuple[float, float]]) -> Gaps:
    """The same spans in order, those that overlap or touch made one."""
    out: list[tuple[float, float]] = []
    for start, end in sorted(gaps_s):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return tuple(out)


def total_s(gaps_s: Gaps) -> float:
    """Length of spans that do not overlap."""
    return sum(end - start for start, end in gaps_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedFrames:
    """The frames of a clip as they are stored; see `avdata.schema.FRAME_CODECS`."""

    data: bytes
    """The first member."""
    index: np.ndarray
    """The second member."""
    offsets: list[int]
    """Byte offsets of the frames in `data`, one more than frames; empty for codec copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureVerdicts:
    """What the stored pictures look like."""

    still_fraction: float | None
    """Share of neighboring stored pictures between which nothing moves."""
    black_frames: np.ndarray
    """bool (t,): the stored frame is black."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoFacts:
    """What was found in a video stream, and the stored frames."""

    frames: EncodedFrames
    fps: float
    """Stored frames a second."""
    frame_times_s: np.ndarray
    """float64 (t,): media-clock time of the picture behind each stored frame."""
    verdicts: PictureVerdicts | None
    """None when the pictures were not decoded."""
    width_px: int
    height_px: int
    stream_index: int
    native_width_px: int
    native_height_px: int
    native_fps: float | None
    """None where there is one frame and no stated rate."""
    native_jitter_s: float
    clock: FrameClock
    """Source of the times of the frames."""
    num_dropped: int | None
    """Decoded frames of the clip without a time of their own; None when nothing was decoded."""
    num_corrupt: int | None
    """Decoded frames of the clip that the decoder flags as corrupt or concealed; likewise."""
    pixel_aspect: float
    rotation_deg: int
    mirrored: bool
    interlaced: bool
    color: StatedColor
    codec: str
    start_s: float
    end_s: float
    """Where the pictures of the span start and end, on the media clock."""

    @property
    def num_frames(self) -> int:
        return len(self.frame_times_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AudioFacts:
    """What was found in an audio stream."""

    stream_index: int
    native_sample_rate_hz: int
    native_channels: int
    native_layout: str
    ambisonic_form: str | None
    """The form of ambisonics that the stored audio is made of; None for loudspeakers."""
    codec: str
    num_forms: int
    """Runs of one sample rate and channel layout in the clip."""
    clipping_fraction: float
    dual_mono: bool | None
    mono_loss_db: float | None
    start_s: float
    end_s: float
    """Where the sound of the span starts and ends, on the media clock."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedClip:
    """One clip, ready to be stored. Times are on the media clock."""

    start_s: float
    end_s: float
    coverage: float
    padded_start_s: float
    padded_end_s: float
    truncated: bool
    video: VideoFacts | None
    audio: AudioFacts | None
    samples: np.ndarray | None
    """int16 (c, n) at the stored rate; silence where the medium has no sound and that is allowed.
    None when no sound is wanted."""
    num_bad_packets: int
    num_skipped_packets: int
    frame_gaps_s: Gaps
    audio_gaps_s: Gaps
    """[start, end) on the media clock of what the file lacks inside the clip."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def gaps_s(self) -> Gaps:
        """Spans that frames or audio lack inside the clip, in order and without overlap."""
        return joined((*self.frame_gaps_s, *self.audio_gaps_s))

    @property
    def av_offset_s(self) -> float | None:
        """First sound minus first picture of the span; None where one of them is not there."""
        if self.video is None or self.audio is None:
            return None
        return self.audio.start_s - self.video.start_s

    def __repr__(self) -> str:
        frames = self.video.num_frames if self.video else 0
        sound = self.samples.shape if self.samples is not None else None
        return f"DecodedClip([{self.start_s:.3f}, {self.end_s:.3f}) s, {frames=}, {sound=})"
