"""Linear classification of frozen features by a few labeled samples of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from avtrain.evaluate.accuracy import LabelledFeatures
from avtrain.evaluate.config import FewshotConfig
from avtrain.evaluate.linear_probe import linear_probe_accuracy

if TYPE_CHECKING:
    from jaxtyping import Int


@dataclass(frozen=True, kw_only=True, slots=True)
class FewshotAccuracy:
    """Accuracy over several draws of the labeled samples."""

    shots: int
    """Labeled samples of each class."""
    top1: float
    """Mean over draws."""
    top1_std: float
    """Deviation between draws: the spread of the draw, not an error of the mean."""
    chance_top1: float
    """1 / number of classes: all are equally frequent among the labeled samples."""


def fewshot_accuracy(
    data: LabelledFeatures, *, shots: int, config: FewshotConfig, seed: int
) -> FewshotAccuracy:
    """Test accuracy of logistic regressions on `shots` random training rows of each class.

    Raises:
        ValueError: A class has fewer rows.
    """
    train_target, _ = data.targets()
    values = []
    for draw in range(config.draws):
        rows = draw_rows(train_target, shots, seed=seed, draw=draw)
        few = LabelledFeatures(
            train=data.train[rows],
            train_labels=data.train_labels[rows],
            test=data.test,
            test_labels=data.test_labels,
        )
        values.append(
            linear_probe_accuracy(
                few,
                inverse_penalty=config.inverse_penalty,
                max_iterations=config.max_iterations,
            ).top1
        )
    return FewshotAccuracy(
        shots=shots,
        top1=float(np.mean(values)),
        top1_std=float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        chance_top1=1 / (int(train_target.max()) + 1),
    )


def smallest_class(target: Int[Tensor, " m"]) -> int:
    """Rows of the rarest class."""
    return int(torch.bincount(target).min())


def draw_rows(target: Int[Tensor, " m"], shots: int, *, seed: int, draw: int) -> Int[Tensor, " k"]:
    """`shots` rows of each class, ascending: a function of seed and draw.

    Raises:
        ValueError: A class has fewer rows.
    """
    if smallest_class(target) < shots:
        raise ValueError(
            f"shots={shots} needs as many rows of each class, the rarest has "
            f"{smallest_class(target)}; take fewer shots"
        )
    words = np.random.PCG64(np.random.SeedSequence([seed, shots, draw])).random_raw(len(target))
    order = torch.from_numpy(np.argsort(words, kind="stable"))
    chosen = [order[target[order] == label][:shots] for label in range(int(target.max()) + 1)]
    return torch.cat(chosen).sort().values
