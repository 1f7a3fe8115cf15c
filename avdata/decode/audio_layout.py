"""Places of decoded audio frames in time: real gaps told from jitter.

::

    contiguous    |--1--|--2--|--3--|--4--|      what the decoder puts out, end to end
    stated        |--1--| |--2--||--3--||-4-|    times wander by up to a packet and a half: jitter
    stated        |--1--|--2--|        |--3--|   times stay later from here on: a gap, made silence

A stated time that differs from the count of samples is believed when the frames after it agree.
"""

import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import av

from avdata.frame_clock import MAX_BACKWARD_S, clock_restarts

GAP_TOLERANCE_S = 0.02
"""Frame times that drift less than this from the sample count are rounding, not gaps."""
JITTER_PACKETS = 1.5
"""Jitter, in packets, that is allowed where too few frames follow to agree."""

_AHEAD = 20
"""Frames that must agree on a gap."""
_AHEAD_FOR_A_TIME = 256
"""Frames without a time that are held until one has a time."""


@dataclass(kw_only=True, slots=True, eq=False)  # not frozen: there are many
class PlacedFrame:
    """An audio frame and its place: `gap_samples` of silence, then the frame from sample `skip`."""

    frame: av.AudioFrame
    start_s: float
    """Time of the first sample that is written, silence included."""
    gap_samples: int
    skip: int
    """Samples of the frame that overlap what came before; at most all of them."""
    starts_run: bool
    """The frame is the first one, or has another sample rate or channel layout than before."""


def placed_frames(
    frames: Iterable[av.AudioFrame], time_of: Callable[[av.AudioFrame], float | None]
) -> Iterator[PlacedFrame]:
    """Place decoded frames one behind the other, a few frames later than they come.

    Frames without samples, channels or rate are left out.

    Args:
        frames: In the order of the decoder.
        time_of: Time of a frame in seconds; None where it has none.

    Raises:
        MediaError: CLOCK_RESTARTS, when the stated times go back by more than `MAX_BACKWARD_S`.
    """
    layout = _Layout()
    for frame in frames:
        form = (frame.sample_rate, frame.layout.nb_channels)
        if frame.samples > 0 and min(form) > 0:
            yield from layout.add(_Timed(frame, time_of(frame), form))
    yield from layout.finish()


@dataclass(slots=True, eq=False)
class _Timed:
    frame: av.AudioFrame
    time_s: float | None
    form: tuple[int, int]
    """Sample rate and number of channels."""


class _Layout:
    """The state of one `placed_frames`."""

    def __init__(self) -> None:
        self._ahead: deque[_Timed] = deque()
        self._form: tuple[int, int] | None = None
        self._start_s: float | None = None
        """Start of the run; None before the first frame of all."""
        self._rate = 0
        self._num_samples = 0
        """Laid out since the run's start."""
        self._is_new = True
        self._to_cut = 0
        """Samples that are there already, of the next frames."""

    def add(self, timed: _Timed) -> Iterator[PlacedFrame]:
        if self._ahead and self._ahead[0].form != timed.form:
            yield from self.finish()
        self._ahead.append(timed)
        wanted = _AHEAD
        if self._start_s is None and all(t.time_s is None for t in self._ahead):
            wanted = _AHEAD_FOR_A_TIME
        while len(self._ahead) > wanted:
            yield self._place()
            wanted = _AHEAD

    def finish(self) -> Iterator[PlacedFrame]:
        """Place all frames that were held."""
        while self._ahead:
            yield self._place()

    def _place(self) -> PlacedFrame:
        first = self._ahead[0]
        if first.form != self._form:
            self._begin_run(first)
        assert self._start_s is not None
        drift = 0 if self._to_cut else self._drift()
        self._ahead.popleft()
        count = first.frame.samples
        gap, self._to_cut = max(drift, 0), max(-drift, self._to_cut)
        skip = min(self._to_cut, count)
        self._to_cut -= skip
        placed = PlacedFrame(
            frame=first.frame,
            start_s=self._start_s + self._num_samples / self._rate,
            gap_samples=gap,
            skip=skip,
            starts_run=self._is_new,
        )
        self._num_samples += gap + count - skip
        self._is_new = False
        return placed

    def _begin_run(self, first: _Timed) -> None:
        if self._start_s is None:
            self._start_s = self._first_time_s()
        else:  # behind the run before; what lies between is a gap
            self._start_s += self._num_samples / self._rate
        self._form, self._rate = first.form, first.frame.sample_rate
        self._num_samples, self._is_new = 0, True

    def _first_time_s(self) -> float:
        """Start of the audio, by the first frame's time, or counted back from later ones.

        Where times wander, the middle of what they say counts.
        """
        rate, before, starts = self._ahead[0].frame.sample_rate, 0, []
        for timed in self._ahead:
            if timed.time_s is not None:
                starts.append(timed.time_s - before / rate)
            before += timed.frame.samples
        if not starts:
            return 0.0
        rises = falls = False
        for earlier, later in combinations(starts, 2):
            rises = rises or later - earlier > GAP_TOLERANCE_S
            falls = falls or earlier - later > GAP_TOLERANCE_S
        # a gap makes them rise, an overlap fall
        return statistics.median(starts) if rises and falls else starts[0]

    def _drift(self) -> int:
        """Samples by which the next frame lies later than the count says, where it is no jitter."""
        tolerance = GAP_TOLERANCE_S * self._rate
        now = self._drift_of(self._ahead[0].time_s, 0)
        if now is None or abs(now) <= tolerance:
            return 0
        if now < -MAX_BACKWARD_S * self._rate:
            raise clock_restarts("audio", self._time_s(), self._ahead[0].time_s or 0.0)
        drifts, before = [now], self._ahead[0].frame.samples
        for timed in list(self._ahead)[1:]:
            drift = self._drift_of(timed.time_s, before)
            if drift is not None:
                drifts.append(drift)
            before += timed.frame.samples
        if len(drifts) <= _AHEAD // 2:  # the end is near: few frames can agree
            tolerance += JITTER_PACKETS * self._ahead[0].frame.samples
        agreed = min(drifts, key=abs)
        same_side = all((drift > 0) == (now > 0) for drift in drifts)
        if not same_side or abs(agreed) <= tolerance:
            return 0
        usual = round(statistics.median(drifts))
        return usual if abs(now - usual) > GAP_TOLERANCE_S * self._rate else now

    def _drift_of(self, time_s: float | None, before: int) -> int | None:
        if time_s is None:
            return None
        assert self._start_s is not None
        return round((time_s - self._start_s) * self._rate) - self._num_samples - before

    def _time_s(self) -> float:
        assert self._start_s is not None
        return self._start_s + self._num_samples / self._rate
