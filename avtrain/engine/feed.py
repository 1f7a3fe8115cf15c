"""What the loop takes batches from."""

from typing import Any, Protocol

from avtrain.data.loader import LoadedBatch
from avtrain.data.stage_clock import StageClock


class Feed(Protocol):
    """Batches in stream order, and how long they took."""

    wait_s: float
    """Time that `next` spent waiting so far."""
    num_threads: int

    @property
    def clock(self) -> StageClock:
        """Time of the threads by stage."""
        ...

    def __next__(self) -> LoadedBatch[Any]:
        """The next batch."""
        ...

    def release(self, loaded: LoadedBatch[Any]) -> None:
        """Give a batch back that no kernel reads any more."""
        ...
