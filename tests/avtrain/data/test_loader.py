"""Batches come in stream order whatever the threads do, and faults come out."""

import threading
import time
from dataclasses import dataclass, field

import pytest

from avtrain.data.loader import BatchLoader
from avtrain.data.stream import StreamItem, sequential_batches


@dataclass
class _Slots:
    values: list[int] = field(default_factory=list)


class _View:
    """Writes sample numbers; earlier samples take longer, so that threads finish out of order."""

    def __init__(self, *, bad_sample: int = -1) -> None:
        self.bad_sample = bad_sample

    def allocate(self, num_items: int) -> _Slots:
        return _Slots([-1] * num_items)

    def fill(self, batch: _Slots, slot: int, item: StreamItem) -> None:
        if item.sample == self.bad_sample:
            raise LookupError(f"sample {item.sample} is bad")
        time.sleep(0.002 if item.sample % 2 == 0 else 0)
        batch.values[slot] = item.sample


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("prefetch_batches", [1, 5])
def test_order_does_not_depend_on_threads(num_threads: int, prefetch_batches: int) -> None:
    with BatchLoader(
        _View(),
        sequential_batches(tuple(range(10)), 4),
        num_threads=num_threads,
        prefetch_batches=prefetch_batches,
    ) as loader:
        loaded = list(loader)
    assert [x.batch.values for x in loaded] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [[i.sample for i in x.items] for x in loaded] == [x.batch.values for x in loaded]
    assert loader.wait_s > 0


def test_a_fault_is_raised_for_its_batch_and_threads_end() -> None:
    before = threading.active_count()
    items = sequential_batches(tuple(range(1000)), 4)
    with BatchLoader(_View(bad_sample=9), items, num_threads=2, prefetch_batches=3) as loader:
        assert next(loader).batch.values == [0, 1, 2, 3]
        assert next(loader).batch.values == [4, 5, 6, 7]
        with pytest.raises(LookupError, match="sample 9 is bad"):
            next(loader)
    assert threading.active_count() == before
