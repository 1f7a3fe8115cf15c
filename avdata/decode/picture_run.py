"""One pass of the decoder over the video packets of a clip: those pictures that the grid shows."""

import bisect
import math
from collections.abc import Iterable, Iterator
from typing import Any

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from avdata.decode.coverage import ClipSpan
from avdata.decode.frame_stores import ClipFrames
from avdata.decode.grid import GridPicker, earliest_s, nearest_times
from avdata.decode.packets import StreamPackets, unneeded_packets
from avdata.errors import FailureReason, MediaError
from avdata.frame_clock import FrameClock, PlayOrder

MAX_REPEAT_BYTES = 8
"""A packet of so few bytes can only say that nothing changes."""
_PICTURE_START = b"\0\0\1\xb6"
"""Opens each picture of MPEG-4 part 2; AVI packs two of them into a packet."""
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
        slack: float,
        skip: bool,
    ) -> None:
        """Decode all that is needed, into `frames`.

        Args:
            slack: Share of its duration that a stored frame may lack at the clip's end.
            skip: Leave out pictures that are neither shown nor referred to.

        Raises:
            MediaError: No picture decodes, or one cannot be stored.
        """
        self.frames = frames
        self.picker: GridPicker[av.VideoFrame] = GridPicker(
            start_s=clip.start_s, fps=fps, store=frames
        )
        self.times: list[float] = []
        """Times of the decoded frames, in seconds on the media clock, in rising order."""
        self.bad = 0
        """Packets that failed to decode."""
        self.corrupt_s: list[float] = []
        """Times of the frames that the decoder flags as corrupt or concealed."""
        self.native = (0, 0)
        """Width and height of the first frame."""
        self._order: PlayOrder[av.VideoFrame] = PlayOrder(clock=packets.clock)
        self._limit_s = clip.end_s - slack / fps
        self._packet_s = [time_s for time_s, _ in packets.shown]
        skipped = _skippable(stream, packets, clip, fps) if skip else set()
        assert stream.time_base is not None
        # the stream's time base: frames that a flush brings out carry none of their own
        self._ticks, self._ticks_per_s = stream.time_base.numerator, stream.time_base.denominator
        gap_ticks = round(packets.ticks(packets.typical_gap_s()))
        tick = round(packets.ticks(clip.start_s)) - gap_ticks
        sent = [p for i, p in enumerate(packets.packets) if i not in skipped]
        for frame in decoded(stream, sent):
            if frame is None:
                self.bad += 1
                continue
            tick = frame.pts if frame.pts is not None else tick + gap_ticks
            for ordered, at in self._order.push(frame, tick):
                self._show(ordered, at)
        for ordered, at in self._order.finish():
            self._show(ordered, at)
        if not self.times:
            raise MediaError(
                FailureReason.VIDEO_UNDECODABLE,
                f"none of {len(packets)} video packets of the span decodes",
            )
        self.lost_s = _lost(packets, skipped, set(self.times))
        """[start, end) of what no decoded frame stands for."""
        last = bisect.bisect_right(self._packet_s, self.times[-1]) - 1
        self.next_s = packets.shown_until_s(last)
        """Until when the last decoded frame is shown."""

    @property
    def num_dropped(self) -> int:
        """Decoded frames that have no time of their own."""
        return self._order.num_dropped

    @property
    def clock(self) -> FrameClock:
        """Source of the times of the frames."""
        return self._order.clock

    def _show(self, frame: av.VideoFrame, tick: int) -> None:
        time_s = tick * self._ticks / self._ticks_per_s
        if not self.times:
            self.native = (frame.width, frame.height)
        self.times.append(time_s)
        if frame.is_corrupt:
            self.corrupt_s.append(time_s)
        from_s = earliest_s(time_s, self._packet_s)
        self.picker.push(frame, time_s, limit_s=self._limit_s, from_s=from_s)


def _lost(
    packets: StreamPackets, skipped: set[int], times: set[float]
) -> tuple[tuple[float, float], ...]:
    """Spans for which a packet was decoded and brought out no frame: the one before stands there.

    Those before the first frame and behind the last one are the clip's ends, and no matter of this.
    Packets that say "the same again" (MPEG-4 in AVI) bring out nothing either, and lack nothing.
    """
    shown = packets.shown
    silent = _same_again(packets)
    first_s, last_s = min(times), max(times)
    lost: list[tuple[float, float]] = []
    for at, (time_s, index) in enumerate(shown):
        if time_s in times or index in skipped or not first_s < time_s < last_s:
            continue
        again = bool(lost) and lost[-1][1] == time_s  # the same as a picture that is lost
        if again or index not in silent:
            lost.append((time_s, packets.shown_until_s(at)))
    return tuple(lost)


def _same_again(packets: StreamPackets) -> set[int]:
    """Indices of packets that say "the same again".

    Behind a packet of two pictures, one that looks the same stands for the second picture.
    """
    small = [i for i, packet in enumerate(packets.packets) if packet.size <= MAX_REPEAT_BYTES]
    if not small:
        return set()
    out: set[int] = set()
    num_packed = 0
    for i, packet in enumerate(packets.packets):
        if packet.size > MAX_REPEAT_BYTES:
            num_packed += bytes(packet).count(_PICTURE_START) > 1
        elif num_packed:
            num_packed -= 1
        else:
            out.add(i)
    return out


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
