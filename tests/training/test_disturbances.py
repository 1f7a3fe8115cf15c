"""Disturbed runs: weights that an optimizer is given differ by about 1e-6; how far bounds are."""

from __future__ import annotations

import pytest
import torch
from disturbances import Bound, margins_table


def stepped_weights() -> torch.Tensor:
    weights = torch.ones(1000, requires_grad=True)
    torch.optim.SGD([weights], lr=0.1)
    return weights.detach()


@pytest.mark.trains
def test_weights_are_disturbed_only_on_request(disturbance: int) -> None:
    change = stepped_weights() - 1
    assert torch.equal(change, stepped_weights() - 1)
    assert float(change.abs().max()) < 1e-5
    assert bool(change.any()) is (disturbance > 0)


@pytest.mark.trains
def test_a_missed_bound_is_noted(bound: Bound, request: pytest.FixtureRequest) -> None:
    bound("accuracy", 0.75, above=0.5)
    with pytest.raises(AssertionError, match=r"loss is 0\.5, must be < 0\.4"):
        bound("loss", 0.5, below=0.4)
    assert [found for _, found in request.node.user_properties] == [
        ["accuracy", ">", 0.5, 0.75],
        ["loss", "<", 0.4, 0.5],
    ]
    request.node.user_properties.clear()  # it is no result of a training


def test_margins_are_of_the_worst_run() -> None:
    runs = {"": 1.0, "disturbed-1-": 0.8, "disturbed-2-": 0.9}
    found = [
        (f"tests/test_a.py::test_b[{run}joint-2]", ["accuracy", ">", 0.7, value])
        for run, value in runs.items()
    ]
    found.append(("tests/test_a.py::test_c[disturbed-1]", ["loss", "<", 1.0, 0.5]))
    assert margins_table(found).splitlines()[2:] == [
        "| `test_a.py::test_b[joint-2]` | accuracy | > 0.7 | 0.8 | 0.9 | 3 | 1.2 |",
        "| `test_a.py::test_c` | loss | < 1 | 0.5 | 0.5 | 1 | all equal |",
    ]
