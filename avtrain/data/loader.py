"""Batches in stream order, made by decoding threads ahead of their use.

Threads, not processes: JPEG decoding and resizing release the interpreter lock, and threads write
into the batch in place (measured 1.3 to 1.7 times the rate of worker processes).

Items are begun in stream order, over as many batches as are filled ahead: a slow one holds up its
own batch alone. Batches are given back by `release` and filled again: fresh memory costs page
faults, and pinned memory is slow to make. ::

    item_lists -> [allocate or reuse] -> threads: view.fill -> next() -> step -> release()
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, TypeGuard, TypeVar

from avdata import ShardSetError, StorageError
from avtrain.data.bad_samples import BadSampleLimit
from avtrain.data.stage_clock import StageClock
from avtrain.data.stream_plan import StreamItem
from avtrain.errors import DataError

Batch = TypeVar("Batch")

FILL_STAGE = "fill"
"""Name of the stage that is all of `View.fill`."""


class View(Protocol[Batch]):
    """How items become a batch."""

    def allocate(self, num_items: int) -> Batch:
        """An empty batch with one slot an item."""
        ...

    def fill(self, batch: Batch, slot: int, item: StreamItem) -> None:
        """Write an item into its slot, all of it; called from several threads, for other slots."""
        ...

    def select(self, batch: Batch, slots: list[int]) -> Batch:
        """A batch of only these slots: what is left where others could not be filled."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedBatch(Generic[Batch]):
    """A filled batch and what is in it."""

    batch: Batch
    items: list[StreamItem]
    """What the slots hold."""
    skipped: list[StreamItem] = field(default_factory=list)
    """Items that could not be read: they have no slot, and nothing takes their place."""
    buffer: Batch | None = None
    """What `BatchLoader.release` takes back; `batch` may be a part of it."""

    def __repr__(self) -> str:
        return f"LoadedBatch({len(self.items)} items, {len(self.skipped)} skipped)"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pending(Generic[Batch]):
    buffer: Batch
    items: list[StreamItem]
    slots: list[Future[None]]


class BatchLoader(Generic[Batch]):
    """Iterates over filled batches; use as a context manager, leaving it ends the threads.

    An error in a thread is raised by the `next` that would have returned its batch.

    Args:
        view: How items become a batch.
        item_lists: The items of each batch.
        num_threads: Threads that read and decode.
        prefetch_batches: Batches that are filled ahead of the one that `next` returned.
        keys: Key of each sample, for messages.
        bad_samples: Leaves out items that cannot be read, and counts them; None raises their error.
        clock: Adds up the threads' time, under FILL_STAGE; None makes one.
    """

    def __init__(
        self,
        view: View[Batch],
        item_lists: Iterable[list[StreamItem]],
        *,
        num_threads: int,
        prefetch_batches: int,
        keys: Sequence[str] = (),
        bad_samples: BadSampleLimit | None = None,
        clock: StageClock | None = None,
    ) -> None:
        self._view = view
        self._item_lists = iter(item_lists)
        self._pending: deque[_Pending[Batch]] = deque()
        self._free: dict[int, deque[Batch]] = {}
        self._prefetch_batches = prefetch_batches
        self._keys, self._bad_samples = keys, bad_samples
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="avtrain-loader")
        self.num_threads = num_threads
        self.clock = clock or StageClock()
        """Time of the threads by stage."""
        self.wait_s = 0.0
        """Time that `next` spent waiting for threads so far."""

    def __enter__(self) -> "BatchLoader[Batch]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()
        self._free.clear()

    def __iter__(self) -> Iterator[LoadedBatch[Batch]]:
        return self

    def __next__(self) -> LoadedBatch[Batch]:
        start_s = time.perf_counter()
        try:
            while len(self._pending) <= self._prefetch_batches and self._submit():
                pass
            if not self._pending:
                raise StopIteration
            return self._finish(self._pending.popleft())
        finally:
            self.wait_s += time.perf_counter() - start_s

    def release(self, loaded: LoadedBatch[Batch]) -> None:
        """Give a batch back, to be filled again: nothing may read its memory any more.

        Without it nothing breaks, and every batch is made anew.

        Raises:
            ValueError: The batch is not of a loader, or was released before.
        """
        if loaded.buffer is None:
            raise ValueError(f"{loaded} has no buffer: give back what `next` of a loader returned")
        free = self._free.setdefault(len(loaded.items) + len(loaded.skipped), deque())
        if any(buffer is loaded.buffer for buffer in free):
            raise ValueError(f"{loaded} was released before; release each batch once")
        free.append(loaded.buffer)

    def _submit(self) -> bool:
        items = next(self._item_lists, None)
        if items is None:
            return False
        free = self._free.get(len(items))
        buffer = free.popleft() if free else self._view.allocate(len(items))
        submit, fill = self._pool.submit, self._fill
        slots = [submit(fill, buffer, slot, item) for slot, item in enumerate(items)]
        self._pending.append(_Pending(buffer=buffer, items=items, slots=slots))
        return True

    def _fill(self, buffer: Batch, slot: int, item: StreamItem) -> None:
        with self.clock.stage(FILL_STAGE):
            self._view.fill(buffer, slot, item)

    def _finish(self, pending: _Pending[Batch]) -> LoadedBatch[Batch]:
        good: list[int] = []
        skipped: list[StreamItem] = []
        for slot, (item, done) in enumerate(zip(pending.items, pending.slots, strict=True)):
            error = done.exception()
            if error is None:
                good.append(slot)
                if self._bad_samples is not None:
                    self._bad_samples.count_good()
            elif self._bad_samples is not None and _is_bad_sample(error):
                self._bad_samples.count_bad(item, error)
                skipped.append(item)
            else:
                self._raise(item, error)
        buffer = pending.buffer
        if not skipped:
            batch = buffer
        elif good:
            batch = self._view.select(buffer, good)
        else:
            assert self._bad_samples is not None
            raise self._bad_samples.all_bad(len(skipped))
        return LoadedBatch(
            batch=batch,
            items=[pending.items[slot] for slot in good],
            skipped=skipped,
            buffer=buffer,
        )

    def _raise(self, item: StreamItem, error: BaseException) -> None:
        key = self._keys[item.sample] if self._keys else f"number {item.sample}"
        if not _is_bad_sample(error):
            error.add_note(f"while sample {key} was read")  # a fault of ours: it has a traceback
        elif key not in str(error):
            raise DataError(f"sample {key} cannot be read: {error}") from error
        raise error


def _is_bad_sample(error: BaseException) -> TypeGuard[Exception]:
    """Whether the fault is in what is stored, or in its store, and not in the program."""
    return isinstance(error, (ShardSetError, StorageError))
