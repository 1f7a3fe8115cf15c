"""Losses of the steps since the last log line, left on the device until they are wanted."""

import math

import torch
from torch import Tensor

from avtrain.errors import TrainingError
from avtrain.objectives import LossOutput


class LossWindow:
    """Collects losses without waiting for the device."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._values: list[Tensor] = []
        self._steps: list[tuple[int, list[str]]] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, output: LossOutput, *, step: int, keys: list[str]) -> None:
        """Take up the losses of a step and the keys of its batch."""
        self._names = ["loss", *output.terms]
        values = [output.total.detach(), *output.terms.values()]
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
        """Names, and float32 (steps, names) on the CPU."""
        if not self._values:
            return [], torch.zeros((0, 0))
        return list(self._names), torch.stack(self._values).cpu()

    def restore(self, names: list[str], values: Tensor) -> None:
        """Take up what `content` returned."""
        self._names, self._values = list(names), list(values)
        self._steps = [(-1, []) for _ in self._values]  # they were finite when they were saved

    def _rows(self) -> list[list[float]]:
        rows: list[list[float]] = torch.stack(self._values).tolist()
        for row, (step, keys) in zip(rows, self._steps, strict=True):
            if not all(map(math.isfinite, row)):
                losses = dict(zip(self._names, row, strict=True))
                raise TrainingError(
                    f"the loss of step {step} is not finite ({losses}); its batch was "
                    f"{', '.join(keys)}. Lower optim.lr, or look at these samples with "
                    "`avdata inspect`; --resume goes on from the last checkpoint"
                )
        return rows
