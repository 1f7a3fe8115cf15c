from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avtrain.objectives import combine_terms, normalize_coefficients

CMA = {
    "cross_instance": 1.0,
    "within_instance": 0.0,
    "cross_positive": 0.0,
    "within_positive": 1.0,
}


def test_known_coefficients() -> None:
    assert normalize_coefficients(CMA) == {"cross_instance": 0.5, "within_positive": 0.5}
    three = normalize_coefficients(CMA | {"cross_positive": 1.0})
    assert three == pytest.approx(dict.fromkeys(three, 1 / 3))
    assert len(three) == 3


@given(st.dictionaries(st.text(min_size=1), st.floats(0.01, 100.0), min_size=1))
def test_weights_sum_to_one_and_keep_proportions(coefficients: dict[str, float]) -> None:
    weights = normalize_coefficients(coefficients)
    assert sum(weights.values()) == pytest.approx(1.0)
    total = sum(coefficients.values())
    assert weights == pytest.approx({n: c / total for n, c in coefficients.items()})


def test_combined_total_and_detached_terms() -> None:
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(6.0, requires_grad=True)
    output = combine_terms({"b": b, "a": a}, weights={"a": 0.25, "b": 0.75})
    output.total.backward()
    assert float(output.total.detach()) == 5.0
    assert (float(a.grad or 0), float(b.grad or 0)) == (0.25, 0.75)
    assert {n: float(t) for n, t in output.terms.items()} == {"a": 2.0, "b": 6.0}
    assert not any(t.requires_grad for t in output.terms.values())


def test_missing_and_extra_terms_are_named() -> None:
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match=r"missing \['b'\], extra \['c'\]"):
        combine_terms({"a": one, "c": one}, weights={"a": 0.5, "b": 0.5})
    with pytest.raises(ValueError, match=r"missing \[\], extra \['c'\]"):
        combine_terms({"a": one, "c": one}, weights={"a": 1.0})


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_wrong_coefficients_are_named(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"finite and not negative, got \{'b'"):
        normalize_coefficients({"a": 1.0, "b": wrong})


def test_all_zero_coefficients_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one loss coefficient must be positive"):
        normalize_coefficients({"a": 0.0})
