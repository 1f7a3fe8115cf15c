"""Batches come in stream order whatever the threads do; faults come out, or are left out."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from avdata import ShardSetError, StorageError
from avtrain.data.bad_samples import BadSampleLimit
from avtrain.data.loader import FILL_STAGE, BatchLoader, LoadedBatch
from avtrain.data.stream import StreamItem, sequential_batches
from avtrain.errors import DataError


@dataclass(eq=False)
class _Slots:
    values: list[int] = field(default_factory=list)


class _View:
    """Writes sample numbers; even samples take longer, so that threads finish out of order."""

    def __init__(self, faults: dict[int, Exception] | None = None) -> None:
        self.faults = faults or {}
        self.num_allocated = 0

    def allocate(self, num_items: int) -> _Slots:
        self.num_allocated += 1
        return _Slots([-1] * num_items)

    def fill(self, batch: _Slots, slot: int, item: StreamItem) -> None:
        if item.sample in self.faults:
            raise self.faults[item.sample]
        time.sleep(0.002 if item.sample % 2 == 0 else 0)
        batch.values[slot] = item.sample

    def select(self, batch: _Slots, slots: list[int]) -> _Slots:
        return _Slots([batch.values[slot] for slot in slots])


KEYS = [f"clip{i}" for i in range(20_000)]


def limit(max_share: float) -> BadSampleLimit:
    return BadSampleLimit(max_share, keys=KEYS, where="sets/mine")


def loader_of(
    view: _View,
    num_samples: int = 12,
    *,
    batch_size: int = 4,
    num_threads: int = 2,
    prefetch_batches: int = 2,
    bad_samples: BadSampleLimit | None = None,
) -> BatchLoader[_Slots]:
    return BatchLoader(
        view,
        sequential_batches(tuple(range(num_samples)), batch_size),
        num_threads=num_threads,
        prefetch_batches=prefetch_batches,
        keys=KEYS,
        bad_samples=bad_samples,
    )


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("prefetch_batches", [1, 5])
def test_order_does_not_depend_on_threads(num_threads: int, prefetch_batches: int) -> None:
    with loader_of(
        _View(), 10, num_threads=num_threads, prefetch_batches=prefetch_batches
    ) as loader:
        loaded = list(loader)
    assert [x.batch.values for x in loaded] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [[i.sample for i in x.items] for x in loaded] == [x.batch.values for x in loaded]
    assert loader.wait_s > 0
    assert loader.clock.counts() == {FILL_STAGE: 10}
    assert loader.clock.seconds()[FILL_STAGE] >= 5 * 0.002


def test_an_unexpected_fault_is_raised_for_its_batch_and_threads_end() -> None:
    before = threading.active_count()
    view = _View({9: LookupError("is bad")})
    with loader_of(view, 1000, prefetch_batches=3, bad_samples=limit(1.0)) as loader:
        assert next(loader).batch.values == [0, 1, 2, 3]
        assert next(loader).batch.values == [4, 5, 6, 7]
        with pytest.raises(LookupError, match="is bad") as caught:
            next(loader)
    assert caught.value.__notes__ == ["while sample clip9 was read"]
    assert threading.active_count() == before


def test_a_slow_item_does_not_hold_up_later_batches() -> None:
    held = threading.Event()
    others = threading.Semaphore(0)

    class _SlowFirst(_View):
        def fill(self, batch: _Slots, slot: int, item: StreamItem) -> None:
            if item.sample == 0:
                assert held.wait(30)
            else:
                others.release()
            batch.values[slot] = item.sample

    def all_others_then_the_first() -> None:
        for _ in range(11):
            others.acquire()
        held.set()  # all of the batches ahead were filled by the other thread

    watcher = threading.Thread(target=all_others_then_the_first)
    watcher.start()
    with loader_of(_SlowFirst(), num_threads=2, prefetch_batches=2) as loader:
        assert [x.batch.values for x in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    watcher.join()


def test_released_batches_are_filled_again() -> None:
    view = _View()
    with loader_of(view, 400, prefetch_batches=2) as loader:
        for number, loaded in enumerate(loader):
            assert loaded.batch.values == list(range(4 * number, 4 * number + 4))
            loader.release(loaded)
    assert view.num_allocated <= 4


def test_what_is_not_released_is_never_written_again() -> None:
    view = _View()
    with loader_of(view, 40, prefetch_batches=2) as loader:
        kept = list(loader)
    assert [x.batch.values for x in kept] == [list(range(i, i + 4)) for i in range(0, 40, 4)]
    assert view.num_allocated == 10


def test_short_batches_have_buffers_of_their_own() -> None:
    def lists() -> Iterator[list[StreamItem]]:
        for _ in range(10):
            yield from sequential_batches(tuple(range(6)), 4)

    view = _View()
    with BatchLoader(view, lists(), num_threads=2, prefetch_batches=1) as loader:
        for number, loaded in enumerate(loader):
            assert loaded.batch.values == ([0, 1, 2, 3], [4, 5])[number % 2]
            loader.release(loaded)
    assert view.num_allocated <= 4


def test_wrong_releases_are_refused() -> None:
    with loader_of(_View()) as loader:
        loaded = next(loader)
        loader.release(loaded)
        with pytest.raises(ValueError, match="was released before; release each batch once"):
            loader.release(loaded)
        with pytest.raises(ValueError, match="has no buffer: give back what `next`"):
            loader.release(LoadedBatch(batch=_Slots(), items=[]))


@pytest.mark.parametrize("kind", [ShardSetError, StorageError])
def test_a_bad_sample_is_left_out_and_counted(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    view, bad = _View({5: kind("shard-0 ends"), 8: kind("torn"), 11: kind("torn")}), limit(1.0)
    with (
        caplog.at_level(logging.WARNING),
        loader_of(view, 400, bad_samples=bad) as loader,
    ):
        loaded = []
        for batch in loader:
            loaded.append((list(batch.batch.values), [i.sample for i in batch.skipped]))
            assert [i.sample for i in batch.items] == batch.batch.values
            loader.release(batch)
    assert loaded[:3] == [([0, 1, 2, 3], []), ([4, 6, 7], [5]), ([9, 10], [8, 11])]
    assert loaded[3:] == [([*range(i, i + 4)], []) for i in range(12, 400, 4)]
    assert (bad.num_bad, bad.num_items) == (3, 400)
    assert view.num_allocated <= 5  # also what was filled in part is filled again
    assert [r.message for r in caplog.records] == [
        "sample clip5 is left out, 1 of 6 items so far: shard-0 ends"
    ]


def test_every_thousandth_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bad = limit(1.0)
    with caplog.at_level(logging.WARNING):
        for sample in range(2500):
            bad.count_bad(StreamItem(sample=sample, epoch=0, occurrence=0), ShardSetError("torn"))
    assert [r.message.split()[1] for r in caplog.records] == ["clip0", "clip1000", "clip2000"]


def count(bad: BadSampleLimit, *, good: int, bad_ones: int) -> None:
    bad.count_good(good)
    torn = ShardSetError("torn; run `avdata verify sets/mine` and build the shard again")
    for sample in range(bad_ones):
        bad.count_bad(StreamItem(sample=sample, epoch=0, occurrence=0), torn)


def test_too_many_bad_samples_end_the_run() -> None:
    count(limit(0.01), good=0, bad_ones=10)  # of at least 1000 items: 10 are no rate yet
    count(limit(0.01), good=5000, bad_ones=50)
    message = (
        r"^51 of the first 5051 items of sets/mine cannot be read, data.max_bad_share=0.01 allows "
        r"50: clip0 \(torn\); clip1 \(torn\); clip2 \(torn\). Run `avdata verify sets/mine "
        r"--repair`, leave the samples out by --where, or raise data.max_bad_share$"
    )
    with pytest.raises(DataError, match=message):
        count(limit(0.01), good=5000, bad_ones=51)
    with pytest.raises(DataError, match=r"^11 of the first 11 items .* allows 10: "):
        count(limit(0.01), good=0, bad_ones=11)
    with pytest.raises(DataError, match=r"^1 of the first 1 items .*max_bad_share=0 allows 0: "):
        count(limit(0.0), good=0, bad_ones=1)


def test_a_batch_of_bad_samples_alone_is_an_error() -> None:
    view = _View({i: ShardSetError(f"no {i}") for i in range(4, 8)})
    with loader_of(view, bad_samples=limit(1.0)) as loader:
        next(loader)
        message = r"none of the 4 items of a batch can be read: clip4 \(no 4\); clip5 \(no 5\)"
        with pytest.raises(DataError, match=message):
            next(loader)


def test_without_a_limit_a_bad_sample_is_an_error_that_names_it() -> None:
    with (
        loader_of(_View({5: ShardSetError("shard-0 ends")})) as loader,
        pytest.raises(DataError, match=r"^sample clip5 cannot be read: shard-0 ends$"),
    ):
        list(loader)
    with (
        loader_of(_View({5: ShardSetError("frame of clip5 is torn")})) as loader,
        pytest.raises(ShardSetError, match=r"^frame of clip5 is torn$"),
    ):
        list(loader)
