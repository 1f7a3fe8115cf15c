from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from avtrain.objectives import estimate_normalizer, nce_loss


def _naive(positive: Tensor, negative: Tensor, normalizer: float) -> float:
    """The loss as its equations stand, anchor by anchor."""
    num_negatives = negative.shape[1]
    losses = []
    for p, n in zip(positive.tolist(), negative.tolist(), strict=True):
        noise = num_negatives * normalizer
        pull = -sum(math.log(math.exp(s) / (math.exp(s) + noise)) for s in p) / len(p)
        push = -sum(math.log(noise / (math.exp(s) + noise)) for s in n)
        losses.append(pull + push)
    return sum(losses) / len(losses)


def test_known_answers() -> None:
    negative = torch.tensor([[0.1, -0.3, 0.2], [1.0, 0.0, -1.0]], dtype=torch.float64)
    normalizer = estimate_normalizer(negative)
    assert float(normalizer) == pytest.approx(1.192258861, abs=1e-9)
    one = torch.tensor([[2.0], [0.5]], dtype=torch.float64)
    two = torch.tensor([[2.0, 1.0], [0.5, -0.5]], dtype=torch.float64)
    assert float(nce_loss(one, negative, normalizer=normalizer)) == pytest.approx(
        1.604666620, abs=1e-9
    )
    assert float(nce_loss(two, negative, normalizer=normalizer)) == pytest.approx(
        1.910299793, abs=1e-9
    )


@given(
    seed=st.integers(0, 2**31),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 9)),
    normalizer=st.floats(0.1, 50.0),
)
def test_equals_the_naive_form(seed: int, sizes: tuple[int, int, int], normalizer: float) -> None:
    b, k, m = sizes
    generator = torch.Generator().manual_seed(seed)
    positive = 10 * torch.randn(b, k, generator=generator, dtype=torch.float64)
    negative = 10 * torch.randn(b, m, generator=generator, dtype=torch.float64)
    z = torch.tensor(normalizer, dtype=torch.float64)
    expected = _naive(positive, negative, normalizer)
    assert float(nce_loss(positive, negative, normalizer=z)) == pytest.approx(expected, rel=1e-9)


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    negative = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    z = torch.tensor(2.2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p, n: nce_loss(p, n, normalizer=z), (positive, negative))


def test_extreme_scores_stay_finite_in_float32() -> None:
    positive = torch.tensor([[-1000.0]], requires_grad=True)
    negative = torch.tensor([[1000.0]], requires_grad=True)
    loss = nce_loss(positive, negative, normalizer=torch.tensor(2.2))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2000.0, rel=1e-5)
    assert positive.grad is not None
    assert negative.grad is not None
    assert (float(positive.grad), float(negative.grad)) == (-1.0, 1.0)


def test_normalizer_is_float32_without_gradient_from_half() -> None:
    scores = torch.full((2, 3), 12.0, dtype=torch.float16, requires_grad=True)  # e^12 > 65504
    normalizer = estimate_normalizer(scores)
    assert normalizer.dtype == torch.float32
    assert not normalizer.requires_grad
    assert float(normalizer) == pytest.approx(math.exp(12.0), rel=1e-5)


def test_wrong_shapes_say_what_is_wrong() -> None:
    z = torch.tensor(1.0)
    with pytest.raises(ValueError, match=r"scores must be \(b, k\) .* got \(2,\) and \(2, 3\)"):
        nce_loss(torch.zeros(2), torch.zeros(2, 3), normalizer=z)
    with pytest.raises(ValueError, match=r"got \(3, 1\) and \(2, 3\)"):
        nce_loss(torch.zeros(3, 1), torch.zeros(2, 3), normalizer=z)
    with pytest.raises(ValueError, match=r"must not be empty, got \(2, 0\)"):
        nce_loss(torch.zeros(2, 0), torch.zeros(2, 3), normalizer=z)
