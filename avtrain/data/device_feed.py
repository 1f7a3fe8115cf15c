"""Batches on the device, copied there one ahead of the one in use.

On CUDA a thread takes batches from the loader and copies them on a stream of its own, so that
neither the step nor the copy waits for the other; the loader gets its memory back when the copy is
over, and `next` waits for the thread alone. On a CPU batches pass through. ::

    loader       [fill 3] [fill 4] [fill 5]
    thread             [copy 2] [copy 3] [copy 4]      its own stream
    step                     [step 1] [step 2] [step 3]

The path through CUDA has never been run by its authors, who had no GPU when they wrote it.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from avtrain.data.loader import BatchLoader, LoadedBatch
from avtrain.data.stage_clock import StageClock

_POLL_S = 0.05
"""How often a thread that cannot hand on its batch looks whether it is to end."""


class DeviceBatch(Protocol):
    """A batch that can be copied to a device."""

    def to(self, device: torch.device) -> Self:
        """The batch on the device; nothing waits for the copy, and the host's memory may be used
        again when it is over."""
        ...

    def tensors(self) -> Iterator[Tensor]:
        """All tensors of the batch."""
        ...


Batch = TypeVar("Batch", bound=DeviceBatch)
Value = TypeVar("Value")


class DeviceFeed(Generic[Batch]):
    """Iterates over a loader's batches on the device; use as a context manager within the loader's.

    An error of the loader is raised by the `next` that would have returned its batch.
    """

    def __init__(self, loader: BatchLoader[Batch], device: torch.device) -> None:
        self._loader = loader
        self._copies = _CopyThread(loader, device) if device.type == "cuda" else None
        self.num_threads = loader.num_threads
        self.wait_s = 0.0
        """Time that `next` spent waiting so far."""

    @property
    def clock(self) -> StageClock:
        """Time of the loader's threads by stage."""
        return self._loader.clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._copies is not None:
            self._copies.close()

    def __iter__(self) -> Iterator[LoadedBatch[Batch]]:
        return self

    def __next__(self) -> LoadedBatch[Batch]:
        start_s = time.perf_counter()
        try:
            return next(self._loader if self._copies is None else self._copies)
        finally:
            self.wait_s += time.perf_counter() - start_s

    def release(self, loaded: LoadedBatch[Batch]) -> None:
        """Give back a batch that no step reads any more; where it was copied, that is done."""
        if self._copies is None:
            self._loader.release(loaded)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Copied(Generic[Batch]):
    loaded: LoadedBatch[Batch]
    is_over: torch.cuda.Event


class _CopyThread(Generic[Batch]):
    """Copies batches to a CUDA device, one ahead."""

    def __init__(self, loader: BatchLoader[Batch], device: torch.device) -> None:
        self._loader, self._device = loader, device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._on_the_way: deque[_Copied[Batch]] = deque()
        self._ready: Handover[_Copied[Batch]] = Handover()
        self._thread = threading.Thread(target=self._run, name="avtrain-copies", daemon=True)
        self._thread.start()

    def __next__(self) -> LoadedBatch[Batch]:
        copied = self._ready.take()
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(copied.is_over)
        for tensor in copied.loaded.batch.tensors():
            if (
                tensor.is_cuda
            ):  # made on another stream: not to be used again before this one is done
                tensor.record_stream(stream)
        return copied.loaded

    def close(self) -> None:
        """End the thread."""
        self._ready.close()
        self._thread.join()

    def _run(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(torch.cuda.device(self._device))
            stack.enter_context(torch.cuda.stream(self._stream))
            self._ready.pump(self._copy)
            self._stream.synchronize()  # what is on its way reads the loader's memory

    def _copy(self) -> _Copied[Batch]:
        while self._on_the_way and self._on_the_way[0].is_over.query():  # type: ignore[no-untyped-call]
            self._loader.release(self._on_the_way.popleft().loaded)
        loaded = next(self._loader)
        batch = loaded.batch.to(self._device)
        is_over = torch.cuda.Event()  # type: ignore[no-untyped-call]
        is_over.record(self._stream)
        self._on_the_way.append(_Copied(loaded=loaded, is_over=is_over))
        return _Copied(loaded=replace(loaded, batch=batch, buffer=None), is_over=is_over)


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException


class Handover(Generic[Value]):
    """Hands values from one thread to another, one ahead; then the error that ended them."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Value | _End] = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        self._end: BaseException | None = None

    def pump(self, make: Callable[[], Value]) -> None:
        """Hand on what `make` returns until it raises, or until `close`; of the giving thread."""
        value: Value | _End
        while not self._closed.is_set():
            try:
                value = make()
            except BaseException as error:  # noqa: BLE001  # raised again by `take`
                value = _End(error)
            self._put(value)
            if isinstance(value, _End):
                return

    def _put(self, value: Value | _End) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(value, timeout=_POLL_S)
                return
            except queue.Full:
                continue

    def take(self) -> Value:
        """The next value.

        Raises:
            BaseException: What `make` raised, now and ever after.
        """
        if self._end is None:
            value = self._queue.get()
            if not isinstance(value, _End):
                return value
            self._end = value.error
        raise self._end

    def close(self) -> None:
        """End `pump`."""
        self._closed.set()
