"""What batches of all views do with their fields: to another device, or only some clips of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from avtrain.data.jpeg_decode import JpegFrames

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Batch = TypeVar("Batch", bound=DataclassInstance)


def moved(batch: "Batch", device: torch.device, *, stay: Collection[str] = ()) -> "Batch":
    """The batch on the device; nothing waits for it. Encoded frames are decoded there.

    Args:
        batch: A dataclass of tensors, frames, numbers and None.
        device: Where its tensors go.
        stay: Tensors that stay, as copies: the buffer may be filled again before their use.
    """

    def on_device(name: str, value: object) -> object:
        if isinstance(value, JpegFrames):
            return value.to(device)
        if not isinstance(value, Tensor):
            return value
        return value.clone() if name in stay else value.to(device, non_blocking=True)

    return replace(batch, **{name: on_device(name, value) for name, value in _items(batch)})


def selected(batch: "Batch", clips: Sequence[int]) -> "Batch":
    """A copy of only these clips."""
    rows = list(clips)

    def of_rows(value: object) -> object:
        if isinstance(value, JpegFrames):
            return value.select(rows)
        return value[rows] if isinstance(value, Tensor) else value

    return replace(batch, **{name: of_rows(value) for name, value in _items(batch)})


def tensors_of(batch: "DataclassInstance") -> Iterator[Tensor]:
    """All tensors of a batch."""
    return (value for _, value in _items(batch) if isinstance(value, Tensor))


def _items(batch: "DataclassInstance") -> Iterator[tuple[str, Any]]:
    return ((field.name, getattr(batch, field.name)) for field in fields(batch))
