"""Scores against the formula in numpy, known decibels and the laws that they obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from avtrain.evaluate.separation_metrics import (
    better_order,
    bss_scores,
    is_silent,
    mixture_error_db,
    ratio_db,
    si_sdr,
)


def _noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _orthogonal(source: Tensor, seed: int) -> Tensor:
    noise = _noise(seed, *source.shape).double()
    source = source.double()
    return noise - (noise * source).sum() / source.square().sum() * source


def test_si_sdr_is_the_formula() -> None:
    estimate, source = _noise(0, 3, 400), _noise(1, 3, 400)
    for ours, s_hat, s in zip(si_sdr(estimate, source), estimate, source, strict=True):
        x, y = s_hat.double().numpy(), s.double().numpy()
        a = np.dot(x, y) / np.dot(y, y)
        expected = 10 * np.log10(np.sum((a * y) ** 2) / np.sum((a * y - x) ** 2))
        assert float(ours) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(decibels=st.floats(-30, 30), scale=st.floats(1e-3, 1e3))
def test_si_sdr_of_known_noise_at_any_level(decibels: float, scale: float) -> None:
    source = _noise(2, 1000).double()
    noise = _orthogonal(source, 3)
    noise = noise * (source.norm() / noise.norm()) * 10 ** (-decibels / 20)
    assert float(si_sdr(scale * (source + noise), source)) == pytest.approx(decibels, abs=1e-6)


def test_silence_and_perfection() -> None:
    source = _noise(4, 2, 100)
    assert si_sdr(2 * source, 4 * source).min() > 200
    assert torch.isnan(si_sdr(torch.zeros(100), source[0]))
    assert torch.isnan(si_sdr(source[0], torch.zeros(100)))
    sounds = torch.stack([torch.zeros(100), torch.full((100,), 1e-5), torch.full((100,), 0.1)])
    assert is_silent(sounds).tolist() == [True, True, False]


def test_bss_eval_of_known_interference() -> None:
    """White sources; the estimate is the source with a tenth of the other one's energy."""
    sources = _noise(5, 2, 16_000)
    estimates = torch.stack([sources[0] + 0.1**0.5 * sources[1], sources[1]])
    scores = bss_scores(estimates, sources)
    assert scores.sir[0] == pytest.approx(10, abs=0.5)
    assert scores.sdr[0] == pytest.approx(10, abs=0.5)
    assert scores.sar[0] > 60  # nothing but the two sources
    assert scores.sir[1] > 60


def test_bss_eval_of_known_artifacts_and_any_level() -> None:
    sources = _noise(6, 2, 16_000)
    artifact = _noise(7, 16_000)
    estimates = torch.stack([3 * (sources[0] + 0.1**0.5 * artifact), sources[1]])
    scores = bss_scores(estimates, sources)
    assert scores.sar[0] == pytest.approx(10, abs=0.5)
    assert scores.sir[0] > 20
    # a delay and a filter are no distortion here, and are one to SI-SDR
    delayed = torch.stack([sources[0].roll(3), sources[1]])
    assert bss_scores(delayed, sources).sdr[0] > 30
    assert float(si_sdr(delayed[0], sources[0])) < 0


def test_the_better_order() -> None:
    sources = _noise(8, 4, 2, 500)
    estimates = sources + 0.1 * _noise(9, 4, 2, 500)
    flipped = torch.stack([estimates[0], estimates[1].flip(0), estimates[2], estimates[3].flip(0)])
    assert torch.equal(better_order(flipped, sources), estimates)
    assert torch.equal(better_order(estimates, sources), estimates)


def test_errors_of_the_sum() -> None:
    parts = _noise(10, 2, 2, 500)
    mixture = parts.sum(dim=1)
    assert mixture_error_db(parts, mixture).tolist() == [-100, -100]
    assert mixture_error_db(0.9 * parts, mixture).tolist() == pytest.approx([-20, -20], abs=1e-4)
    assert float(ratio_db(10 * parts[0, 0], parts[0, 0])) == pytest.approx(20)
    assert math.isinf(float(ratio_db(parts[0, 0], torch.zeros(500))))
