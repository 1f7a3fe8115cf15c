"""Accuracy of class scores, with what a guess would reach beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationAccuracy:
    """Fractions in [0, 1] over a test set."""

    top1: float
    """Fraction of rows whose class has the highest score."""
    top5: float
    """Fraction of rows whose class is among the five highest; 1 with five classes or fewer."""
    chance_top1: float
    """top1 of always naming the most frequent class of the training set."""
    chance_top5: float
    """top5 of always naming the five most frequent classes of the training set."""
    num_test: int
    """Rows of the test set."""
    num_classes: int
    """Classes of the training set."""


def expected_rank(
    scores: Float[Tensor, "n c"], target: Int[Tensor, " n"], *, tolerance: float = 0.0
) -> Float[Tensor, " n"]:
    """Rank from 1 of the target's score in its row, ties at the middle of their places.

    It is 1 + the number of greater scores + half the number of other equal ones: scores that are
    all equal, as of a collapsed model, give the mean rank and not the first.

    Args:
        tolerance: scores that differ by no more are equal; for scores from a matrix product, which
            may round equal columns differently.
    """
    margin = scores - scores.gather(1, target[:, None])
    greater = (margin > tolerance).sum(dim=1)
    equal = (margin.abs() <= tolerance).sum(dim=1) - 1
    return 1.0 + greater.double() + equal.double() / 2


def classification_accuracy(
    scores: Float[Tensor, "n c"], target: Int[Tensor, " n"], *, train_target: Int[Tensor, " m"]
) -> ClassificationAccuracy:
    """Accuracy of scores over classes 0 .. c - 1; a tie with a wrong class never helps.

    Args:
        target: class of each test row.
        train_target: classes of the training set, from which chance is counted.
    """
    num_classes = scores.shape[1]
    rank = expected_rank(scores, target)
    frequency = torch.bincount(train_target, minlength=num_classes)
    by_frequency = frequency.argsort(descending=True, stable=True)
    guesses = by_frequency[:5]
    return ClassificationAccuracy(
        top1=float((rank <= 1).double().mean()),
        top5=float((rank <= 5).double().mean()),
        chance_top1=float((target == guesses[0]).double().mean()),
        chance_top5=float(torch.isin(target, guesses).double().mean()),
        num_test=len(target),
        num_classes=num_classes,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledFeatures:
    """Training and test rows of one classification task, checked when made."""

    train: Float[Tensor, "m d"]
    """Training features, finite."""
    train_labels: Int[Tensor, " m"]
    """Any integers; at least two different ones."""
    test: Float[Tensor, "n d"]
    """Test features, finite."""
    test_labels: Int[Tensor, " n"]
    """Only labels that occur in the training set."""

    def __post_init__(self) -> None:
        check_features(self.train, name="train features")
        check_features(self.test, name="test features")
        if self.train.shape[1] != self.test.shape[1]:
            raise ValueError(
                f"train features have {self.train.shape[1]} columns and test features "
                f"{self.test.shape[1]}; take both from one encoder and layer"
            )
        _check_labels(self.train_labels, len(self.train), name="train labels")
        _check_labels(self.test_labels, len(self.test), name="test labels")
        classes = torch.unique(self.train_labels)
        if len(classes) < 2:
            raise ValueError(
                f"train labels hold one class only ({int(classes[0])}); at least 2 are needed"
            )
        unknown = torch.unique(self.test_labels[~torch.isin(self.test_labels, classes)])
        if len(unknown):
            raise ValueError(
                f"test labels {unknown[:10].tolist()} do not occur among the {len(classes)} train "
                "classes; use the same label map for both"
            )

    def __repr__(self) -> str:
        return f"LabelledFeatures(train={tuple(self.train.shape)}, test={tuple(self.test.shape)})"

    def targets(self) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
        """Train and test classes as positions among the sorted train labels."""
        classes, train_target = torch.unique(self.train_labels, return_inverse=True)
        return train_target, torch.searchsorted(classes, self.test_labels.contiguous())


def check_features(features: Float[Tensor, "n d"], *, name: str) -> None:
    """Nothing, or a ValueError when the features are not a finite floating matrix with rows."""
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"{name} must be (n, d), got shape {tuple(features.shape)}")
    if len(features) == 0:
        raise ValueError(f"{name} are empty, got shape {tuple(features.shape)}")
    if not features.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {features.dtype}")
    finite = torch.isfinite(features).all(dim=1)
    if not bool(finite.all()):
        first = int(finite.logical_not().nonzero()[0, 0])
        raise ValueError(
            f"{name} are not finite in {int((~finite).sum())} of {len(features)} rows, first in "
            f"row {first}; look at the encoder's output"
        )


def _check_labels(labels: Tensor, num_rows: int, *, name: str) -> None:
    if labels.ndim != 1 or len(labels) != num_rows or labels.is_floating_point():
        raise ValueError(
            f"{name} must be {num_rows} integers, one a row, got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
