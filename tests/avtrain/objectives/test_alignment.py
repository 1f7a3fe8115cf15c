"""Losses of sync against naive float64 forms, and their symmetries."""

import math

import pytest
import torch

from avtrain.objectives import alignment_loss, offset_loss


def naive_alignment(logits: list[list[float]], aligned_first: list[bool]) -> float:
    """Owens & Efros 2018, eq. 1: the mean over both terms of each clip."""
    total = 0.0
    for clip, first in enumerate(aligned_first):
        aligned, shifted = (0, 1) if first else (1, 0)
        total -= math.log(1 / (1 + math.exp(-logits[aligned][clip])))
        total -= math.log(1 - 1 / (1 + math.exp(-logits[shifted][clip])))
    return total / (2 * len(aligned_first))


def test_alignment_is_the_equation() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 7, generator=generator)
    first = torch.tensor([True, False, False, True, True, False, True])
    output = alignment_loss(logits, first)
    expected = naive_alignment(logits.double().tolist(), first.tolist())
    assert float(output.total) == pytest.approx(expected, rel=1e-6)
    assert float(output.terms["alignment"]) == pytest.approx(expected, rel=1e-6)


def test_alignment_metrics_count() -> None:
    # clip 0: both right; clip 1: both called shifted, order right; clip 2: both wrong
    logits = torch.tensor([[2.0, -3.0, 1.0], [-1.0, -1.0, -1.0]])
    output = alignment_loss(logits, torch.tensor([True, False, False]))
    assert float(output.metrics["accuracy"]) == pytest.approx(3 / 6)
    assert float(output.metrics["aligned_over_shifted"]) == pytest.approx(2 / 3)


def test_the_order_of_the_passes_does_not_matter() -> None:
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    first = torch.tensor([True, True, False, True, False])
    one, other = alignment_loss(logits, first), alignment_loss(logits.flip(0), ~first)
    assert float(one.total) == pytest.approx(float(other.total))
    assert one.metrics == other.metrics


def test_losses_of_half_precision_are_float32() -> None:
    logits = torch.full((2, 3), 200.0, dtype=torch.bfloat16)
    output = alignment_loss(logits, torch.ones(3, dtype=torch.bool))
    assert output.total.dtype == torch.float32
    assert float(output.total) == pytest.approx(100)


def test_offset_is_a_cross_entropy() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    delay = torch.tensor([0, 4, 2, 2, 1, 3])
    output = offset_loss(logits, delay)
    rows = logits.double().exp()
    expected = -(rows / rows.sum(1, keepdim=True)).log()[range(6), delay].mean()
    assert float(output.total) == pytest.approx(float(expected), rel=1e-6)


def test_offset_metrics_count() -> None:
    logits = torch.eye(5)[[0, 3, 2]]
    output = offset_loss(logits, torch.tensor([0, 4, 4]))
    assert float(output.metrics["accuracy"]) == pytest.approx(1 / 3)
    assert float(output.metrics["within_one"]) == pytest.approx(2 / 3)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, b\) for labels \(b,\), got \(3, 2\) and \(2,\)"):
        alignment_loss(torch.zeros(3, 2), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"\(b, k\) for delays \(b,\), got \(3, 2\) and \(2,\)"):
        offset_loss(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))
