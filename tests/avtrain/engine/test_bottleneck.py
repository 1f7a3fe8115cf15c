"""What holds the data up, from clocks with known readings."""

import pytest

from avtrain.data.loader import FILL_STAGE
from avtrain.data.stage_clock import StageClock
from avtrain.engine.bottleneck import LoadWatch, advise


def test_advice() -> None:
    spent = {FILL_STAGE: 20.0, "decode": 15.0, "read": 5.0}
    text = advise(0.31, spent, num_threads=2, elapsed_s=10.0)
    assert text is not None
    assert text.startswith("steps wait for data 31% of the time; decoding takes 75%")
    assert "more data.loader_threads (now 2)" in text
    idle = advise(0.31, {"read": 1.0}, num_threads=2, elapsed_s=10.0)
    assert idle is not None
    assert "reading takes 100%" in idle
    assert "raise data.prefetch_batches" in idle
    assert advise(0.31, {}, num_threads=2, elapsed_s=10.0) == "steps wait for data 31% of the time"
    assert advise(0.01, spent, num_threads=2, elapsed_s=10.0) is None


class _Feed:
    """A feed whose clocks the test sets."""

    def __init__(self) -> None:
        self.wait_s, self.num_threads, self.clock = 0.0, 4, StageClock()


def test_stretches_of_time() -> None:
    feed = _Feed()
    watch = LoadWatch(feed, num_skipped=2)  # type: ignore[arg-type]
    assert watch.advice() is None
    feed.wait_s = 9.0
    with feed.clock.stage("decode"):
        pass
    first = watch.since_last(10.0, num_skipped=2)
    assert (first.wait_share, first.advice, first.num_skipped) == (0.9, None, 0)
    spent = feed.clock.seconds()["decode"]
    assert first.stage_rates == {"decode": pytest.approx(4 / spent)}
    feed.wait_s = 11.0
    second = watch.since_last(10.0, num_skipped=5)
    assert second.wait_share == pytest.approx(0.2)
    assert second.num_skipped == 3
    assert second.advice is not None
    assert "20%" in second.advice
    assert "20%" in str(watch.advice())
