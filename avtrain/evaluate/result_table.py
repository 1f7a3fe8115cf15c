"""Results of runs as one table: each number with its chance and that of random weights beside."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields

from avtrain.evaluate.result_files import ResultRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One number, as text."""

    run: str
    step: str
    set: str
    task: str
    encoder: str
    metric: str
    result: str
    random: str
    """The same of new weights, where that was measured."""
    chance: str
    n: str
    """Samples measured on."""


def table_rows(records: Iterable[ResultRecord]) -> list[TableRow]:
    """One row a metric; the baseline of a run stands in the run's own rows."""
    records = list(records)
    baselines = {_question(record): record for record in records if record.random}
    trained = {_question(record) for record in records if not record.random}
    rows = []
    for record in records:
        if record.random and _question(record) in trained:
            continue
        baseline = baselines.get(_question(record))
        for metric, value in record.metrics.items():
            random = baseline.metrics.get(metric) if baseline is not None else None
            rows.append(
                TableRow(
                    run=record.run,
                    step="-" if record.step is None else str(record.step),
                    set=record.set_name,
                    task=record.task,
                    encoder=record.encoder or "both",
                    metric=metric,
                    result="" if record.random else number_text(metric, value),
                    random=_optional(metric, random),
                    chance=_optional(metric, record.chance.get(metric)),
                    n=str(record.num_samples),
                )
            )
    return rows


def table_text(rows: Sequence[TableRow], *, markdown: bool = False) -> str:
    """Columns with a head, numbers at the right."""
    names = [field.name for field in fields(TableRow)]
    lines = [tuple(names), *(astuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    right = {"step", "result", "random", "chance", "n"}
    aligned = [
        [
            text.rjust(width) if name in right else text.ljust(width)
            for text, name, width in zip(line, names, widths, strict=True)
        ]
        for line in lines
    ]
    if not markdown:
        return "\n".join("  ".join(cells).rstrip() for cells in aligned)
    rule = [
        "-" * (max(width, 3) - 1) + (":" if name in right else "-")
        for name, width in zip(names, widths, strict=True)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [aligned[0], rule, *aligned[1:]])


def number_text(metric: str, value: float) -> str:
    """A rank, seconds and decibels as they are, everything else in percent."""
    if metric.endswith(("_s", "_db")):
        return f"{value:.2f}"
    return f"{value:.1f}" if metric.endswith("rank") else f"{value:.1%}"


def _optional(metric: str, value: float | None) -> str:
    return "" if value is None else number_text(metric, value)


def _question(record: ResultRecord) -> tuple[str, ...]:
    """Equal for a run and its baseline."""
    name = record.model_copy(update={"random": False}).file_name
    return record.run, name
