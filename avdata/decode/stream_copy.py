"""A clip's video packets as they are, in a Matroska file: for those who decode at training time."""

import bisect
import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from avdata.decode.clip import EncodedFrames
from avdata.decode.media import fault_text
from avdata.decode.packets import StreamPackets
from avdata.errors import FailureReason, MediaError


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyRange:
    """Which packets a clip needs: file order, [first, stop)."""

    first: int
    """The key frame from which the first picture can be decoded."""
    stop: int


def copy_ranges(packets: StreamPackets, start_s: float, end_s: float) -> list[CopyRange]:
    """Packets from a key frame before `start_s` to the last picture before `end_s`, best first.

    The best is the latest key frame; earlier ones are for files that mark others as key frames.

    Raises:
        MediaError: No key frame leads to the first picture.
    """
    times = [time_s for time_s, _ in packets.shown]
    at = max(bisect.bisect_right(times, start_s) - 1, 0)
    wanted = [index for time_s, index in packets.shown[at:] if time_s < end_s]
    # a key frame leads on to what is shown from it on; open groups also hold earlier pictures
    leads = [
        i
        for i, packet in enumerate(packets.packets[: wanted[0] + 1])
        if packet.is_keyframe and (packets.times_s[i] or 0.0) <= packets.shown[at][0]
    ]
    if not leads:
        raise MediaError(
            FailureReason.NOT_COPYABLE,
            f"no key frame before {packets.shown[at][0]:.3f} s: the clip cannot be decoded from "
            "its packets alone",
        )
    return [CopyRange(first=first, stop=max(wanted) + 1) for first in reversed(leads)]


def first_key_s(packets: StreamPackets) -> float:
    """Time of the first picture that can be decoded: that of the first key frame.

    Raises:
        MediaError: There is no key frame.
    """
    keys = [time_s for time_s, i in packets.shown if packets.packets[i].is_keyframe]
    if not keys:
        raise MediaError(
            FailureReason.NOT_COPYABLE,
            "none of the span's packets is a key frame: they cannot be decoded alone; use "
            "video.codec='jpeg' or 'h264'",
        )
    return keys[0]


def copied_frames(
    stream: VideoStream,
    packets: StreamPackets,
    which: CopyRange,
    *,
    times_s: list[float],
    start_s: float,
) -> EncodedFrames:
    """The packets as a Matroska file whose time 0 is that of its first packet.

    Args:
        times_s: Of the frames that they bring out. Frames before an edit list's start come on top:
            the copy has no edit list.
        start_s: Of the clip.

    Raises:
        MediaError: Matroska cannot hold this codec.
    """
    chosen = packets.packets[which.first : which.stop]
    pts = [packet.pts for packet in chosen if packet.pts is not None]
    if len(pts) < len(chosen):
        raise _cannot_copy(stream, "packets without a time")
    file = io.BytesIO()
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    try:
        with av.open(file, "w", format="matroska", container_options=options) as container:
            track = _new_track(container, stream)
            for packet, shown_at, decoded_at in zip(chosen, *_from_zero(pts), strict=True):
                copy = av.Packet(bytes(packet))
                copy.time_base, copy.stream = packet.time_base, track
                copy.is_keyframe, copy.duration = packet.is_keyframe, packet.duration
                copy.pts, copy.dts = shown_at, decoded_at
                container.mux(copy)
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except (av.FFmpegError, ValueError) as error:
        raise _cannot_copy(stream, fault_text(error)) from None
    stated = packets.times_s[which.first : which.stop]
    led_in = [
        time_s
        for time_s, packet in zip(stated, chosen, strict=True)
        if time_s is not None and (packet.is_discard or time_s < times_s[0])
    ]
    times = sorted({*times_s, *led_in})
    return EncodedFrames(data=file.getvalue(), index=np.array(times) - start_s, offsets=[])


def _new_track(container: OutputContainer, stream: VideoStream) -> Stream:
    try:
        return container.add_stream_from_template(stream, opaque=False)
    except UnknownCodecError:  # FFmpeg reads this codec and does not write it
        size = {"width": stream.width, "height": stream.height}
        name = stream.codec_context.codec.canonical_name
        return container.add_mux_stream(name, rate=stream.average_rate, **size)


def _from_zero(pts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Times of showing, from 0 on, and rising times of decoding that are never later."""
    in_order = sorted(pts)
    delay = max(shown - own for shown, own in zip(in_order, pts, strict=True))
    first = in_order[0]
    return [t - first for t in pts], [t - first - delay for t in in_order]


def _cannot_copy(stream: VideoStream, why: str) -> MediaError:
    return MediaError(
        FailureReason.NOT_COPYABLE,
        f"packets of {stream.codec_context.name} cannot be copied into Matroska: {why}; use "
        "video.codec='jpeg' or 'h264'",
    )
