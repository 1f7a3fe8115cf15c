"""Losses of the steps since the last log line, left on the device until they are wanted."""

import math

import torch
from torch import Tensor

from avtrain.engine.ranks import raise_together
from avtrain.errors import TrainingError
from avtrain.objectives import LossOutput
from avtrain.objectives.across_ranks import mean_across_ranks


class LossWindow:
    """Collects losses without waiting for the device.

    Each rank has its own; what comes out are means over ranks, so all of them ask together.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._values: list[Tensor] = []
        self._steps: list[tuple[int, list[str]]] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, output: LossOutput, *, step: int, keys: list[str]) -> None:
        """Take up the losses and metrics of a step, and the keys of its batch."""
        self._names = ["loss", *output.terms, *output.metrics]
        values = [output.total.detach(), *output.terms.values(), *output.metrics.values()]
        self._values.append(torch.stack(values).float())
        self._steps.append((step, keys))

    def means(self) -> dict[str, float]:
        """Mean of the loss and of each term; waits for the device.

        Raises:
            TrainingError: A loss is not finite.
        """
        rows = self._rows()
        return {
            name: math.fsum(column) / len(rows)
            for name, column in zip(self._names, zip(*rows, strict=True), strict=True)
        }

    def check_finite(self) -> None:
        """Refuse losses that are not finite; waits for the device.

        Raises:
            TrainingError: The text has the first such step and the keys of its batch.
        """
        if self._values:
            self._rows()

    def clear(self) -> None:
        """Forget all steps."""
        self._values.clear()
        self._steps.clear()

    def content(self) -> tuple[list[str], Tensor]:
        """Names, and float32 (steps, names) on the CPU; waits for the device."""
        if not self._values:
            return [], torch.zeros((0, 0))
        return list(self._names), mean_across_ranks(torch.stack(self._values)).cpu()

    def restore(self, names: list[str], values: Tensor) -> None:
        """Take up what `content` returned."""
        self._names, self._values = list(names), list(values)
        self._steps = [(-1, []) for _ in self._values]  # they were finite when they were saved

    def _rows(self) -> list[list[float]]:
        own = torch.stack(self._values)
        rows: list[list[float]] = mean_across_ranks(own).tolist()
        if not all(math.isfinite(value) for row in rows for value in row):
            raise_together(self._first_fault(own.tolist()))
        return rows

    def _first_fault(self, rows: list[list[float]]) -> TrainingError | None:
        """This rank's first step whose losses are not finite."""
        for row, (step, keys) in zip(rows, self._steps, strict=True):
            if not all(map(math.isfinite, row)):
                losses = dict(zip(self._names, row, strict=True))
                return TrainingError(
                    f"the loss of step {step} is not finite ({losses}); its batch was "
                    f"{', '.join(keys)}. Lower optim.lr, or look at these samples with "
                    "`avdata inspect`; the same command goes on from the last checkpoint"
                )
        return None
