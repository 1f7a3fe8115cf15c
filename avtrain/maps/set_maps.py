"""What makes maps of a shard set's clips: one implementation for each family of methods."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from avtrain.data.loader import BatchLoader, View
from avtrain.data.samples import SampleTable
from avtrain.data.stream import StreamItem
from avtrain.maps.clip_map import ClipMaps, ClipRequest
from avtrain.progress import Progress


class SetMaps(Protocol):
    """Maps of the clips of one shard set. Times are seconds from the start of a sample."""

    @property
    def table(self) -> SampleTable:
        """The set's samples."""
        ...

    @property
    def clip_s(self) -> float:
        """Length of a clip's pictures."""
        ...

    @property
    def min_shift_s(self) -> float:
        """Smallest distance at which a sample's own sound is not in sync."""
        ...

    @property
    def has_magnitude(self) -> bool:
        """Strong disagreement is evidence of a source, as strong agreement is."""
        ...

    def last_start_s(self, sample: int) -> float | None:
        """Latest start of a whole clip with its sound; None where the sample is too short."""
        ...

    def view(self, requests: Sequence[ClipRequest], *, pin_memory: bool) -> View[Any]:
        """How requests become batches: `occurrence` of an item is a position in `requests`."""
        ...

    def maps(self, batch: Any, requests: Sequence[ClipRequest]) -> list[ClipMaps]:
        """The maps of a batch of the view, which holds these requests."""
        ...


def map_clips(
    source: SetMaps,
    requests: Sequence[ClipRequest],
    *,
    device: torch.device,
    batch_size: int,
    loader_threads: int,
    progress: Progress,
    description: str,
) -> Iterator[ClipMaps]:
    """The maps of all requests, in their order.

    Args:
        source: What makes them.
        requests: Clips; decoding goes on while the network works.
        device: Where the network works.
        batch_size: Clips at a time.
        loader_threads: Threads that read and decode.
        progress: Shows batches.
        description: For the progress.

    Raises:
        DataError: A sample cannot be read.
    """
    view = source.view(requests, pin_memory=device.type == "cuda")
    parts = [
        range(start, min(start + batch_size, len(requests)))
        for start in range(0, len(requests), batch_size)
    ]
    items = [
        [StreamItem(sample=requests[i].sample, epoch=0, occurrence=i) for i in part]
        for part in parts
    ]
    with BatchLoader(
        view, items, num_threads=loader_threads, prefetch_batches=2, keys=source.table.keys
    ) as loader:
        for loaded in progress(loader, total=len(parts), description=description):
            made = [requests[item.occurrence] for item in loaded.items]
            with torch.no_grad():
                found = source.maps(loaded.batch, made)
            if device.type != "cuda":  # else copies to the device may still read it
                loader.release(loaded)
            yield from found
