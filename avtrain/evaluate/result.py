"""What an evaluation came to, as numbers with chance beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from avtrain.evaluate.accuracy import ClassificationAccuracy
from avtrain.methods import Modality

TaskName = Literal[
    "linear",
    "probe",
    "finetune",
    "svm",
    "knn",
    "retrieval",
    "fewshot",
    "sync",
    "separation",
    "localization",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalResult:
    """Numbers of one evaluation; chance is under the same name as its metric.

    Only what is no score, such as a deviation, has none.
    """

    task: TaskName
    metrics: dict[str, float]
    chance: dict[str, float]
    num_samples: int
    """Samples measured on, over all folds."""
    encoder: Modality | None = None
    """Whose features were measured; None is both, or one network that sees and hears."""
    folds: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics of each fold by its name, where there are several: `metrics` are their means."""
    notes: tuple[str, ...] = ()
    """What a reader of the numbers should know."""


def accuracy_result(
    task: TaskName, accuracy: dict[str, ClassificationAccuracy], *, encoder: Modality | None
) -> EvalResult:
    """Result of one fold; `accuracy` by what stands before `top1`, as in `conv5x/top1`."""
    metrics: dict[str, float] = {}
    chance: dict[str, float] = {}
    for name, of in accuracy.items():
        prefix = f"{name}/" if name else ""
        metrics |= {f"{prefix}top1": of.top1, f"{prefix}top5": of.top5}
        chance |= {f"{prefix}top1": of.chance_top1, f"{prefix}top5": of.chance_top5}
    num_test = next(iter(accuracy.values())).num_test
    return EvalResult(
        task=task, metrics=metrics, chance=chance, num_samples=num_test, encoder=encoder
    )


def mean_result(results: dict[str, EvalResult]) -> EvalResult:
    """Mean over folds of results of one task; a single one is what it is.

    A metric that not every fold has is left out.
    """
    first = next(iter(results.values()))
    if len(results) == 1:
        return first
    common = [n for n in first.metrics if all(n in result.metrics for result in results.values())]
    return EvalResult(
        task=first.task,
        metrics={n: _mean([result.metrics[n] for result in results.values()]) for n in common},
        chance={
            n: _mean([result.chance[n] for result in results.values()])
            for n in common
            if n in first.chance
        },
        num_samples=sum(result.num_samples for result in results.values()),
        encoder=first.encoder,
        folds={
            (f"{name}/{inner}" if result.folds else name): metrics
            for name, result in results.items()
            for inner, metrics in (result.folds or {"": result.metrics}).items()
        },
        notes=tuple(dict.fromkeys(note for result in results.values() for note in result.notes)),
    )


def with_best_layer(result: EvalResult) -> EvalResult:
    """The result with `best/top1` and `best/top5`: of the layer with the highest top1.

    As in the papers, the layer is chosen by the numbers of the test itself.
    """
    layers = {name: top1 for name, top1 in result.metrics.items() if name.endswith("/top1")}
    best = max(layers, key=lambda name: layers[name]).removesuffix("/top1")
    names = [f"{best}/{metric}" for metric in ("top1", "top5")]
    return EvalResult(
        task=result.task,
        metrics={**result.metrics, **_best(result.metrics, names)},
        chance={**result.chance, **_best(result.chance, names)},
        num_samples=result.num_samples,
        encoder=result.encoder,
        folds=result.folds,
        notes=(*result.notes, f"best is {best}, chosen on the test"),
    )


def _best(values: dict[str, float], names: list[str]) -> dict[str, float]:
    return {f"best/{name.rpartition('/')[2]}": values[name] for name in names}


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
