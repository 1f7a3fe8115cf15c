"""Pytest plugin for tests that assert what a short training ends at.

Another processor rounds differently, and a training turns other rounding into another result. Such
tests have the marker `trains` and state their bounds through the fixture `bound`:

    python -m pytest -m trains --disturbances 20
    python -m pytest -m trains --disturbances 20 --margins tests/training/margins.md

runs each of them as it is and 20 times more, each time with another `training_seed` and with all
weights that an optimizer is given disturbed by 1e-6 of themselves. At the end a table shows how
far the results are from their bounds. Without the option nothing is disturbed.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

RELATIVE_SIZE = 1e-6
"""Standard deviation of the noise, in parts of a weight: a few roundings of float32."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tests that train")
    group.addoption(
        "--disturbances",
        type=int,
        default=0,
        metavar="N",
        help="run each test with the marker `trains` N times more, with other seeds and weights",
    )
    group.addoption(
        "--margins", type=Path, metavar="FILE", help="also write the table of margins to FILE"
    )


@pytest.fixture(autouse=True)
def disturbance(request: pytest.FixtureRequest) -> Iterator[int]:
    """Number of the disturbance of this run; 0 disturbs nothing."""
    number: int = getattr(request, "param", 0)
    if not number:
        yield number
        return
    with mock.patch.object(torch.optim.Optimizer, "__init__", _disturbing(number)):
        yield number


@pytest.fixture
def training_seed(disturbance: int) -> int:
    """Seed for all that is random in a training: 0, and another one in each disturbed run."""
    return 1000 * disturbance


def _disturbing(number: int) -> Callable[..., None]:
    initialize = torch.optim.Optimizer.__init__

    def disturb(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
        initialize(self, *args, **kwargs)
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    noise = torch.randn(weight.shape, generator=generator)
                    weight.mul_((1 + RELATIVE_SIZE * noise.double()).to(weight))

    return disturb


class Bound:
    """Assertion on a result of a training, noted before it is made."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node

    def __call__(
        self, name: str, value: float, *, above: float | None = None, below: float | None = None
    ) -> None:
        """Assert that the result is above or below a number (one of the two is given)."""
        assert (above is None) != (below is None)
        sign, limit = (">", above) if below is None else ("<", below)
        self._node.user_properties.append(("bound", [name, sign, limit, float(value)]))
        met = value > limit if sign == ">" else value < limit
        assert met, f"{name} is {value:.4g}, must be {sign} {limit:.4g}"


@pytest.fixture
def bound(request: pytest.FixtureRequest) -> Bound:
    """Function `(name, value, above= or below=)` that asserts what a training ends at."""
    assert request.node.get_closest_marker("trains"), "mark the test with @pytest.mark.trains"
    return Bound(request.node)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    count = metafunc.config.getoption("--disturbances")
    if count and metafunc.definition.get_closest_marker("trains"):
        numbers = range(count + 1)
        names = [f"disturbed-{number}" for number in numbers]
        metafunc.parametrize("disturbance", numbers, ids=names, indirect=True)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("--disturbances"):
        return
    reports = [
        report
        for kind in ("passed", "failed")
        for report in terminalreporter.getreports(kind)
        if report.when == "call"
    ]
    table = margins_table(
        [
            (report.nodeid, found)
            for report in reports
            for key, found in report.user_properties
            if key == "bound"
        ]
    )
    terminalreporter.section("margins of tests that train")
    terminalreporter.write_line(table)
    if path := config.getoption("--margins"):
        path.write_text(f"{_HEAD.format(count=config.getoption('--disturbances'))}\n{table}\n")


_HEAD = """# Margins of the tests that train

Each was run as it is and {count} times more, with another seed and with weights disturbed by 1e-6
of themselves. The margin is the distance of the worst result from its bound, in standard deviations
of the results. Written by

    python -m pytest -m trains --disturbances {count} --margins tests/training/margins.md
"""


def margins_table(found: list[tuple[str, list[Any]]]) -> str:
    """Return a Markdown table with a row per test and bound."""
    results: dict[tuple[str, str, str, float], list[float]] = defaultdict(list)
    for node_id, (name, sign, bound, value) in found:
        results[_undisturbed_name(node_id), name.replace("_", " "), sign, bound].append(value)
    lines = [
        "| test | result | bound | worst | mean | runs | margin |",
        "|---|---|---|---|---|---|---|",
    ]
    for (test, name, sign, bound), values in results.items():
        worst = min(values) if sign == ">" else max(values)
        distance = worst - bound if sign == ">" else bound - worst
        spread = statistics.pstdev(values)
        margin = f"{distance / spread:.1f}" if spread else ("all equal" if distance > 0 else "none")
        mean = statistics.fmean(values)
        lines.append(
            f"| `{test}` | {name} | {sign} {bound:.4g} | {worst:.4g} | {mean:.4g} "
            f"| {len(values)} | {margin} |"
        )
    return "\n".join(lines)


def _undisturbed_name(node_id: str) -> str:
    """Return `file.py::test[parameter]` without the folder and the disturbance."""
    name, _, parameters = node_id.rpartition("/")[2].partition("[")
    kept = [p for p in parameters.rstrip("]").split("-") if p]
    while "disturbed" in kept:
        at = kept.index("disturbed")
        del kept[at : at + 2]
    return f"{name}[{'-'.join(kept)}]" if kept else name
