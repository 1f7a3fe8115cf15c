"""A media file opened for decoding: which streams count, and the packets of a span of time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from avdata.config import LimitsConfig
from avdata.errors import FailureReason, MediaError

ATTACHED_PICTURE = 0x400
"""`AV_DISPOSITION_ATTACHED_PIC`: cover art."""
DEFAULT_TRACK = 0x1
"""`AV_DISPOSITION_DEFAULT`."""
SEEKABLE_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})
"""Containers with an index that a seek may trust; others are read from their start."""
SEEK_BEYOND_S = 5.0
PREROLL_S = 1.0
"""Read this much before a span, so that audio decoders have settled."""
CLOCK_UNIT = 1_000_000
"""`AV_TIME_BASE`."""


AnyStream = TypeVar("AnyStream", VideoStream, AudioStream)


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """The container of `path`; only local files are ever opened.

    Raises:
        MediaError: It is no media file, or a fault of its form comes up while it is read.
    """
    try:
        container = av.open(
            str(path), options={"protocol_whitelist": "file"}, metadata_errors="ignore"
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(FailureReason.NOT_MEDIA, f"cannot be opened: {_text(error)}") from None
    with container:
        yield container


def pick_video(container: InputContainer, limits: LimitsConfig) -> VideoStream:
    """The video stream that a player would show: flagged default, else the first; no cover art.

    Raises:
        MediaError: There is none, no decoder knows it, or its pictures are larger than `limits`.
    """
    stream = _pick(container, container.streams.video, "video")
    if stream.width * stream.height > limits.max_pixels:
        raise MediaError(
            FailureReason.TOO_MANY_PIXELS,
            f"pictures of {stream.width}x{stream.height}; limits.max_pixels={limits.max_pixels}",
        )
    return stream


def pick_audio(container: InputContainer, limits: LimitsConfig) -> AudioStream:
    """The audio stream that a player would play: flagged default, else the first.

    Raises:
        MediaError: There is none, no decoder knows it, or it has more channels than `limits`.
    """
    stream = _pick(container, container.streams.audio, "audio")
    if stream.channels > limits.max_channels:
        raise MediaError(
            FailureReason.TOO_MANY_CHANNELS,
            f"{stream.channels} audio channels; limits.max_channels={limits.max_channels}",
        )
    return stream


def _pick(
    container: InputContainer, streams: Sequence[AnyStream], kind: Literal["video", "audio"]
) -> AnyStream:
    candidates = [s for s in streams if not int(s.disposition) & ATTACHED_PICTURE]
    if not candidates:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        reason = FailureReason.NO_VIDEO if kind == "video" else FailureReason.NO_AUDIO
        raise MediaError(reason, f"no {kind} stream; the file holds {kinds}")
    flagged = [s for s in candidates if int(s.disposition) & DEFAULT_TRACK]
    stream = (flagged or candidates)[0]
    if stream.codec_context is None:
        reason = FailureReason(f"{kind}_undecodable")
        raise MediaError(reason, f"no decoder for {kind} stream {stream.index}")
    # one thread: the builder has a process a core, and frame threads cost 13-19 % more CPU
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Part of a medium, on its media clock."""

    origin_s: float
    """What listed times count from."""
    start_s: float
    end_s: float
    """Infinite when the listing names no end."""


def media_span(container: InputContainer, start_s: float | None, end_s: float | None) -> Span:
    """Listed seconds on the media clock."""
    stated = (container.start_time or 0) / CLOCK_UNIT
    origin = max(stated, 0.0)
    return Span(
        origin_s=origin,
        start_s=origin + (start_s or 0.0),
        end_s=float("inf") if end_s is None else origin + end_s,
    )


@dataclass(kw_only=True, slots=True)
class SpanPackets:
    """Compressed packets that a span may need, in file order."""

    video: list[Packet] = field(default_factory=list)
    audio: list[Packet] = field(default_factory=list)
    read_error: str | None = None
    """Why reading stopped before the end, if it did."""


def read_packets(
    container: InputContainer, video: Stream | None, audio: Stream | None, span: Span, stop_s: float
) -> SpanPackets:
    """One demux pass over the span, both streams together.

    A stream is done when its decoding times pass `stop_s`: no later packet is shown before it.
    """
    streams = [stream for stream in (video, audio) if stream is not None]
    _seek(container, streams, span)
    out = SpanPackets()
    open_streams = {stream.index for stream in streams}
    try:
        for packet in container.demux(*streams):
            if not packet.size:
                continue
            if packet.dts is not None and float(packet.dts * packet.time_base) >= stop_s:
                open_streams.discard(packet.stream_index)
                if not open_streams:
                    break
                continue
            is_video = video is not None and packet.stream_index == video.index
            (out.video if is_video else out.audio).append(packet)
    except (av.FFmpegError, OSError, ValueError) as error:
        out.read_error = _text(error)
    return out


def _seek(container: InputContainer, streams: list[Stream], span: Span) -> None:
    target_s = span.start_s - PREROLL_S
    formats = set(container.format.name.split(","))
    if span.start_s - span.origin_s <= SEEK_BEYOND_S or not formats & SEEKABLE_FORMATS:
        return
    try:
        container.seek(int(target_s * CLOCK_UNIT), backward=True, any_frame=False)
        first_s = next(
            (float(p.pts * p.time_base) for p in container.demux(*streams) if p.pts is not None),
            span.end_s,
        )
        if first_s <= span.start_s:
            container.seek(int(target_s * CLOCK_UNIT), backward=True, any_frame=False)
            return
    except (av.FFmpegError, OSError):
        pass  # an index that cannot be used: read from the start
    container.seek(0, backward=True, any_frame=False)


def is_reference(packet: Packet, length_bytes: int) -> bool:
    """Whether another picture may be predicted from an H.264 packet (nal_ref_idc is not 0)."""
    data, at = memoryview(cast(bytes, packet)), 0
    while at + length_bytes < len(data):
        header = data[at + length_bytes]
        if header & 31 in (1, 5):
            return header >> 5 & 3 != 0
        at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
    return True


def nal_length_bytes(stream: Stream) -> int:
    """Bytes of a NAL unit's length field in an H.264 stream of the avcC form, else 0."""
    context = stream.codec_context
    extradata = context.extradata
    if context.name != "h264" or not extradata or len(extradata) < 5 or extradata[0] != 1:
        return 0
    return (extradata[4] & 3) + 1


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def media_duration_s(path: Path) -> float | None:
    """Duration that the container claims; None when it claims none.

    Raises:
        MediaError: It is no media file.
    """
    with open_media(path) as container:
        return None if container.duration is None else container.duration / CLOCK_UNIT
