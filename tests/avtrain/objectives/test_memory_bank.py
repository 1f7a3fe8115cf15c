from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from avtrain.objectives import MemoryBank


def _bank(num_rows: int, dim: int, *, momentum: float = 0.5, seed: int = 0) -> MemoryBank:
    generator = torch.Generator().manual_seed(seed)
    return MemoryBank(num_rows=num_rows, dim=dim, momentum=momentum, generator=generator)


def test_starts_random_unit_and_reproducible() -> None:
    bank, same, other = _bank(500, 16), _bank(500, 16), _bank(500, 16, seed=1)
    torch.testing.assert_close(bank.memory.norm(dim=1), torch.ones(500))
    assert torch.equal(bank.memory, same.memory)
    assert not torch.equal(bank.memory, other.memory)
    assert bank.memory.mean(dim=0).abs().max() < 0.1
    assert dict(bank.state_dict()).keys() == {"memory"}


def test_update_known_answer() -> None:
    bank = _bank(3, 2)
    bank.memory[1] = torch.tensor([1.0, 0.0])
    before = bank.memory.clone()
    bank.update(torch.tensor([1]), torch.tensor([[0.0, 1.0]]))
    assert bank.memory[1].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert torch.equal(bank.memory[[0, 2]], before[[0, 2]])


def test_rows_are_copies_without_gradient() -> None:
    bank = _bank(4, 3)
    index = torch.tensor([[0, 1], [2, 2]])
    rows = bank.rows(index)
    kept = rows.clone()
    embedding = F.normalize(torch.ones(2, 3), dim=1).requires_grad_()
    bank.update(torch.tensor([0, 2]), embedding)
    assert rows.shape == (2, 2, 3)
    assert torch.equal(rows, kept)
    assert not rows.requires_grad
    assert not bank.memory.requires_grad


@given(
    seed=st.integers(0, 2**31),
    index=st.lists(st.integers(0, 5), max_size=20),
    momentum=st.floats(0.0, 0.99),
)
def test_update_equals_a_loop_in_which_the_last_occurrence_counts(
    seed: int, index: list[int], momentum: float
) -> None:
    bank = _bank(6, 4, momentum=momentum, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    embedding = F.normalize(torch.randn(len(index), 4, generator=generator), dim=1)
    expected = bank.memory.clone()
    for row, e in dict(zip(index, embedding, strict=True)).items():  # a dict keeps the last
        expected[row] = F.normalize(momentum * expected[row] + (1 - momentum) * e, dim=0)
    bank.update(torch.tensor(index, dtype=torch.long), embedding)
    torch.testing.assert_close(bank.memory, expected)
    torch.testing.assert_close(bank.memory.norm(dim=1), torch.ones(6))


def test_mixtures_without_direction_or_not_finite_leave_the_row() -> None:
    bank = _bank(3, 4)
    before = bank.memory.clone()
    embedding = torch.stack([-before[0], torch.full((4,), math.nan), torch.full((4,), math.inf)])
    bank.update(torch.tensor([0, 1, 2]), embedding)
    assert torch.equal(bank.memory, before)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"momentum=1\.0 must be in \[0, 1\)"):
        _bank(2, 2, momentum=1.0)
    with pytest.raises(ValueError, match="num_rows=0 >= 1"):
        _bank(0, 2)
    with pytest.raises(ValueError, match=r"takes \(b,\) indices and \(b, 2\) embeddings, got"):
        _bank(2, 2).update(torch.tensor([0]), torch.zeros(1, 3))


@pytest.mark.parametrize("num_rows", [30, 200])  # multiplied as a whole, and row by row
def test_scores_and_their_gradient_are_those_of_the_rows_before_an_update(num_rows: int) -> None:
    bank = _bank(num_rows, 8)
    generator = torch.Generator().manual_seed(1)
    embedding = F.normalize(torch.randn(3, 8, generator=generator), dim=1).requires_grad_()
    index = torch.randint(num_rows, (3, 5), generator=generator)
    rows = bank.rows(index).double()
    weights = torch.randn(3, 5, generator=generator)
    scores = bank.scores(embedding, index, temperature=0.07)
    bank.update(index[:, 0], embedding.detach())
    (weights * scores).sum().backward()
    expected = (rows * embedding.detach().double()[:, None]).sum(dim=2) / 0.07
    torch.testing.assert_close(scores, expected.float())
    gradient = (weights.double()[:, :, None] * rows).sum(dim=1) / 0.07
    torch.testing.assert_close(embedding.grad, gradient.float())
