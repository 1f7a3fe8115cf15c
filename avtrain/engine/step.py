"""One update of the weights: the loss of each part of a batch, its gradient, the optimizer."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from avtrain.engine.compute import autocast
from avtrain.engine.config import FitConfig
from avtrain.methods import Method
from avtrain.objectives import LossOutput
from avtrain.objectives.across_ranks import num_ranks


class TrainStep:
    """Makes steps; with several ranks, gradients are averaged while they are computed."""

    def __init__(
        self,
        method: Method[Any, Any],
        optimizer: torch.optim.Optimizer,
        config: FitConfig,
        device: torch.device,
    ) -> None:
        self._method, self._optimizer, self._device = method, optimizer, device
        self._clip_norm = config.optim.clip_norm
        self._parameters = [p for p in method.parameters() if p.requires_grad]
        self._loss: nn.Module = _Loss(method, config, device)
        if num_ranks() > 1:
            self._loss = DistributedDataParallel(
                self._loss,
                broadcast_buffers=False,  # banks follow from gathered rows
                init_sync=False,  # weights follow from the seed; `weights_hash` is compared
                gradient_as_bucket_view=True,
            )

    def __call__(
        self, parts: Sequence[Any], *, generator: torch.Generator, measure_norm: bool
    ) -> tuple[LossOutput, Tensor | None]:
        """Update the weights; nothing here waits for the device.

        Args:
            parts: Batches of equal size that together are the batch of the step.
            generator: For what the loss draws; in the same state on every rank.
            measure_norm: Also where gradients are not clipped.

        Returns:
            Mean of the losses of the parts, and the length of the gradient if it was measured.
        """
        self._optimizer.zero_grad(set_to_none=True)
        outputs = []
        for number, batch in enumerate(parts):
            inputs = self._method.prepare(batch, self._device)
            last = number == len(parts) - 1
            with nullcontext() if last else self._no_exchange():
                output: LossOutput = self._loss(inputs, generator)
                (output.total / len(parts)).backward()  # type: ignore[no-untyped-call]
            outputs.append(
                # detached: frees the graph
                replace(output, total=output.total.detach())
            )
        norm = None
        if self._clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        elif measure_norm:
            norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        self._optimizer.step()
        return _mean(outputs), norm

    def _no_exchange(self) -> Any:
        if isinstance(self._loss, DistributedDataParallel):
            return self._loss.no_sync()
        return nullcontext()


class _Loss(nn.Module):
    """The loss of a method as a module's output, which is what gradients are averaged around."""

    def __init__(self, method: Method[Any, Any], config: FitConfig, device: torch.device) -> None:
        super().__init__()
        self.method = method
        self._config, self._device = config.compute, device

    def forward(self, inputs: Any, generator: torch.Generator) -> LossOutput:
        """Loss and terms; the criterion itself computes in float32."""
        with autocast(self._config, self._device):
            output: LossOutput = self.method.loss(inputs, generator=generator)
        return output


def _mean(outputs: list[LossOutput]) -> LossOutput:
    if len(outputs) == 1:
        return outputs[0]
    return LossOutput(
        total=torch.stack([output.total for output in outputs]).mean(),
        terms=_means([output.terms for output in outputs]),
        metrics=_means([output.metrics for output in outputs]),
    )


def _means(tables: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([table[name] for table in tables]).mean() for name in tables[0]}
