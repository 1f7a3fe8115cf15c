"""Decode one clip with PyAV: both streams in one demux pass on one clock, cut by timestamps.

::

    media clock    video   |----------------------------|
                   audio      |------------------------------|
    listed span         [.....................................)
    stored clip               |-------------------------|        where both are and the listing asks

H.264 pictures that no stored frame needs and no other picture refers to are not decoded; the
stored ones stay bit-exact.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from avdata.config import LimitsConfig
from avdata.decode.grid import GridPicker, nearest_times
from avdata.decode.media import (
    Span,
    is_reference,
    media_span,
    nal_length_bytes,
    open_media,
    pick_audio,
    pick_video,
    read_packets,
)
from avdata.decode.picture import PictureEncoder
from avdata.decode.sound import Waveform, WaveformBuilder, to_stored
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec

MAX_LAST_FRAME_S = 1.0
"""The last picture of a stream is taken to be shown at most this long."""
GRID_SLACK = 1e-3
"""A stored frame may lack this share of its duration at the clip's end."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoFacts:
    """What was decoded of a video stream, and the stored frames."""

    jpegs: list[bytes]
    frame_times_s: np.ndarray
    """float64: media-clock time of the picture behind each stored frame."""
    width_px: int
    height_px: int
    native_width_px: int
    native_height_px: int
    native_fps: float
    rotation_deg: int
    codec: str
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AudioFacts:
    """What was decoded of an audio stream, and the stored samples."""

    samples: np.ndarray
    """int16 (c, n) at the stored rate."""
    native_sample_rate_hz: int
    native_channels: int
    codec: str
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedClip:
    """One clip, ready to be stored. Times are on the media clock."""

    start_s: float
    end_s: float
    video: VideoFacts | None
    audio: AudioFacts | None
    num_bad_packets: int

    @property
    def av_offset_s(self) -> float | None:
        """First sound minus first picture of the span; None where one of them is not wanted."""
        if self.video is None or self.audio is None:
            return None
        return self.audio.start_s - self.video.start_s

    def __repr__(self) -> str:
        frames = len(self.video.jpegs) if self.video else 0
        sound = self.audio.samples.shape if self.audio else None
        return f"DecodedClip([{self.start_s:.3f}, {self.end_s:.3f}) s, {frames=}, {sound=})"


def decode_clip(
    path: Path,
    *,
    start_s: float | None,
    end_s: float | None,
    video: VideoSpec | None,
    audio: AudioSpec | None,
    clips: ClipsSpec,
    limits: LimitsConfig,
) -> DecodedClip:
    """The span [start_s, end_s) of `path`, as far as every wanted stream holds it.

    Args:
        path: A local media file.
        start_s: Seconds from the medium's start; None is its start.
        end_s: None is its end.
        video: How to store pictures; None when none are wanted. Likewise `audio`.
        clips: How short a clip may be, and how much of the listed span it must hold.
        limits: What the medium may ask of the machine.

    Raises:
        MediaError: With the reason why there is no clip.
    """
    with open_media(path) as container:
        return _Decoding(container, start_s, end_s, video, audio, clips, limits).run()


class _Decoding:
    """The state of one `decode_clip`."""

    def __init__(
        self,
        container: InputContainer,
        start_s: float | None,
        end_s: float | None,
        video: VideoSpec | None,
        audio: AudioSpec | None,
        clips: ClipsSpec,
        limits: LimitsConfig,
    ) -> None:
        self.container, self.clips, self.limits = container, clips, limits
        self.video_spec, self.audio_spec = video, audio
        self.listed_s = None if end_s is None else end_s - (start_s or 0.0)
        self.video = pick_video(container, limits) if video else None
        self.audio = pick_audio(container, limits) if audio else None
        self.span: Span = media_span(container, start_s, end_s)
        self.num_bad_packets = 0

    def run(self) -> DecodedClip:
        if self.listed_s is not None and self.listed_s > self.limits.max_duration_s:
            raise self._too_long(f"the listed span is {self.listed_s:.1f} s")
        stop_s = min(self.span.end_s, self.span.start_s + self.limits.max_duration_s + 1)
        packets = read_packets(self.container, self.video, self.audio, self.span, stop_s)
        self.num_bad_packets = int(packets.read_error is not None)
        for kind in (packets.video, packets.audio):
            last_s = max(_packet_times_s(kind), default=self.span.start_s)
            if last_s - self.span.start_s > self.limits.max_duration_s:
                raise self._too_long(f"there are {last_s - self.span.start_s:.1f} s or more")
        wave = self._decode_audio(packets.audio) if self.audio else None
        start_s, end_s = self.span.start_s, self.span.end_s
        if wave is not None:
            start_s, end_s = max(start_s, wave.start_s), min(end_s, wave.end_s)
            self._check_overlap(start_s, end_s, "sound", wave.start_s, wave.end_s)
        video = None
        if self.video is not None:
            video, start_s, end_s = self._decode_video(packets.video, start_s, end_s)
        duration_s = end_s - start_s
        self._check_duration(duration_s)
        return DecodedClip(
            start_s=start_s,
            end_s=end_s,
            video=video,
            audio=self._store_audio(wave, start_s, duration_s) if wave else None,
            num_bad_packets=self.num_bad_packets,
        )

    # sound

    def _decode_audio(self, packets: list[Packet]) -> Waveform:
        assert self.audio is not None
        builder = WaveformBuilder()
        bad = 0
        for frame in self._decoded(self.audio, packets):
            if frame is None:
                bad += 1
            else:
                builder.add(frame)
        wave = builder.finish()
        if wave is None:
            raise MediaError(
                FailureReason.AUDIO_UNDECODABLE if packets else FailureReason.OUTSIDE_MEDIA,
                f"none of {len(packets)} audio packets of the span decodes"
                if packets
                else self._outside("the audio stream has no packet there"),
            )
        self._check_bad(bad, len(packets), "audio")
        return wave

    def _store_audio(self, wave: Waveform, start_s: float, duration_s: float) -> AudioFacts:
        assert self.audio is not None and self.audio_spec is not None
        return AudioFacts(
            samples=to_stored(
                wave,
                self.audio_spec,
                start_s=start_s,
                num_samples=round(duration_s * self.audio_spec.sample_rate_hz),
            ),
            native_sample_rate_hz=wave.sample_rate_hz,
            native_channels=len(wave.channel_names),
            codec=self.audio.codec_context.name,
            start_s=max(wave.start_s, self.span.start_s),
            end_s=min(wave.end_s, self.span.end_s),
        )

    # pictures

    def _decode_video(
        self, packets: list[Packet], start_s: float, end_s: float
    ) -> tuple[VideoFacts, float, float]:
        """Stored frames, and the clip's start and end."""
        assert self.video is not None and self.video_spec is not None
        if not packets:
            raise MediaError(
                FailureReason.OUTSIDE_MEDIA, self._outside("the video stream has no packet there")
            )
        fps = self.video_spec.fps
        encoder = PictureEncoder(
            self.video_spec, pixel_aspect=self.video.codec_context.sample_aspect_ratio
        )
        picker: GridPicker[av.VideoFrame, bytes] = GridPicker(fps=fps, store=encoder.encode)
        skippable = self._skippable(packets, start_s, end_s)
        gap_s = _typical_gap_s(packets)
        times: list[float] = []
        bad = 0
        native = (0, 0)
        for frame in self._decoded(
            self.video, [p for i, p in enumerate(packets) if i not in skippable]
        ):
            if frame is None:
                bad += 1
                continue
            # frames that a flush brings out carry no time base
            time_s = _time_s(frame.pts, frame.time_base or self.video.time_base)
            if time_s is None:
                time_s = times[-1] + gap_s if times else start_s
            if not times:
                start_s = max(start_s, time_s)
                picker.start(start_s)
                native = (frame.width, frame.height)
            times.append(time_s)
            picker.push(frame, time_s, limit_s=end_s - GRID_SLACK / fps)
        if not times:
            raise MediaError(
                FailureReason.VIDEO_UNDECODABLE,
                f"none of {len(packets)} video packets of the span decodes",
            )
        self._check_bad(bad, len(packets), "video")
        shown_until_s = max(max(times) + gap_s, _last_end_s(packets, max(times)))
        end_s = min(end_s, shown_until_s)
        self._check_overlap(start_s, end_s, "pictures", times[0], shown_until_s)
        picker.finish(end_s - GRID_SLACK / fps)
        count = math.floor((end_s - start_s) * fps + GRID_SLACK)
        end_s = start_s + count / fps
        return (
            VideoFacts(
                jpegs=picker.stored[:count],
                frame_times_s=np.array(picker.times_s[:count]),
                width_px=encoder.width_px,
                height_px=encoder.height_px,
                native_width_px=native[0],
                native_height_px=native[1],
                native_fps=_mean_fps(packets, times),
                rotation_deg=encoder.rotation_deg,
                codec=self.video.codec_context.name,
                start_s=max(times[0], self.span.start_s),
                end_s=min(shown_until_s, self.span.end_s),
            ),
            start_s,
            end_s,
        )

    def _skippable(self, packets: list[Packet], start_s: float, end_s: float) -> set[int]:
        """Indices of H.264 packets that are neither shown nor referred to."""
        assert self.video is not None and self.video_spec is not None
        length_bytes = nal_length_bytes(self.video)
        kept = ((i, p) for i, p in enumerate(packets) if not p.is_discard)
        timed = [(_time_s(p.pts, p.time_base), i) for i, p in kept]
        shown = sorted((time_s, i) for time_s, i in timed if time_s is not None)
        if not length_bytes or not shown or len(shown) != len(timed):
            return set()
        times = [time_s for time_s, _ in shown]
        start_s = max(start_s, times[0])
        seconds = min(end_s, times[-1] + MAX_LAST_FRAME_S) - start_s
        count = max(0, math.ceil(seconds * self.video_spec.fps) + 1)
        picks = nearest_times(times, start_s, self.video_spec.fps, count)
        # first and last stay: the clip's ends are measured on them
        needed = {shown[i][1] for i in picks} | {shown[0][1], shown[-1][1]}
        return {
            i
            for i, packet in enumerate(packets)
            if i not in needed and not is_reference(packet, length_bytes)
        }

    # both

    def _decoded(self, stream: VideoStream | AudioStream, packets: list[Packet]) -> Iterator[Any]:
        """Frames in order of time; None for a packet that fails to decode."""
        for packet in packets:
            try:
                yield from packet.decode()
            except (av.FFmpegError, ValueError):
                yield None
        try:
            yield from stream.codec_context.decode(None)
        except (av.FFmpegError, ValueError):
            yield None

    def _check_bad(self, bad: int, total: int, kind: str) -> None:
        self.num_bad_packets += bad
        allowed = self.limits.max_bad_packet_fraction
        if bad > allowed * total:
            raise MediaError(
                FailureReason.CORRUPT,
                f"{bad} of {total} {kind} packets fail to decode; "
                f"limits.max_bad_packet_fraction={allowed}",
            )

    def _check_overlap(
        self, start_s: float, end_s: float, what: str, has_start_s: float, has_end_s: float
    ) -> None:
        if start_s >= end_s:
            raise MediaError(
                FailureReason.OUTSIDE_MEDIA,
                self._outside(f"{what} last from {has_start_s:.3f} to {has_end_s:.3f} s"),
            )

    def _outside(self, seen: str) -> str:
        end = "its end" if math.isinf(self.span.end_s) else f"{self.span.end_s:.3f} s"
        return f"nothing to store from {self.span.start_s:.3f} s to {end} of the medium: {seen}"

    def _check_duration(self, duration_s: float) -> None:
        if duration_s > self.limits.max_duration_s:
            raise self._too_long(f"the clip lasts at least {duration_s:.1f} s")
        if duration_s < self.clips.min_duration_s:
            raise MediaError(
                FailureReason.TOO_SHORT,
                f"{duration_s:.3f} s hold all that is wanted; "
                f"clips.min_duration_s={self.clips.min_duration_s}",
            )
        if self.listed_s and duration_s < self.clips.min_coverage * self.listed_s - GRID_SLACK:
            raise MediaError(
                FailureReason.NOT_COVERED,
                f"{duration_s:.3f} s of the {self.listed_s:.3f} s listed are there; "
                f"clips.min_coverage={self.clips.min_coverage}",
            )

    def _too_long(self, seen: str) -> MediaError:
        return MediaError(
            FailureReason.TOO_LONG,
            f"{seen}; limits.max_duration_s={self.limits.max_duration_s}",
        )


def _time_s(pts: int | None, time_base: Fraction | None) -> float | None:
    return None if pts is None or time_base is None else float(pts * time_base)


def _packet_times_s(packets: list[Packet]) -> list[float]:
    times = (_time_s(p.pts, p.time_base) for p in packets if not p.is_discard)
    return sorted({t for t in times if t is not None})


def _typical_gap_s(packets: list[Packet]) -> float:
    """Median distance of pictures; the packets' own duration where there is just one."""
    times = _packet_times_s(packets)
    if len(times) > 1:
        return median(b - a for a, b in pairwise(times))
    stated = [float(p.duration * p.time_base) for p in packets if p.duration]
    return min(stated[0], MAX_LAST_FRAME_S) if stated else 0.0


def _last_end_s(packets: list[Packet], last_s: float) -> float:
    """Until when the picture at `last_s` is shown by its packet's own duration."""
    ends = [
        float((p.pts + p.duration) * p.time_base)
        for p in packets
        if p.pts is not None and p.duration and abs(float(p.pts * p.time_base) - last_s) < 1e-6
    ]
    return min(max(ends, default=last_s), last_s + MAX_LAST_FRAME_S)


def _mean_fps(packets: list[Packet], decoded_s: list[float]) -> float:
    times = _packet_times_s(packets)
    times = times if len(times) > 1 else decoded_s
    spread = times[-1] - times[0]
    return (len(times) - 1) / spread if spread > 0 else 0.0
