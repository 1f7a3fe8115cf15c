"""What the loop and the evaluations know of a method."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from avdata import DatasetSpec, ShardSet
from avtrain.data.loader import View
from avtrain.data.samples import SampleTable
from avtrain.errors import DataError
from avtrain.objectives import LossOutput

Batch = TypeVar("Batch")
Inputs = TypeVar("Inputs")

Modality = Literal["video", "audio"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder(Generic[Inputs]):
    """One trained encoder, as evaluations use it; b is the batch, d a length."""

    features: Callable[[Inputs], Tensor]
    """Pooled output of the network, float32 (b, d)."""
    project: Callable[[Tensor], Tensor]
    """Features to the space in which modalities are compared, not normalized, float32 (b, d)."""


class Method(nn.Module, Generic[Batch, Inputs]):
    """Objective, model and data view of one paper. Its state dict is all that training changes."""

    num_calibration_clips: int
    """Clips that `calibrate` wants to see before the first step; 0 where it is not called."""

    def train_view(
        self, shards: ShardSet, table: SampleTable, *, seed: int, pin_memory: bool
    ) -> View[Batch]:
        """How samples become training batches."""
        raise NotImplementedError

    def eval_view(
        self, shards: ShardSet, table: SampleTable, *, num_windows: int, pin_memory: bool
    ) -> View[Batch]:
        """How samples become batches of evenly spaced windows without augmentation."""
        raise NotImplementedError

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Estimate what the inputs are normalized with."""
        raise NotImplementedError

    def prepare(self, batch: Batch, device: torch.device) -> Inputs:
        """Move a batch to the device, augment and normalize it."""
        raise NotImplementedError

    def loss(self, inputs: Inputs, *, generator: torch.Generator) -> LossOutput:
        """Loss of one step; `generator` is on the device and new in every step."""
        raise NotImplementedError

    def on_epoch(self, epoch: int) -> None:
        """Called before the first step whose batch begins in `epoch`."""
        raise NotImplementedError

    def encoders(self) -> dict[Modality, Encoder[Inputs]]:
        """The encoders to evaluate and keep."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MethodFacts:
    """What a method is told of the data and the run when it is built."""

    spec: DatasetSpec
    where: str
    """Name of the shard set, for messages."""
    trained_sources: Tensor | None
    """int64, sources with at least one training sample; None is all sources."""
    seed: int
    device: torch.device


class MethodConfig(Protocol):
    """Settings of one method."""

    @property
    def requires(self) -> frozenset[str]:
        """Fields of the shard set that the method reads."""
        ...

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit."""
        ...

    def build(self, facts: MethodFacts) -> Method:
        """The method with new weights, on the device."""
        ...


def check_fields(
    requires: frozenset[str], spec: DatasetSpec, *, method: str, where: str, instead: str = ""
) -> None:
    """Refuse a shard set that lacks a field.

    Args:
        instead: What else a user can do, if that is possible with the fields there are.

    Raises:
        DataError: A field is missing.
    """
    if not requires <= set(spec.fields):
        fields = ", ".join(f'"{name}"' for name in sorted(requires | set(spec.fields)))
        raise DataError(
            f"method {method!r} needs fields {{{', '.join(sorted(requires))}}}, {where} has "
            f"{{{', '.join(sorted(spec.fields))}}}; build it again with --set 'fields=[{fields}]'"
            f"{instead}"
        )
