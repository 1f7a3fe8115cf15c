from __future__ import annotations

import math

import pytest
import torch

from avtrain.evaluate import LabelledFeatures
from avtrain.evaluate.accuracy import classification_accuracy, expected_rank


def test_expected_rank_counts_ties_half() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 2.0, 5.0]])
    rank = expected_rank(scores, torch.tensor([0, 1, 0]))
    assert rank.tolist() == [1.0, 2.0, 2.5]


def test_known_accuracy_and_chance() -> None:
    scores = torch.eye(7)[torch.tensor([0, 1, 1, 6])] + torch.linspace(0.7, 0.1, 7)
    train = torch.tensor([4, 4, 4, 0, 0, 1, 2, 3, 5, 6])
    result = classification_accuracy(scores, torch.tensor([0, 1, 4, 6]), train_target=train)
    assert (result.top1, result.top5) == (0.75, 1.0)
    # the most frequent classes are 4, 0, then 1 2 3 of those that occur once
    assert (result.chance_top1, result.chance_top5) == (0.25, 0.75)
    assert (result.num_test, result.num_classes) == (4, 7)


def test_equal_scores_give_no_top1() -> None:
    result = classification_accuracy(
        torch.ones(4, 20), torch.arange(4), train_target=torch.arange(20)
    )
    assert (result.top1, result.top5) == (0.0, 0.0)


def _data(**changes: torch.Tensor) -> LabelledFeatures:
    fields = {
        "train": torch.zeros(4, 3),
        "train_labels": torch.tensor([0, 0, 7, 7]),
        "test": torch.zeros(2, 3),
        "test_labels": torch.tensor([7, 0]),
    }
    return LabelledFeatures(**(fields | changes))


def test_labels_become_positions() -> None:
    train_target, test_target = _data().targets()
    assert train_target.tolist() == [0, 0, 1, 1]
    assert test_target.tolist() == [1, 0]
    assert repr(_data()) == "LabelledFeatures(train=(4, 3), test=(2, 3))"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": torch.zeros(0, 3)}, r"train features are empty, got shape \(0, 3\)"),
        ({"test": torch.zeros(2)}, r"test features must be \(n, d\), got shape \(2,\)"),
        ({"test": torch.zeros(2, 4)}, "train features have 3 columns and test features 4"),
        ({"test": torch.zeros(2, 3, dtype=torch.long)}, "test features must be floating point"),
        (
            {"train": torch.tensor([[0.0] * 3] * 3 + [[math.nan] * 3])},
            "train features are not finite in 1 of 4 rows, first in row 3",
        ),
        ({"train_labels": torch.zeros(4, dtype=torch.long)}, r"hold one class only \(0\)"),
        ({"train_labels": torch.tensor([0, 1])}, "train labels must be 4 integers"),
        ({"test_labels": torch.tensor([0.0, 7.0])}, "test labels must be 2 integers"),
        ({"test_labels": torch.tensor([0, 3])}, r"test labels \[3\] do not occur among the 2"),
    ],
)
def test_errors(changes: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _data(**changes)
