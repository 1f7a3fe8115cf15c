"""Numbers of all runs -> claims of the papers, our numbers, and whether they hold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev

Results = Mapping[tuple[str, int], Mapping[str, float]]
"""Numbers of a run, by its name and its seed."""

AVID = "AVID"
CMA = "AVID+CMA"
ROBUST = "Robust-xID"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimRow:
    """One row of the table."""

    part: str
    claim: str
    paper: str
    measure: str
    numbers: str
    holds: str


TRANSFER = ("probe/video", "probe/audio")
WITHIN = ("within/video", "within/audio", "within-embedding/video", "within-embedding/audio")

CLAIMS: tuple[Comparison | Threshold, ...] = (
    Comparison(
        part="a",
        claim="cross-modal discrimination transfers better than joint",
        paper=AVID,
        better="cross",
        worse="joint",
        measures=TRANSFER,
    ),
    Comparison(
        part="a",
        claim="joint transfers better than within-modal (self)",
        paper=AVID,
        better="joint",
        worse="self",
        measures=TRANSFER,
    ),
    Comparison(
        part="b",
        claim="CMA adds within-modal structure over AVID trained equally long",
        paper=CMA,
        better="cma",
        worse="cross-longer",
        measures=WITHIN,
    ),
    Comparison(
        part="b",
        claim="CMA transfers better than AVID trained equally long",
        paper=CMA,
        better="cma",
        worse="cross-longer",
        measures=TRANSFER,
    ),
    Threshold(
        part="c",
        claim="similarity of the two banks tells swapped sounds (AUC of -s)",
        paper=ROBUST,
        run="weighted-swapped",
        measure="detection/similarity_auc",
        above=0.8,
    ),
    Threshold(
        part="c",
        claim="weights tell swapped sounds (AUC of 1 - w)",
        paper=ROBUST,
        run="weighted-swapped",
        measure="detection/weight_auc",
        above=0.8,
    ),
    Comparison(
        part="c",
        claim="30 % of sounds swapped: weighting transfers better than xID",
        paper=ROBUST,
        better="weighted-swapped",
        worse="xid-swapped",
        measures=TRANSFER,
    ),
    Threshold(
        part="d",
        claim="soft targets put mass on true twins (share, against an even spread)",
        paper=ROBUST,
        run="soft-twins",
        measure="twins/share",
        above="twins/chance_share",
    ),
    Comparison(
        part="d",
        claim="clips there twice: soft targets transfer better than xID",
        paper=ROBUST,
        better="soft-twins",
        worse="xid-twins",
        measures=TRANSFER,
    ),
    Comparison(
        part="e",
        claim="30 % of sounds swapped: Robust-xID transfers better than xID",
        paper=ROBUST,
        better="robust-swapped",
        worse="xid-swapped",
        measures=TRANSFER,
    ),
    Comparison(
        part="e",
        claim="Robust-xID needs its warm-up",
        paper=ROBUST,
        better="robust-swapped",
        worse="robust-cold-swapped",
        measures=TRANSFER,
    ),
)


def claim_rows(results: Results, parts: str) -> list[ClaimRow]:
    """A row for each measure of each claim of `parts` whose runs are there."""
    rows = []
    for claim in CLAIMS:
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
                f"{claim.better} {_spread(better, _percent)}, {claim.worse} "
                f"{_spread(worse, _percent)}; gain {_spread(gains, _points)}"
            ),
            holds=verdict(gains),
        )
    ]


def _threshold_rows(claim: Threshold, results: Results) -> list[ClaimRow]:
    seeds = sorted(seed for name, seed in results if name == claim.run)
    if not seeds:
        return []
    values = [results[claim.run, seed][claim.measure] for seed in seeds]
    if isinstance(claim.above, str):
        bounds = [results[claim.run, seed][claim.above] for seed in seeds]
        numbers = f"{_spread(values, _share)}, chance {_spread(bounds, _share)}"
    else:
        bounds = [claim.above] * len(seeds)
        numbers = f"{_spread(values, _share)}, wanted above {claim.above}"
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
        lines.append(f"| {part} | {claim} | {row.measure} | {row.numbers} | {row.holds} |")
        before = row.claim
    return "\n".join(lines)
