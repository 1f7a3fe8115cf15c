from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from avtrain.evaluate import LabelledFeatures, knn_accuracy


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


def _blobs(count: int, seed: int, *, spread: float) -> tuple[Tensor, Tensor]:
    """Rows around 6 fixed directions, with their classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (count,), generator=generator)
    noise = torch.randn(count, 12, generator=generator)
    return torch.eye(12)[labels] + spread * noise, labels


def _data(*, spread: float) -> LabelledFeatures:
    train, train_labels = _blobs(120, 0, spread=spread)
    test, test_labels = _blobs(60, 1, spread=spread)
    return LabelledFeatures(
        train=train, train_labels=10 * train_labels, test=test, test_labels=10 * test_labels
    )


def test_separated_classes_are_found() -> None:
    result = knn_accuracy(_data(spread=0.05))
    assert (result.top1, result.top5, result.num_classes) == (1.0, 1.0, 6)
    assert 0.05 < result.chance_top1 < 0.4


def test_equals_a_plain_loop() -> None:
    data = _data(spread=0.6)
    hits = 0
    for row, label in zip(data.test, data.test_labels.tolist(), strict=True):
        cosines = torch.cosine_similarity(row[None], data.train).tolist()
        votes: dict[int, float] = {}
        for i in sorted(range(len(cosines)), key=lambda i: -cosines[i])[:20]:
            vote = math.exp(cosines[i] / 0.07)
            votes[int(data.train_labels[i])] = votes.get(int(data.train_labels[i]), 0) + vote
        hits += max(votes, key=lambda c: votes[c]) == label
    assert 0.2 < hits / 60 < 0.98
    for chunk_rows in (7, 1024):
        assert knn_accuracy(data, chunk_rows=chunk_rows).top1 == pytest.approx(hits / 60)


def test_scale_does_not_matter() -> None:
    data = _data(spread=0.6)
    scaled = LabelledFeatures(
        train=100 * data.train,
        train_labels=data.train_labels,
        test=0.01 * data.test,
        test_labels=data.test_labels,
    )
    assert knn_accuracy(scaled) == knn_accuracy(data)


def test_few_training_rows_all_vote_and_low_temperature_stays_finite() -> None:
    data = LabelledFeatures(
        train=torch.eye(2),
        train_labels=torch.tensor([0, 1]),
        test=torch.tensor([[1.0, 0.1], [0.1, 1.0]]),
        test_labels=torch.tensor([0, 1]),
    )
    assert knn_accuracy(data, temperature=0.001).top1 == 1.0


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"num_neighbors=0 and temperature=0\.07 must be positive"):
        knn_accuracy(_data(spread=1.0), num_neighbors=0)
