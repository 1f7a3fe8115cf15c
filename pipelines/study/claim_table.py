"""Numbers of all runs -> claims, our numbers, and whether they hold: for any study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev

Results = Mapping[tuple[str, int], Mapping[str, float]]
"""Numbers of a run, by its name and its seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One run is better than another, by some numbers."""

    part: str
    claim: str
    paper: str
    better: str
    worse: str
    measures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """A number of one run is above a value, or above another of its numbers."""

    part: str
    claim: str
    paper: str
    run: str
    measure: str
    above: float | str
    against: str = "chance"
    """What the other number is, for the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimRow:
    """One row of the table."""

    part: str
    claim: str
    paper: str
    measure: str
    numbers: str
    holds: str


Claims = tuple[Comparison | Threshold, ...]


def claim_rows(results: Results, claims: Claims, parts: str) -> list[ClaimRow]:
    """A row for each measure of each of the `claims` of `parts` whose runs are there."""
    rows = []
    for claim in claims:
        if claim.part not in parts:
            continue
        if isinstance(claim, Threshold):
            rows += _threshold_rows(claim, results)
        else:
            for measure in claim.measures:
                rows += _comparison_rows(claim, measure, results)
    return rows


def _comparison_rows(claim: Comparison, measure: str, results: Results) -> list[ClaimRow]:
    seeds = sorted(
        seed for name, seed in results if name == claim.better and (claim.worse, seed) in results
    )
    if not seeds:
        return []
    better = [results[claim.better, seed][measure] for seed in seeds]
    worse = [results[claim.worse, seed][measure] for seed in seeds]
    gains = [a - b for a, b in zip(better, worse, strict=True)]
    return [
        ClaimRow(
            part=claim.part,
            claim=claim.claim,
            paper=claim.paper,
            measure=measure,
            numbers=(
                f"{claim.better} {_spread(better, _unit(measure))}, {claim.worse} "
                f"{_spread(worse, _unit(measure))}; gain {_spread(gains, _difference(measure))}"
            ),
            holds=verdict(gains),
        )
    ]


def _threshold_rows(claim: Threshold, results: Results) -> list[ClaimRow]:
    seeds = sorted(seed for name, seed in results if name == claim.run)
    if not seeds:
        return []
    values = [results[claim.run, seed][claim.measure] for seed in seeds]
    text = _decibels if claim.measure.endswith("_db") else _share
    if isinstance(claim.above, str):
        bounds = [results[claim.run, seed][claim.above] for seed in seeds]
        numbers = f"{_spread(values, text)}, {claim.against} {_spread(bounds, text)}"
    else:
        bounds = [claim.above] * len(seeds)
        numbers = f"{_spread(values, text)}, wanted above {claim.above}"
    return [
        ClaimRow(
            part=claim.part,
            claim=claim.claim,
            paper=claim.paper,
            measure=claim.measure,
            numbers=numbers,
            holds=verdict([a - b for a, b in zip(values, bounds, strict=True)]),
        )
    ]


def verdict(gains: list[float]) -> str:
    """`yes` where every seed says so, `on average` where only their mean does, else `no`."""
    agreeing = sum(gain > 0 for gain in gains)
    word = "yes" if agreeing == len(gains) else "on average" if mean(gains) > 0 else "no"
    return f"{word} ({agreeing} of {len(gains)} seeds)"


def _spread(values: list[float], text: Callable[[float], str]) -> str:
    """Mean and, with several seeds, the deviation between them."""
    if len(values) == 1:
        return text(values[0])
    return f"{text(mean(values))} ± {text(stdev(values)).lstrip('+')}"


def _unit(measure: str) -> Callable[[float], str]:
    return _decibels if measure.endswith("_db") else _percent


def _difference(measure: str) -> Callable[[float], str]:
    return _decibels if measure.endswith("_db") else _points


def _decibels(value: float) -> str:
    return f"{value:.1f} dB"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _share(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 else f"{value:.5f}"


def markdown_table(rows: list[ClaimRow]) -> str:
    """The rows as a table; a claim is named once."""
    lines = [
        "| | claim of the paper | measure | ours (mean ± deviation over seeds) | holds? |",
        "|---|---|---|---|---|",
    ]
    before = None
    for row in rows:
        claim = f"{row.claim} ({row.paper})" if row.claim != before else ""
        part = row.part if row.claim != before else ""
        measure = row.measure.replace("|", "\\|")  # TASK/NAME|chance
        lines.append(f"| {part} | {claim} | {measure} | {row.numbers} | {row.holds} |")
        before = row.claim
    return "\n".join(lines)
