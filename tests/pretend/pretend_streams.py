"""Streams and events of the pretended device: copies are under way until somebody waits.

A copy that nothing waits for is begun when it is asked for and made when an event behind it is
waited for, or found to be over: memory of the host that is used again too early shows in the copy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(eq=False)
class Stream:
    """In the place of `torch.cuda.Stream`: copies in their order."""

    device: Any = None
    under_way: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Where from and where to."""

    def copy(self, source: Tensor) -> Tensor:
        """The place of a copy, which is made later."""
        target = torch.full_like(source, 77)
        self.under_way.append((source, target))
        return target

    def wait_event(self, event: Event) -> None:
        """What comes behind sees what came before the event."""
        event.finish()

    def synchronize(self) -> None:
        """Make all copies."""
        Event(stream=self).finish()


@dataclass(eq=False)
class Event:
    """In the place of `torch.cuda.Event`; the first question whether it is over gets a no."""

    stream: Stream | None = None
    before: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    num_asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.stream is not None:
            self.record(self.stream)

    def record(self, stream: Stream) -> None:
        """Stand behind all copies so far."""
        self.stream, self.before = stream, stream.under_way
        stream.under_way = []

    def query(self) -> bool:
        """Whether it is over."""
        self.num_asked += 1
        if self.num_asked > 1:
            self.finish()
        return self.num_asked > 1

    def finish(self) -> None:
        """Make the copies before it."""
        assert self.stream is not None, "an event is waited for before it is recorded"
        with self.lock, torch._C.DisableTorchFunction():
            for source, target in self.before:
                target.copy_(source)
            self.before = []


class Streams:
    """The current stream of each thread, and the functions of `torch.cuda` around them."""

    def __init__(self, enter_thread: Any) -> None:
        self._local = threading.local()
        self._enter_thread = enter_thread

    @property
    def current(self) -> Stream | None:
        """The stream that this thread chose; None is the usual one, which copies at once."""
        return getattr(self._local, "stream", None)

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        """As `torch.cuda.stream`; a thread that the device is new to sees it from here on."""
        before, self._local.stream = self.current, stream
        try:
            with self._enter_thread():
                yield
        finally:
            self._local.stream = before

    def functions(self) -> dict[str, Any]:
        """By their name in `torch.cuda`."""
        usual = Stream()
        return {
            "Stream": Stream,
            "Event": Event,
            "stream": self.stream,
            "device": lambda _: nullcontext(),
            "current_stream": lambda _=None: self.current or usual,
            "synchronize": lambda _=None: None,
            "is_current_stream_capturing": lambda: False,
        }
