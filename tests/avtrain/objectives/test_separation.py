"""The losses against naive sums in float64, and the laws that they obey."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from avtrain.objectives.separation import (
    PhaseDistance,
    SeparationObjective,
    SpectrogramPair,
    on_off_distance,
    separation_loss,
    spectrogram_distance,
)

SHAPE = (5, 2, 6, 7)


def _pair(seed: int, shape: tuple[int, ...] = SHAPE) -> SpectrogramPair:
    generator = torch.Generator().manual_seed(seed)
    on, off = (2 * torch.rand((2, *shape), generator=generator) - 1).unbind()
    return SpectrogramPair(on=on, off=off)


def _naive_distance(one: Tensor, other: Tensor, weight: float, phase: str) -> list[float]:
    """Bin by bin, in float64."""
    distances = []
    for a, b in zip(one.double().numpy(), other.double().numpy(), strict=True):
        magnitude, turns = [], []
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                magnitude.append(abs(a[0, i, j] - b[0, i, j]))
                turn = abs(a[1, i, j] - b[1, i, j])
                if phase == "wrapped":
                    first, second = np.exp(1j * np.pi * a[1, i, j]), np.exp(1j * np.pi * b[1, i, j])
                    turn = abs(np.angle(first / second)) / np.pi
                turns.append(turn)
        distances.append(float(np.mean(magnitude) + weight * np.mean(turns)))
    return distances


@pytest.mark.parametrize("phase", ["published", "wrapped"])
@pytest.mark.parametrize("weight", [0.0, 0.01, 1.0])
def test_distance_is_the_naive_one(phase: PhaseDistance, weight: float) -> None:
    one, other = _pair(0).on, _pair(1).on
    ours = spectrogram_distance(one, other, phase_weight=weight, phase=phase)
    assert ours.tolist() == pytest.approx(_naive_distance(one, other, weight, phase), rel=1e-5)


def test_without_phases_only_magnitudes_count() -> None:
    one, other = _pair(0).on, _pair(1).on
    alone = spectrogram_distance(one[:, :1], other[:, :1], phase_weight=0.5, phase="published")
    assert alone.tolist() == pytest.approx(_naive_distance(one, other, 0.0, "published"), rel=1e-5)


@pytest.mark.parametrize("objective", ["on-off", "pit", "on-off+pit"])
def test_loss_is_the_naive_one(objective: SeparationObjective) -> None:
    """PIT chooses for each example, not for the batch."""
    one, target = _pair(2), _pair(3)
    predicted = SpectrogramPair(
        on=torch.cat([one.on[:3], one.off[3:]]), off=torch.cat([one.off[:3], one.on[3:]])
    )
    output = separation_loss(
        predicted, target, objective=objective, phase_weight=0.01, phase="published"
    )

    def naive(on: Tensor, off: Tensor) -> np.ndarray:
        first = _naive_distance(on, target.on, 0.01, "published")
        return np.array(first) + np.array(_naive_distance(off, target.off, 0.01, "published"))

    straight, crossed = naive(predicted.on, predicted.off), naive(predicted.off, predicted.on)
    assert 0 < (straight < crossed).sum() < 5  # both orders occur
    terms = {"on_off": straight.mean(), "pit": np.minimum(straight, crossed).mean()}
    wanted = {"on-off": ["on_off"], "pit": ["pit"], "on-off+pit": ["on_off", "pit"]}[objective]
    assert list(output.terms) == wanted
    for name in wanted:
        assert float(output.terms[name]) == pytest.approx(terms[name], rel=1e-5)
    assert float(output.total) == pytest.approx(sum(terms[name] for name in wanted), rel=1e-5)
    assert float(output.metrics["in_order"]) == pytest.approx((straight < crossed).mean())


def test_pit_does_not_know_the_order_and_on_off_does() -> None:
    predicted, target = _pair(4), _pair(5)
    settings = {"phase_weight": 0.01, "phase": "published"}
    pit = [
        float(separation_loss(pair, target, objective="pit", **settings).total)
        for pair in (predicted, predicted.swapped)
    ]
    assert pit[0] == pytest.approx(pit[1], rel=1e-6)
    right = on_off_distance(target, target, **settings)
    wrong = on_off_distance(target.swapped, target, **settings)
    assert right.abs().max() == 0
    assert wrong.min() > 0.5
    perfect = separation_loss(target.swapped, target, objective="pit", **settings)
    assert float(perfect.total) == 0
    assert float(perfect.metrics["in_order"]) == 0


def test_wrapped_phases_are_near_across_the_seam() -> None:
    one, other = torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    one[:, 1], other[:, 1] = 0.99, -0.99
    far = spectrogram_distance(one, other, phase_weight=1, phase="published")
    near = spectrogram_distance(one, other, phase_weight=1, phase="wrapped")
    assert float(far) == pytest.approx(1.98)
    assert float(near) == pytest.approx(0.02, abs=1e-6)


def test_gradients_point_to_the_target() -> None:
    predicted, target = _pair(6), _pair(7)
    on = predicted.on.clone().requires_grad_()
    pair = SpectrogramPair(on=on, off=predicted.off)
    loss = separation_loss(pair, target, objective="on-off", phase_weight=0.01, phase="published")
    loss.total.backward()
    assert on.grad is not None
    assert torch.equal(on.grad[:, 0].sign(), (on - target.on)[:, 0].sign())
    assert repr(pair) == "SpectrogramPair((5, 2, 6, 7))"
