"""The compressed packets of a span of time, with their times, read in one pass."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from avdata.decode.media import CLOCK_UNIT, fault_text
from avdata.frame_clock import FrameClock, PacketClock

SEEKABLE_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})
"""Containers with an index that a seek may trust; others are read from their start."""
EXACT_HEADER_FORMATS = frozenset({"mov", "mp4"})
"""Containers whose header states the duration of each stream."""
ESTIMATING_FORMATS = frozenset({"mpeg", "mpegts", "mp3", "aac", "ac3", "h264", "hevc", "m4v"})
"""Containers without a stated duration: what FFmpeg says of it is a guess."""
BROADCAST_FORMATS = frozenset({"mpeg", "mpegts"})
"""Containers whose clock wraps and never leads in."""
SEEK_BEYOND_S = 5.0
PREROLL_S = 1.0
"""Read this much before a span, so that audio decoders have settled."""
MAX_GUESSED_FRAME_S = 1.0
"""The last frame of a stream is taken to be shown at most this long where nothing says how long."""
EVEN_SHARE = 0.02
"""A rate is even where mean and median distance of frames differ by less than this share."""
MAX_PRIMING_S = 0.25
"""Sound may start so much before 0: what encoders need to settle, and no player plays."""


class SeekFailedError(Exception):
    """An index that does not lead to a span; see `read_packets`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Part of a medium, on its media clock."""

    origin_s: float
    """What listed times count from."""
    start_s: float
    end_s: float
    """Infinite when the listing names no end."""
    start_is_listed: bool = True


def media_span(container: InputContainer, start_s: float | None, end_s: float | None) -> Span:
    """Listed seconds on the media clock."""
    origin = clock_origin_s(container)
    return Span(
        origin_s=origin,
        start_s=origin + (start_s or 0.0),
        end_s=float("inf") if end_s is None else origin + end_s,
        start_is_listed=start_s is not None,
    )


def clock_origin_s(container: InputContainer) -> float:
    """Return the start of the file on its own clock, as it states it, but for audio priming.

    Broadcast clocks wrap, and FFmpeg then counts from below zero.
    """
    stated = (container.start_time or 0) / CLOCK_UNIT
    is_broadcast = bool(_formats(container) & BROADCAST_FORMATS)
    return stated if stated > 0 or is_broadcast or stated < -MAX_PRIMING_S else 0.0


@dataclass(kw_only=True, slots=True)
class StreamPackets:
    """Packets of one stream that a span may need, in file order."""

    time_base: Fraction
    start_s: float
    """Of the span."""
    stop_s: float
    """Until where the span was read."""
    clock: FrameClock = "pts"
    """Source of the times."""
    packets: list[Packet] = field(default_factory=list)
    times_s: list[float | None] = field(default_factory=list)
    """Presentation time of each packet; None where the container states none."""
    skipped_s: list[float] = field(default_factory=list)
    """Times of packets without data, and of those that the container flags as damaged."""
    next_s: float | None = None
    """A time at or after `stop_s` that the stream goes on at least to; None where it ended."""
    claimed_end_s: float | None = None
    """Where the header says that this stream ends; None where it does not say."""
    num_bytes: int = 0
    _shown: list[tuple[float, int]] | None = None
    _ticks: int = field(init=False)
    _ticks_per_s: int = field(init=False)

    def __post_init__(self) -> None:
        # kept, because asking a fraction for them costs more than the division
        self._ticks, self._ticks_per_s = self.time_base.numerator, self.time_base.denominator

    def __len__(self) -> int:
        return len(self.packets)

    def add(self, packet: Packet) -> None:
        """Append the next packet of the file."""
        pts = packet.pts
        self.packets.append(packet)
        self.times_s.append(None if pts is None else pts * self._ticks / self._ticks_per_s)
        self.num_bytes += packet.size
        if packet.is_corrupt and self.times_s[-1] is not None:
            self.skipped_s.append(self.times_s[-1])

    def skip(self, packet: Packet) -> None:
        """Count a packet without data; the one that ends a stream has no time either."""
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            self.skipped_s.append(time * self._ticks / self._ticks_per_s)

    def goes_on(self, dts: int) -> None:
        """Note that the stream has a packet at or after the end of the span."""
        self.next_s = dts * self._ticks / self._ticks_per_s

    def starts_after(self, time_s: float) -> bool:
        """Whether nothing of the stream is shown or heard at or before a time."""
        return not any(t is not None and t <= time_s for t in self.times_s)

    def seconds(self, tick: int) -> float:
        """Units of the time base in seconds."""
        return tick * self._ticks / self._ticks_per_s

    def ticks(self, time_s: float) -> float:
        """Seconds in units of the time base."""
        return time_s * self._ticks_per_s / self._ticks

    @property
    def shown(self) -> list[tuple[float, int]]:
        """Time and index of the packets that bring out a picture or sound, in order of time."""
        if self._shown is None:
            # those before an edit list's start are decoded and never shown
            self._shown = sorted(
                (time_s, i)
                for i, (time_s, packet) in enumerate(zip(self.times_s, self.packets, strict=True))
                if time_s is not None and not packet.is_discard
            )
        return self._shown

    def stamp_all(self, clock: FrameClock) -> None:
        """Take decoding times as presentation times for all packets, as `clock` says."""
        self.clock = clock
        if clock == "dts":
            for i, packet in enumerate(self.packets):
                if packet.dts is not None:
                    packet.pts = packet.dts
                    self.times_s[i] = packet.dts * self._ticks / self._ticks_per_s
        self._shown = None

    @property
    def _span_times_s(self) -> list[float]:
        """Times of the frames of the span; those around it, of which some are missing, if few."""
        times = [time_s for time_s, _ in self.shown]
        inside = [time_s for time_s in times if self.start_s <= time_s < self.stop_s]
        return inside if len(inside) > 2 else [t for t in times if t < self.stop_s] or times

    @property
    def gaps_s(self) -> list[float]:
        """Distances of neighboring frames in time."""
        return [b - a for a, b in pairwise(self._span_times_s) if b > a]

    def typical_gap_s(self) -> float:
        """Median distance of frames; the packet's own duration where there is just one."""
        if gaps := self.gaps_s:
            return statistics.median(gaps)
        stated = [self._duration_s(p) for p in self.packets if p.duration]
        return stated[0] if stated else 0.0

    def jitter_s(self, stated: Fraction | None) -> float:
        """Standard deviation of the distances between frames; 0 where only rounding differs.

        Rounding is what the time base makes of the `stated` rate, where that fits.
        """
        gaps, rate = self.gaps_s, self.rate(stated)
        if not gaps or not rate:
            return 0.0
        tick_s = self._ticks / self._ticks_per_s
        if max(abs(gap - 1 / rate) for gap in gaps) <= tick_s * 1.001:
            return 0.0
        return statistics.pstdev(gaps)

    def rate(self, stated: Fraction | None) -> float:
        """Frames per second: the stated rate where it fits the times, else their mean rate."""
        times = self._span_times_s
        spread = times[-1] - times[0] if times else 0.0
        if spread <= 0:
            return float(stated or 0)
        mean = (len(times) - 1) / spread
        if stated:
            rounding_s = 2 * self._ticks / self._ticks_per_s
            off_s = abs((len(times) - 1) / float(stated) - spread)
            if off_s <= max(0.25 / float(stated), rounding_s):
                return float(stated)
        return mean

    def end_s(self) -> float | None:
        """Until when the last frame is shown.

        That is until the next one, where the stream goes on behind the span; else by the duration
        of its packet, or by the usual distance.
        """
        if not self.shown:
            return None
        last_s, index = self.shown[-1]
        usual_s, rate = self.typical_gap_s(), self.rate(None)
        if rate and abs(1 / rate - usual_s) < EVEN_SHARE * usual_s:
            usual_s = max(usual_s, 1 / rate)  # without the rounding of a single distance
        duration_s = max(self._duration_s(self.packets[index]), usual_s)
        if self.claimed_end_s is not None:  # durations may be damaged
            left_s = self.claimed_end_s - last_s
            duration_s = min(duration_s, max(left_s, MAX_GUESSED_FRAME_S))
        return max(last_s + duration_s, self.next_s or 0.0)

    def shown_until_s(self, at: int) -> float:
        """Until when the frame at place `at` of `shown` is shown."""
        if at + 1 < len(self.shown):
            return self.shown[at + 1][0]
        return self.end_s() or self.shown[at][0]

    def num_skipped(self, start_s: float, end_s: float) -> int:
        """Packets of [start_s, end_s) without data, or flagged as damaged."""
        return sum(start_s <= time_s < end_s for time_s in self.skipped_s)

    def _duration_s(self, packet: Packet) -> float:
        return (packet.duration or 0) * self._ticks / self._ticks_per_s


@dataclass(kw_only=True, slots=True)
class SpanPackets:
    """Compressed packets that a span may need."""

    video: StreamPackets | None
    audio: StreamPackets | None
    claimed_end_s: float | None = None
    """Where the header says that the longest of the streams ends."""
    read_error: str | None = None
    """Why reading stopped before the end, if it did."""


def read_packets(
    container: InputContainer,
    video: Stream | None,
    audio: Stream | None,
    span: Span,
    *,
    stop_s: float,
    max_bytes: int,
    may_seek: bool = True,
) -> SpanPackets:
    """One demux pass over the span, both streams together.

    A stream is done when its decoding times pass `stop_s`: no later packet is shown before it,
    but for streams without presentation times, which are read a few frames further.
    Reading ends after `max_bytes`.

    Args:
        may_seek: Read from just before the span, by the file's index; else from its start.

    Raises:
        MediaError: CLOCK_RESTARTS.
        SeekFailedError: The index cannot be used, or leads behind the span's start in one of the
            streams: what lies before may be of the span. Then open the file again and read it from
            its start.
    """
    streams = [stream for stream in (video, audio) if stream is not None]
    out = SpanPackets(
        video=_empty(container, video, span.start_s, stop_s),
        audio=_empty(container, audio, span.start_s, stop_s),
        claimed_end_s=_claimed_end_s(container, len(streams)),
    )
    by_index = {
        stream.index: packets
        for stream, packets in ((video, out.video), (audio, out.audio))
        if stream is not None and packets is not None
    }
    stops = {index: packets.ticks(stop_s) for index, packets in by_index.items()}
    clocks = {stream.index: PacketClock(stream) for stream in streams}
    moved = may_seek and _seek(container, span)
    num_bytes = 0
    try:
        for packet in container.demux(*streams):
            size = packet.size
            index, dts = packet.stream_index, packet.dts
            if index not in stops:
                continue
            if not size:
                by_index[index].skip(packet)
                continue
            clocks[index].stamp(packet)
            if dts is not None and dts >= stops[index] + clocks[index].lag_ticks:
                by_index[index].goes_on(dts)
                del stops[index]
                if not stops:
                    break
                continue
            by_index[index].add(packet)
            num_bytes += size
            if num_bytes > max_bytes:
                break
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        out.read_error = fault_text(error)
    if moved and any(packets.starts_after(span.start_s) for packets in by_index.values()):
        raise SeekFailedError
    if video is not None and out.video is not None:
        out.video.stamp_all(clocks[video.index].clock)
    return out


def _empty(
    container: InputContainer, stream: Stream | None, start_s: float, stop_s: float
) -> StreamPackets | None:
    if stream is None:
        return None
    assert stream.time_base is not None
    claimed_end_s = None
    if _formats(container) & EXACT_HEADER_FORMATS and stream.duration is not None:
        claimed_end_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return StreamPackets(
        time_base=stream.time_base, start_s=start_s, stop_s=stop_s, claimed_end_s=claimed_end_s
    )


def _claimed_end_s(container: InputContainer, num_wanted: int) -> float | None:
    if _formats(container) & (EXACT_HEADER_FORMATS | ESTIMATING_FORMATS):
        return None
    if sum(s.type in ("video", "audio") for s in container.streams) != num_wanted:
        return None  # it may be the end of a stream that is not read
    if container.duration is None:
        return None
    return ((container.start_time or 0) + container.duration) / CLOCK_UNIT


def _formats(container: InputContainer) -> set[str]:
    return set(container.format.name.split(","))


def _seek(container: InputContainer, span: Span) -> bool:
    """Go to just before the span where that saves reading; whether the container moved.

    Raises:
        SeekFailedError: The index cannot be used; where the container stands now is not known.
    """
    far = span.start_s - span.origin_s > SEEK_BEYOND_S
    if not far or not _formats(container) & SEEKABLE_FORMATS:
        return False
    try:
        container.seek(int((span.start_s - PREROLL_S) * CLOCK_UNIT), backward=True, any_frame=False)
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except (av.FFmpegError, OSError):
        raise SeekFailedError from None
    return True


def unneeded_packets(stream: Stream, packets: StreamPackets, needed: set[int]) -> set[int]:
    """Indices of packets that are neither needed nor referred to by any other picture.

    Leaving them out changes no decoded picture. Only H.264 (of the avcC form) and HEVC (of the
    hvcC form, one temporal layer) say so in a packet's first bytes; for others the set is empty.
    """
    is_reference = _reference_test(stream, packets)
    if is_reference is None:
        return set()
    return {
        i for i, packet in enumerate(packets.packets) if i not in needed and not is_reference[i]
    }


def _reference_test(stream: Stream, packets: StreamPackets) -> list[bool] | None:
    context = stream.codec_context
    extradata = context.extradata
    if not extradata or extradata[0] != 1:
        return None
    if context.name == "h264" and len(extradata) >= 5:
        length_bytes = (extradata[4] & 3) + 1
        return [_h264_is_reference(p, length_bytes) for p in packets.packets]
    if context.name == "hevc" and len(extradata) >= 22:
        length_bytes = (extradata[21] & 3) + 1
        layers_and_types = [_hevc_slice(p, length_bytes) for p in packets.packets]
        if any(layer != 1 for layer, _ in layers_and_types):
            return None  # a higher temporal layer may refer to what its own layer does not
        # even types up to 14 are sub-layer non-reference pictures (H.265, table 7-1)
        return [nal_type > 14 or nal_type % 2 == 1 for _, nal_type in layers_and_types]
    return None


def _nal_units(packet: Packet, length_bytes: int) -> Iterator[memoryview]:
    data, at = memoryview(cast(bytes, packet)), 0
    while at + length_bytes < len(data):
        size = int.from_bytes(data[at : at + length_bytes], "big")
        yield data[at + length_bytes : at + length_bytes + size]
        at += length_bytes + size


def _h264_is_reference(packet: Packet, length_bytes: int) -> bool:
    """Whether nal_ref_idc of the packet's first slice is not 0."""
    for unit in _nal_units(packet, length_bytes):
        if len(unit) and unit[0] & 31 in (1, 5):
            return unit[0] >> 5 & 3 != 0
    return True


def _hevc_slice(packet: Packet, length_bytes: int) -> tuple[int, int]:
    """nuh_temporal_id_plus1 and type of the packet's first slice; (1, 1) where there is none."""
    for unit in _nal_units(packet, length_bytes):
        if len(unit) >= 2 and unit[0] >> 1 & 63 < 32:
            return unit[1] & 7, unit[0] >> 1 & 63
    return 1, 1
