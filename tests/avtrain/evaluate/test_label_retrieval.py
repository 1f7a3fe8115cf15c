from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avtrain.evaluate.accuracy import LabelledFeatures
from avtrain.evaluate.label_retrieval import first_match_rank, label_retrieval


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


def _on_circle(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_known_ranks() -> None:
    data = LabelledFeatures(
        train=_on_circle(0, 10, 20, 90),
        train_labels=torch.tensor([1, 1, 0, 0]),
        test=_on_circle(1, 24),
        test_labels=torch.tensor([0, 0]),  # places of the first 0: third, and first
    )
    result = label_retrieval(data, at=(1, 2, 3))
    assert result.recall_at == {1: 0.5, 2: 0.5, 3: 1.0}
    # two of four are right: 1/2, 1 - 1/2 * 1/3, 1 - 1/2 * 1/3 * 0
    assert result.chance_recall_at == pytest.approx({1: 1 / 2, 2: 5 / 6, 3: 1.0})
    assert (result.num_queries, result.num_gallery) == (2, 4)


def test_collapsed_features_are_near_chance() -> None:
    labels = torch.arange(40) % 4
    ones = torch.ones(40, 8)
    data = LabelledFeatures(train=ones, train_labels=labels, test=ones, test_labels=labels)
    result = label_retrieval(data)
    # 30 wrong and 10 right ones in random order: the first right one is expected at 1 + 30 / 11
    assert result.recall_at == {1: 0.0, 5: 1.0, 10: 1.0, 20: 1.0}
    assert result.chance_recall_at[1] == pytest.approx(1 / 4)


def test_tied_rank_is_the_mean_over_all_orders() -> None:
    match = torch.tensor([[False, False, True, True, False]])
    similarity = torch.tensor([[0.9, 0.5, 0.5, 0.5, 0.1]], dtype=torch.float64)
    places = [1 + 1 + order.index(True) for order in permutations([False, True, True])]
    assert float(first_match_rank(similarity, match)) == pytest.approx(sum(places) / len(places))


@given(seed=st.integers(0, 2**31), chunk=st.integers(1, 20))
def test_equals_a_plain_loop(seed: int, chunk: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    train, test = torch.randn(12, 3, generator=generator), torch.randn(9, 3, generator=generator)
    labels = torch.arange(12) % 3
    data = LabelledFeatures(
        train=train, train_labels=labels, test=test, test_labels=torch.arange(9) % 3
    )
    hits = 0
    for row, label in zip(test, torch.arange(9) % 3, strict=True):
        cosines = torch.cosine_similarity(row[None].double(), train.double())
        hits += int(label in labels[cosines.argsort(descending=True)[:2]])
    assert label_retrieval(data, at=(2,), chunk_rows=chunk).recall_at[2] == pytest.approx(hits / 9)
