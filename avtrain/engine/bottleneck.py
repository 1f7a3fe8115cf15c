"""How well training is fed: share of time that steps wait, rates by stage, and what to do."""

from dataclasses import dataclass, replace

from avtrain.data.loader import FILL_STAGE
from avtrain.engine.feed import Feed

_MUCH = 0.05
"""Share of the time in which steps wait for data that is worth a word."""
_BUSY = 0.5
_PLAIN = {"read": "reading", "decode": "decoding", FILL_STAGE: "reading and decoding"}
"""Stages as a person calls them; others are called by their name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadFacts:
    """Of one stretch of time."""

    wait_share: float
    """Share of the time in which steps waited for data."""
    stage_rates: dict[str, float]
    """Items a second that each stage of loading reaches by itself, on all its threads."""
    advice: str | None
    """The slowest stage and what helps, in plain words; None where data does not hold steps up."""
    num_skipped: int
    """Clips that could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    wait_s: float
    seconds: dict[str, float]
    counts: dict[str, int]
    num_skipped: int


class LoadWatch:
    """Reads the clocks of a feed, for stretches of time that follow each other.

    The first stretch holds the start, at which every step waits: nothing is advised for it.
    """

    def __init__(self, feed: Feed, *, num_skipped: int) -> None:
        self._feed = feed
        self._first: _Reading | None = None
        self._last = self._read(num_skipped)

    def since_last(self, elapsed_s: float, *, num_skipped: int) -> LoadFacts:
        """Facts of the time since the call before."""
        now = self._read(num_skipped)
        facts = self._between(self._last, now, elapsed_s)
        if self._first is None:
            self._first, self._elapsed_s = now, 0.0
            facts = replace(facts, advice=None)
        else:
            self._elapsed_s += elapsed_s
        self._last = now
        return facts

    def advice(self) -> str | None:
        """Advice for all stretches but the first."""
        if self._first is None or not self._elapsed_s:
            return None
        return self._between(self._first, self._last, self._elapsed_s).advice

    def _read(self, num_skipped: int) -> _Reading:
        clock = self._feed.clock
        return _Reading(
            wait_s=self._feed.wait_s,
            seconds=clock.seconds(),
            counts=clock.counts(),
            num_skipped=num_skipped,
        )

    def _between(self, start: _Reading, end: _Reading, elapsed_s: float) -> LoadFacts:
        wait_share = (end.wait_s - start.wait_s) / elapsed_s
        spent = {name: s - start.seconds.get(name, 0.0) for name, s in end.seconds.items()}
        threads = self._feed.num_threads
        rates = {
            name: threads * (end.counts[name] - start.counts.get(name, 0)) / seconds
            for name, seconds in spent.items()
            if seconds > 0
        }
        return LoadFacts(
            wait_share=wait_share,
            stage_rates=rates,
            advice=advise(wait_share, spent, num_threads=threads, elapsed_s=elapsed_s),
            num_skipped=end.num_skipped - start.num_skipped,
        )


def advise(
    wait_share: float, spent: dict[str, float], *, num_threads: int, elapsed_s: float
) -> str | None:
    """What holds the data up and what helps; None where steps hardly wait.

    Args:
        wait_share: Share of the time in which steps waited.
        spent: Seconds of all threads together by stage; FILL_STAGE contains the others.
        num_threads: Of the loader.
        elapsed_s: The time that is meant.
    """
    if wait_share < _MUCH:
        return None
    waits = f"steps wait for data {wait_share:.0%} of the time"
    if not spent:
        return waits
    parts = {name: seconds for name, seconds in spent.items() if name != FILL_STAGE} or spent
    slowest = max(parts, key=lambda name: parts[name])
    share = parts[slowest] / max(sum(parts.values()), 1e-9)
    busy = min(1.0, sum(parts.values()) / (num_threads * elapsed_s))
    told = f"{waits}; {_PLAIN.get(slowest, slowest)} takes {share:.0%} of the loader's time"
    if busy < _BUSY:
        return f"{told}, whose threads are idle half the time: raise data.prefetch_batches"
    return (
        f"{told}: more data.loader_threads (now {num_threads}) help where cores are free, "
        "else a set stored smaller (video.short_side_px)"
    )
