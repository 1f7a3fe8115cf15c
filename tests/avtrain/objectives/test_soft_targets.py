"""Weights and targets: tables worked out by hand, laws, and no gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avtrain.objectives import (
    TargetKind,
    correspondence_weights,
    info_nce_losses,
    mix_targets,
    soft_targets,
)
from avtrain.objectives.info_nce import mask_candidates
from avtrain.objectives.soft_targets import TARGET_SIMILARITY, entropy

SIMILARITY = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
MEAN, STD = torch.tensor(0.5), torch.tensor(0.08).sqrt()


def weights(*, delta: float, kappa: float, min_weight: float = 0.25) -> Tensor:
    return correspondence_weights(
        SIMILARITY, mean=MEAN, std=STD, delta=delta, kappa=kappa, min_weight=min_weight
    )


# specification of Robust-xID, section 10, test 1
@pytest.mark.parametrize(
    ("delta", "kappa", "expected"),
    [
        (0.0, 0.5, [0.267063, 0.368991, 0.625000, 0.881009, 0.982937]),
        (-0.5, 0.5, [0.323518, 0.538601, 0.820187, 0.967074, 0.997455]),
        (0.5, 0.5, [0.252545, 0.282926, 0.429813, 0.711399, 0.926482]),
        (0.0, 1.0, [0.308987, 0.429813, 0.625000, 0.820187, 0.941013]),
    ],
)
def test_the_table_of_weights(delta: float, kappa: float, expected: list[float]) -> None:
    got = weights(delta=delta, kappa=kappa)
    torch.testing.assert_close(got, torch.tensor(expected), atol=1e-6, rtol=0)


def test_the_deviation_of_the_table_is_that_of_the_population() -> None:
    torch.testing.assert_close(SIMILARITY.std(correction=0), STD)
    assert float(STD) == pytest.approx(0.282843, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    delta=st.floats(-2, 2),
    kappa=st.floats(0.05, 4),
    min_weight=st.floats(0, 1),
    mean=st.floats(-0.5, 0.5),
    std=st.floats(0.01, 0.5),
)
def test_laws_of_weights(
    delta: float, kappa: float, min_weight: float, mean: float, std: float
) -> None:
    similarity = torch.linspace(-1, 1, 41, dtype=torch.float64)
    arguments = {
        "mean": torch.tensor(mean, dtype=torch.float64),
        "std": torch.tensor(std, dtype=torch.float64),
        "delta": delta,
        "kappa": kappa,
        "min_weight": min_weight,
    }
    got = correspondence_weights(similarity, **arguments)
    assert (got.diff() >= 0).all()
    assert (got >= min_weight).all()
    assert (got <= 1).all()
    middle = torch.tensor([mean + delta * std], dtype=torch.float64)
    at_middle = correspondence_weights(middle, **arguments)
    assert float(at_middle) == pytest.approx(min_weight + (1 - min_weight) / 2, abs=1e-9)


def test_the_floor_of_one_gives_ones_and_equal_similarities_are_at_the_mean() -> None:
    assert torch.equal(weights(delta=0.3, kappa=0.5, min_weight=1.0), torch.ones(5))
    equal = correspondence_weights(
        torch.full((3,), 0.2),
        mean=torch.tensor(0.2),
        std=torch.tensor(0.0),
        delta=0.0,
        kappa=0.5,
        min_weight=0.5,
    )
    assert torch.equal(equal, torch.full((3,), 0.75))


# specification of Robust-xID, section 10, test 2: angles in the plane, anchor 0
def _units(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


BANKS = {"video": _units(0, 20, 90), "audio": _units(10, 40, 100)}
VALID = torch.ones(1, 3, dtype=torch.bool)


def targets_of(kind: TargetKind, *, constant: float = 0.0) -> Tensor:
    query, candidates = TARGET_SIMILARITY[kind]["video_to_audio"]
    correspondence = None
    if kind == "cycle":
        correspondence = (BANKS["video"] * BANKS["audio"]).sum(dim=1)[None] + constant
    return soft_targets(
        BANKS[query][:1] @ BANKS[candidates].T,
        temperature=0.2,
        valid=VALID,
        correspondence=correspondence,
        correspondence_temperature=0.7,
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bootstrap", [0.747392, 0.250328, 0.002280]),
        ("swapped", [0.495707, 0.495707, 0.008586]),
        ("neighbor", [0.572600, 0.423541, 0.003858]),
        ("cycle", [0.511534, 0.479605, 0.008861]),
    ],
)
def test_the_table_of_targets(kind: TargetKind, expected: list[float]) -> None:
    got = targets_of(kind)
    torch.testing.assert_close(got[0], torch.tensor(expected).double(), atol=1e-6, rtol=0)


def test_the_table_of_mixed_targets_and_losses() -> None:
    targets = mix_targets(targets_of("cycle"), mix=0.5)
    scores = BANKS["video"][:1] @ BANKS["audio"].T / 0.5
    expected = torch.tensor([0.755767, 0.239803, 0.004430]).double()
    torch.testing.assert_close(targets[0], expected, atol=1e-6, rtol=0)
    probability = torch.tensor([0.573326, 0.370157, 0.056517]).double()
    torch.testing.assert_close(scores.softmax(dim=1)[0], probability, atol=1e-6, rtol=0)
    assert float(info_nce_losses(scores)) == pytest.approx(0.556301, abs=1e-6)
    assert float(info_nce_losses(scores, targets=targets)) == pytest.approx(0.671486, abs=1e-6)


@pytest.mark.parametrize("kind", TARGET_SIMILARITY)
def test_the_other_direction_swaps_the_modalities(kind: TargetKind) -> None:
    other = {"video": "audio", "audio": "video"}
    one, two = (TARGET_SIMILARITY[kind][d] for d in ("video_to_audio", "audio_to_video"))
    assert two == (other[one[0]], other[one[1]])


# specification of Robust-xID, section 10, test 4
def test_the_first_leg_of_the_cycle_cancels() -> None:
    own = float((BANKS["video"][0] * BANKS["audio"][0]).sum())
    torch.testing.assert_close(
        targets_of("cycle", constant=own), targets_of("cycle"), atol=1e-14, rtol=0
    )


def test_masked_candidates_have_no_share_and_give_no_nan() -> None:
    scores = torch.tensor([[60.0, -60.0, 5.0], [1.0, 2.0, 3.0]], requires_grad=True)
    valid = torch.tensor([[True, False, True], [True, False, False]])
    masked = mask_candidates(scores, valid)
    targets = mix_targets(soft_targets(scores, temperature=0.02, valid=valid), mix=0.5)
    assert torch.equal(targets[:, 1], torch.zeros(2))
    losses = info_nce_losses(masked, targets=targets)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert float(losses[1].detach()) == 0.0
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert not scores.grad[~valid].any()


def test_targets_take_no_gradient_and_mix_per_row() -> None:
    scores = torch.randn(2, 4, requires_grad=True)
    soft = soft_targets(scores, temperature=0.5, valid=torch.ones(2, 4, dtype=torch.bool))
    assert not soft.requires_grad
    mixed = mix_targets(soft, mix=torch.tensor([[0.0], [1.0]]))
    assert torch.equal(mixed[0], torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert torch.equal(mixed[1], soft[1])
    targets = torch.full((2, 4), 0.25, requires_grad=True)
    info_nce_losses(scores, targets=targets).sum().backward()
    assert targets.grad is None


def test_entropy() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    torch.testing.assert_close(entropy(rows), torch.tensor([0.0, math.log(2)]))


def test_shapes_of_targets() -> None:
    with pytest.raises(ValueError, match=r"targets must be \(2, 3\) as the scores, got \(2, 2\)"):
        info_nce_losses(torch.zeros(2, 3), targets=torch.zeros(2, 2))
