from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from avtrain.objectives import (
    remap_excluding,
    uniform_excluding,
    uniform_other_candidates,
    uniform_others,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_remap_known_answer() -> None:
    draws, excluded = torch.arange(7)[None], torch.tensor([[2, 5, 6]])
    assert remap_excluding(draws, excluded).tolist() == [[0, 1, 3, 4, 7, 8, 9]]


@given(excluded=st.sets(st.integers(0, 29), max_size=29))
def test_remap_is_a_bijection_onto_the_others(excluded: set[int]) -> None:
    left = sorted(set(range(30)) - excluded)
    rows = torch.tensor(sorted(excluded), dtype=torch.int32)[None]
    assert remap_excluding(torch.arange(len(left))[None], rows).tolist() == [left]


@given(seed=st.integers(0, 2**31), num_rows=st.integers(2, 40))
def test_others_are_never_the_anchor(seed: int, num_rows: int) -> None:
    index = torch.arange(num_rows)
    drawn = uniform_others(index, num_rows=num_rows, num_negatives=50, generator=_generator(seed))
    assert drawn.shape == (num_rows, 50)
    assert not (drawn == index[:, None]).any()
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < num_rows


@given(seed=st.integers(0, 2**31), rows=st.sets(st.integers(0, 99), min_size=2))
def test_candidates_are_never_the_anchor_nor_others(seed: int, rows: set[int]) -> None:
    candidates = torch.tensor(sorted(rows))
    drawn = uniform_other_candidates(
        candidates.flip(0), candidates=candidates, num_negatives=50, generator=_generator(seed)
    )
    assert not (drawn == candidates.flip(0)[:, None]).any()
    assert torch.isin(drawn, candidates).all()


@pytest.mark.parametrize("own", [0, 4, 9])
def test_others_are_uniform(own: int) -> None:
    drawn = uniform_others(
        torch.tensor([own]), num_rows=10, num_negatives=90_000, generator=_generator()
    )
    counts = torch.bincount(drawn[0], minlength=10)
    assert counts[own] == 0
    assert chisquare(counts[counts > 0].numpy()).pvalue > 0.01
    assert int((counts > 0).sum()) == 9


@pytest.mark.parametrize("own", [3, 8, 21])
def test_candidates_are_uniform(own: int) -> None:
    candidates = torch.tensor([3, 7, 8, 15, 21])
    drawn = uniform_other_candidates(
        torch.tensor([own], dtype=torch.int32),
        candidates=candidates,
        num_negatives=40_000,
        generator=_generator(),
    )
    counts = torch.bincount(drawn[0], minlength=22)
    others = [row for row in candidates.tolist() if row != own]
    assert counts.nonzero().flatten().tolist() == others
    assert chisquare(counts[others].numpy()).pvalue > 0.01


def test_excluding_is_uniform_over_the_rest() -> None:
    candidates = torch.tensor([1, 2, 3, 5, 8, 13])
    excluded = torch.tensor([[2, 5], [1, 13]], dtype=torch.int32)
    drawn = uniform_excluding(
        excluded, candidates=candidates, num_negatives=40_000, generator=_generator()
    )
    for row, left in zip(drawn, ([1, 3, 8, 13], [2, 3, 5, 8]), strict=True):
        counts = torch.bincount(row, minlength=14)
        assert counts.nonzero().flatten().tolist() == left
        assert chisquare(counts[left].numpy()).pvalue > 0.01


def test_same_generator_state_gives_the_same_negatives() -> None:
    first, second = (
        uniform_others(torch.arange(9), num_rows=9, num_negatives=5, generator=_generator(3))
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_errors() -> None:
    index = torch.tensor([0])
    with pytest.raises(ValueError, match="at least 2 rows, got num_rows=1"):
        uniform_others(index, num_rows=1, num_negatives=1, generator=_generator())
    with pytest.raises(ValueError, match="num_negatives=0 must be positive"):
        uniform_others(index, num_rows=2, num_negatives=0, generator=_generator())
    with pytest.raises(ValueError, match="at least 2 candidate rows, got 1"):
        uniform_other_candidates(index, candidates=index, num_negatives=1, generator=_generator())
    with pytest.raises(ValueError, match="1 excluded rows leave none of 1 candidates"):
        uniform_excluding(index[None], candidates=index, num_negatives=1, generator=_generator())
