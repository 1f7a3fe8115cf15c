"""Frames in play order, each with its time: one clock for the builder and the apps.

A decoder puts frames out in play order. Their times come from the packets, and files state them in
three ways::

    pts     presentation times that rise from frame to frame: taken as they are
    sorted  presentation times that run backwards (AVI that packs B-frames, VC-1 in mp4): the same
            times in rising order, one a frame
    dts     no presentation times: those of decoding, in rising order
    rate    no times at all: counted by the rate that the container states
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Generic, Literal, TypeVar

from av.packet import Packet
from av.stream import Stream

from avdata.errors import FailureReason, MediaError

FrameClock = Literal["pts", "sorted", "dts", "rate"]

HELD_FRAMES = 3
"""Frames that are held until their time is sure: packed B-frames are one place off."""
HELD_WITHOUT_PTS = 16
"""The same where times are those of decoding: the largest reordering of H.264 and HEVC."""

MAX_BACKWARD_S = 1.0
"""A clock that goes back further than this has been restarted."""
PACKING_CODECS = frozenset(
    {"mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "h263", "vc1", "wmv1", "wmv2", "wmv3", "rv40"}
)
"""Codecs whose packets do not say alone which frames they bring out, and when."""
USUAL_FPS = 25
"""Taken where a file states neither times nor a rate."""

AnyFrame = TypeVar("AnyFrame")


class PacketClock:
    """Follows the times of a stream's packets in file order, and gives video packets theirs."""

    def __init__(self, stream: Stream) -> None:
        assert stream.time_base is not None
        self._is_video = stream.type == "video"
        self._tick_s = float(stream.time_base)
        self._back = MAX_BACKWARD_S / self._tick_s
        self.frame_ticks = _frame_ticks(stream) if self._is_video else 0.0
        """Ticks per frame, by the rate that the container states."""
        self._packs = stream.codec_context is not None and (
            stream.codec_context.name in PACKING_CODECS
        )
        # AVI states none; FFmpeg's guess of them is wrong for B-frames of H.264
        is_avi = "avi" in stream.container.format.name.split(",")
        self._has_pts = self._packs or not is_avi
        self._last_dts: int | None = None
        self._num_packets = 0
        self.clock: FrameClock = "pts"

    @property
    def lag_ticks(self) -> float:
        """How much earlier, by its decoding time, a frame may be shown than its packet comes."""
        if self.clock != "pts":
            return HELD_WITHOUT_PTS * self.frame_ticks
        return HELD_FRAMES * self.frame_ticks if self._packs else 0.0

    def stamp(self, packet: Packet) -> None:
        """Check that time goes on, and give a video packet a presentation time if it has none.

        From the first packet without one on, presentation times are those of decoding; where these
        are lacking too, they follow from the number of packets and the rate.

        Raises:
            MediaError: CLOCK_RESTARTS.
        """
        dts = packet.dts
        if dts is not None:
            if self._last_dts is not None and dts < self._last_dts - self._back:
                kind = "frames" if self._is_video else "audio"
                raise clock_restarts(kind, self._last_dts * self._tick_s, dts * self._tick_s)
            self._last_dts = dts
        if self._is_video:
            is_guess = not self._has_pts and dts is not None and packet.pts != dts
            if packet.pts is None or is_guess or self.clock != "pts":
                self._stamp_without_pts(packet)
            self._num_packets += 1

    def _stamp_without_pts(self, packet: Packet) -> None:
        if packet.dts is not None and self.clock != "rate":
            self.clock = "dts"
            packet.pts = packet.dts
        elif packet.pts is None:
            self.clock = "rate"
            packet.pts = round(self._num_packets * self.frame_ticks)


def _frame_ticks(stream: Stream) -> float:
    assert stream.time_base is not None
    rate = stream.average_rate or getattr(stream, "guessed_rate", None) or Fraction(USUAL_FPS)
    return float(1 / (rate * stream.time_base))


def clock_restarts(what: str, before_s: float, after_s: float) -> MediaError:
    """Return the error for a stream whose clock goes back."""
    return MediaError(
        FailureReason.CLOCK_RESTARTS,
        f"the clock of its {what} goes back from {before_s:.3f} s to {after_s:.3f} s; cut the file "
        "there, or give it one clock by decoding and encoding it again",
    )


class PlayOrder(Generic[AnyFrame]):
    """Gives frames their times, a few frames later than they come.

    The k-th frame gets the k-th smallest time, which is its own where times rise.
    """

    def __init__(self, *, clock: FrameClock = "pts") -> None:
        """Start with nothing; `clock` is that of the packets."""
        self._clock: FrameClock = clock
        self._held = HELD_FRAMES if clock == "pts" else HELD_WITHOUT_PTS
        self._frames: deque[AnyFrame] = deque()
        self._ticks: list[int] = []
        self._last_in: int | None = None
        self._last_out: int | None = None
        self.num_dropped = 0
        """Frames so far that had no time of their own: another frame has the same one."""

    @property
    def clock(self) -> FrameClock:
        """Source of the times, as far as frames have come."""
        return self._clock

    def push(self, frame: AnyFrame, tick: int) -> Iterator[tuple[AnyFrame, int]]:
        """Take the next frame of the decoder; gives those whose time is sure now."""
        if self._last_in is not None and tick < self._last_in and self._clock == "pts":
            self._clock = "sorted"
        self._last_in = tick
        self._frames.append(frame)
        heapq.heappush(self._ticks, tick)
        while len(self._frames) > self._held:
            yield from self._next()

    def finish(self) -> Iterator[tuple[AnyFrame, int]]:
        """All frames that are still held."""
        while self._frames:
            yield from self._next()

    def _next(self) -> Iterator[tuple[AnyFrame, int]]:
        frame, tick = self._frames.popleft(), heapq.heappop(self._ticks)
        if self._last_out is not None and tick <= self._last_out:
            self.num_dropped += 1
            return
        self._last_out = tick
        yield frame, tick


def in_play_order(
    frames: Iterable[tuple[AnyFrame, int]], clock: FrameClock = "pts"
) -> Iterator[tuple[AnyFrame, int]]:
    """Give frames of a decoder, each with the time that it states, their times in rising order."""
    order: PlayOrder[AnyFrame] = PlayOrder(clock=clock)
    for frame, tick in frames:
        yield from order.push(frame, tick)
    yield from order.finish()
