"""Mined positives against a full sort in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avtrain.objectives import AgreementKind, MemoryBank, MiningSizes, mine_positives

KINDS = ("consensus", "union", "video", "audio")


def _bank(rows: Tensor) -> MemoryBank:
    generator = torch.Generator().manual_seed(0)
    bank = MemoryBank(num_rows=len(rows), dim=rows.shape[1], momentum=0.5, generator=generator)
    bank.memory.copy_(rows)
    return bank


def _plane(cosines: list[float]) -> Tensor:
    """Unit vectors with these cosines to the first."""
    cosine = torch.tensor(cosines, dtype=torch.float64)
    return torch.stack([cosine, (1 - cosine**2).sqrt()], dim=1).float()


def _random_rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    video, audio = (
        F.normalize(torch.randn(count, 8, generator=generator), dim=1) for _ in range(2)
    )
    return video, audio


def _agreements(video: Tensor, audio: Tensor, kind: AgreementKind) -> np.ndarray:
    """All of them, in float64, -inf with itself."""
    v, a = (m.double().numpy() @ m.double().numpy().T for m in (video, audio))
    rho = {"consensus": np.minimum(v, a), "union": np.maximum(v, a), "video": v, "audio": a}[kind]
    np.fill_diagonal(rho, -np.inf)
    return rho


def test_known_answer() -> None:
    video, audio = _plane([1, 0.9, 0.2, 0.8]), _plane([1, 0.1, 0.95, 0.7])
    found = mine_positives(_bank(video), _bank(audio), candidates=torch.arange(4), num_positives=2)
    assert found.dtype == torch.int32
    assert found[0].tolist() == [2, 3]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    num_rows=st.integers(6, 150),
    num_positives=st.integers(1, 4),
    chunk_rows=st.integers(1, 70),
    block_rows=st.sampled_from([1, 7, 32, 64, 96, 1000]),
    kind=st.sampled_from(KINDS),
)
def test_equals_a_full_sort(
    seed: int,
    num_rows: int,
    num_positives: int,
    chunk_rows: int,
    block_rows: int,
    kind: AgreementKind,
) -> None:
    video, audio = _random_rows(num_rows, seed)
    candidates = torch.arange(0, num_rows, 1 + seed % 2)
    if len(candidates) <= num_positives:
        candidates = torch.arange(num_rows)
    found = mine_positives(
        _bank(video),
        _bank(audio),
        candidates=candidates,
        num_positives=num_positives,
        kind=kind,
        sizes=MiningSizes(chunk_rows=chunk_rows, block_rows=block_rows),
    )
    rho = _agreements(video[candidates], audio[candidates], kind)
    expected = np.argsort(-rho, axis=1)[:, :num_positives]
    rows = candidates.numpy()[np.sort(expected, axis=1)]
    values = np.sort(rho, axis=1)
    gap = values[:, -num_positives] - values[:, -num_positives - 1]
    clear = gap > 1e-6  # float32 cannot tell nearer ones apart
    assert (found.numpy()[clear] == rows[clear]).all()
    assert clear.mean() > 0.5


def test_equal_agreements_give_distinct_others_of_the_right_value() -> None:
    # 60 rows are 12 vectors five times over, in two orders
    video, audio = (rows[:12].repeat(5, 1) for rows in _random_rows(12, 0))
    for block_rows in (16, 32, 1000):
        found = mine_positives(
            _bank(video),
            _bank(audio),
            candidates=torch.arange(60),
            num_positives=6,
            sizes=MiningSizes(chunk_rows=9, block_rows=block_rows),
        )
        rho = _agreements(video, audio, "consensus")
        for query, row in enumerate(found.tolist()):
            assert query not in row
            assert len(set(row)) == 6
            best = np.sort(rho[query])[-6:]
            np.testing.assert_allclose(np.sort(rho[query, row]), best, atol=1e-6)
            assert {query % 12} == {other % 12 for other in row if rho[query, other] > 1 - 1e-6}


def test_the_published_way_leaves_out_whoever_is_first() -> None:
    video, audio = _random_rows(40, 3)
    video[11], audio[11] = video[3], audio[3]
    options = {"candidates": torch.arange(40), "num_positives": 1}
    exact = mine_positives(_bank(video), _bank(audio), **options)
    assert (exact[3].tolist(), exact[11].tolist()) == ([11], [3])
    published = mine_positives(_bank(video), _bank(audio), left_out="best", **options)
    assert published[3].tolist()[0] in (3, 11)
    others = [query for query in range(40) if query not in (3, 11)]
    assert torch.equal(published[others], exact[others])


def test_more_positives_than_candidates_of_the_first_block() -> None:
    video, audio = _random_rows(50, 1)
    found = mine_positives(
        _bank(video),
        _bank(audio),
        candidates=torch.arange(50),
        num_positives=48,
        sizes=MiningSizes(chunk_rows=64, block_rows=8),
    )
    least = _agreements(video, audio, "consensus")
    np.fill_diagonal(least, np.inf)
    for query, row in enumerate(found.tolist()):
        assert sorted({*range(50)} - {*row} - {query}) == [int(least[query].argmin())]


def test_precision_of_products_is_left_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        video, audio = _random_rows(9, 1)
        mine_positives(_bank(video), _bank(audio), candidates=torch.arange(9), num_positives=2)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_too_few_candidates_are_refused() -> None:
    video, audio = _random_rows(4, 0)
    with pytest.raises(ValueError, match=r"num_positives=4 must be in \[1, 4\)"):
        mine_positives(_bank(video), _bank(audio), candidates=torch.arange(4), num_positives=4)
