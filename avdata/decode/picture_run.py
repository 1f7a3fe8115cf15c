"""One pass of the decoder over the video packets of a clip: those pictures that the grid shows."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from avdata.decode.coverage import ClipSpan
from avdata.decode.frame_stores import ClipFrames
from avdata.decode.grid import GridPicker, nearest_times
from avdata.decode.packets import StreamPackets, unneeded_packets
from avdata.errors import FailureReason, MediaError

GRID_SLACK = 1e-3
"""A stored frame may lack this share of its duration at the clip's end."""


class PictureRun:
    """One pass of the decoder over the packets of a clip."""

    def __init__(
        self,
        stream: VideoStream,
        packets: StreamPackets,
        clip: ClipSpan,
        *,
        frames: ClipFrames,
        fps: float,
        skip: bool,
    ) -> None:
        """Decode all that is needed, into `frames`.

        Args:
            skip: Leave out pictures that are neither shown nor referred to.

        Raises:
            MediaError: No picture decodes, or one cannot be stored.
        """
        self.frames = frames
        self.picker: GridPicker[av.VideoFrame] = GridPicker(
            start_s=clip.start_s, fps=fps, store=frames
        )
        self.times: list[float] = []
        """Of the decoded pictures, in seconds on the media clock."""
        self.bad = 0
        """Packets that failed to decode."""
        self.native = (0, 0)
        """Width and height of the first picture."""
        skipped = _skippable(stream, packets, clip, fps) if skip else set()
        limit_s = clip.end_s - GRID_SLACK / fps
        assert stream.time_base is not None
        ticks, ticks_per_s = stream.time_base.numerator, stream.time_base.denominator
        gap_s = packets.typical_gap_s()
        sent = [p for i, p in enumerate(packets.packets) if i not in skipped]
        for frame in decoded(stream, sent):
            if frame is None:
                self.bad += 1
                continue
            # the stream's time base: frames that a flush brings out carry none of their own
            pts = frame.pts
            if pts is not None:
                time_s = pts * ticks / ticks_per_s
            else:
                time_s = self.times[-1] + gap_s if self.times else clip.start_s
            if not self.times:
                self.native = (frame.width, frame.height)
            self.times.append(time_s)
            self.picker.push(frame, time_s, limit_s=limit_s)
        if not self.times:
            raise MediaError(
                FailureReason.VIDEO_UNDECODABLE,
                f"none of {len(packets)} video packets of the span decodes",
            )


def _skippable(stream: VideoStream, packets: StreamPackets, clip: ClipSpan, fps: float) -> set[int]:
    """Indices of packets that are neither shown nor referred to."""
    shown = packets.shown
    if any(time_s is None for time_s in packets.times_s):
        return set()
    times = [time_s for time_s, _ in shown]
    count = max(0, math.ceil((clip.end_s - clip.start_s) * fps) + 1)
    picks = nearest_times(times, clip.start_s, fps, count)
    # first and last stay: the clip's ends are measured on them
    needed = {shown[i][1] for i in picks} | {shown[0][1], shown[-1][1]}
    return unneeded_packets(stream, packets, needed)


def decoded(stream: VideoStream | AudioStream, packets: Iterable[Packet]) -> Iterator[Any]:
    """Frames in order of time; None for a packet that fails to decode."""
    for packet in packets:
        try:
            yield from packet.decode()
        except MemoryError:  # also what FFmpeg raises: no fault of the file
            raise
        except (av.FFmpegError, ValueError):
            yield None
    try:
        yield from stream.codec_context.decode(None)
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except (av.FFmpegError, ValueError):
        yield None


def one_picture(stream: VideoStream, packet: Packet) -> av.VideoFrame | None:
    return next((frame for frame in decoded(stream, [packet]) if frame is not None), None)
