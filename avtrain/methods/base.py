"""What the loop and the evaluations know of a method."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from avdata import DatasetSpec
from avtrain.data.loader import View
from avtrain.data.samples import SampleStore, SampleTable
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


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFacts:
    """Where training stands when a step begins."""

    step: int
    """Steps made so far."""
    epochs: float
    """Passes over the samples so far."""
    share: float
    """Part of the whole schedule that is over, in [0, 1]."""
    new_epoch: bool
    """No earlier step began in this epoch."""

    @property
    def epoch(self) -> int:
        """Number of the epoch in which the batch begins."""
        return int(self.epochs)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class InitialState:
    """What another run left, to start from."""

    method: str
    """Name of its method, as in METHODS."""
    tensors: Mapping[str, Tensor]
    """State dict of its method, on the CPU."""
    same_data: bool
    """It was trained on the same samples in the same order: rows of banks are the same sources."""
    where: str
    """Name of the run, for messages."""


class Method(nn.Module, Generic[Batch, Inputs]):
    """Objective, model and data view of one paper. Its state dict is all that training changes."""

    num_calibration_clips: int
    """Clips that `calibrate` wants to see before the first step; 0 where it is not called."""

    def train_view(
        self, shards: SampleStore, table: SampleTable, *, seed: int, pin_memory: bool
    ) -> View[Batch]:
        """How samples become training batches."""
        raise NotImplementedError

    def eval_view(
        self, shards: SampleStore, table: SampleTable, *, num_windows: int, pin_memory: bool
    ) -> View[Batch]:
        """How samples become batches of evenly spaced windows without augmentation."""
        raise NotImplementedError

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Estimate what the inputs are normalized with."""
        raise NotImplementedError

    def prepare(self, batch: Batch, device: torch.device) -> Inputs:
        """Move a batch to the device, augment and normalize it."""
        raise NotImplementedError

    def before_step(self, at: StepFacts) -> None:
        """Called before every step, on every rank: the place for what happens now and then."""
        raise NotImplementedError

    def loss(self, inputs: Inputs, *, generator: torch.Generator) -> LossOutput:
        """Loss of one step; `generator` is on the device and new in every step.

        With several ranks each computes its part: the mean of the totals over ranks is the loss of
        the whole batch, so that averaged gradients are those of one rank with all of it.
        """
        raise NotImplementedError

    def networks(self) -> nn.Module:
        """The part with parameters, which may be compiled and laid out channels last."""
        raise NotImplementedError

    def start_from(self, initial: InitialState) -> None:
        """Take up weights, and where they fit the banks, of another run; called before training.

        Raises:
            RunError: The state is not of a method that this one can start from.
        """
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

    @property
    def needs_init(self) -> str | None:
        """What to do where no other run is given to start from; None where none is needed."""
        ...

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit."""
        ...

    def build(self, facts: MethodFacts) -> Method:
        """The method with new weights, on the device."""
        ...


@runtime_checkable
class ChoosesSamples(Protocol):
    """Settings of a method that cannot use every sample of a set that fits."""

    def usable_samples(
        self,
        table: SampleTable,
        samples: tuple[int, ...],
        spec: DatasetSpec,
        *,
        where: str,
        notify: Callable[[str], object],
    ) -> tuple[int, ...]:
        """Those of `samples` that can be used; `notify` is told how many are left out, and why.

        Raises:
            DataError: None can.
        """
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
