"""Time that threads spend in each stage of loading."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up seconds and items by stage; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside, and one item, to a stage."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            spent_s = time.perf_counter() - start_s
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + spent_s
                self._counts[name] = self._counts.get(name, 0) + 1

    def seconds(self) -> dict[str, float]:
        """Seconds of all threads together so far, by stage."""
        with self._lock:
            return dict(self._seconds)

    def counts(self) -> dict[str, int]:
        """Items so far, by stage."""
        with self._lock:
            return dict(self._counts)
