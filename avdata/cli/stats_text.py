"""The lines that `avdata stats` prints, at most 80 characters wide unless a text is longer."""

import itertools
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from avdata.shards.quantity_text import shown_text, value_text

if TYPE_CHECKING:
    from avdata.shards.histograms import Histogram, TextCounts
    from avdata.shards.set_statistics import SetStatistics
    from avdata.shards.training_advice import Advice

WIDTH = 80
BAR_CHARS = 40
EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"
NO_CLIP = "·"
SPARK_CHARS = 20
MAX_TEXT_LINES = 20
MAX_TEXTS_A_LINE = 3


def stats_lines(
    directory: Path | str, statistics: "SetStatistics", *, where: str | None, detailed: bool
) -> list[str]:
    """Histograms, counts, rejects and advice: a line per column, or per bin when `detailed`."""
    chosen = f" ({statistics.num_chosen} where {where})" if where else ""
    lines = [f"{directory}: {statistics.num_clips} clips{chosen}", ""]
    if detailed:
        for histogram in statistics.histograms:
            lines += [*bin_lines(histogram), ""]
        for counts in statistics.counts:
            lines += [*count_lines(counts), ""]
        return lines[:-1]
    lines += overview_lines(statistics.histograms)
    lines += [_count_overview(counts) for counts in statistics.counts]
    lines += ["", *_wrapped(f"one in detail: avdata stats {_quoted(directory)} --column NAME")]
    if statistics.rejects:
        lines += ["", f"rejected: {statistics.num_rejected} of {statistics.num_listed} listed"]
        width = max(len(group.reason) for group in statistics.rejects)
        most = max(group.count for group in statistics.rejects)
        for group in statistics.rejects:
            share = _bar(group.count / most, BAR_CHARS - 4)
            lines.append(f"  {group.reason:<{width}}  {group.count:>7}  {share}".rstrip())
    return [*lines, "", *advice_lines(directory, statistics.advice)]


def overview_lines(histograms: "tuple[Histogram, ...]") -> list[str]:
    """One line a column: its bins as a row of bars, and least, middle and greatest value."""
    head = f"{'':<20}  {'':<{SPARK_CHARS}}  {'least':>10}  {'median':>10}  {'greatest':>10}"
    lines = [head]
    for histogram in histograms:
        if not histogram.num_values:
            lines.append(f"{histogram.column:<20}  no clip has a value")
            continue
        lines.append(_overview(histogram))
    return lines


def _overview(histogram: "Histogram") -> str:
    name = f"{histogram.column:<20}"
    missing = f"  ({histogram.num_missing} without)" if histogram.num_missing else ""
    if histogram.is_bool:
        no, yes = histogram.counts
        share = f"{100 * yes / histogram.num_values:.3g} %"
        return f"{name}  {_bar(yes / histogram.num_values, SPARK_CHARS):<{SPARK_CHARS}}  " + (
            f"yes {yes} ({share}), no {no}{missing}"
        )
    if histogram.is_constant:
        text = f"all {value_text(histogram.min, histogram.unit)}"
        return f"{name}  {text:<{SPARK_CHARS}}{missing}".rstrip()
    most = max(histogram.counts)
    spark = "".join(
        LEVELS[min(int(len(LEVELS) * count / most), len(LEVELS) - 1)] if count else NO_CLIP
        for count in histogram.counts
    )
    values = [
        f"{value_text(value, histogram.unit):>10}"
        for value in (histogram.min, histogram.median, histogram.max)
    ]
    line = f"{name}  {spark:<{SPARK_CHARS}}  {'  '.join(values)}"
    return line if not missing else f"{line}\n{'':<20}{missing}"


def bin_lines(histogram: "Histogram") -> list[str]:
    """One line a bin of a column: where it starts, a bar, and how many clips it holds."""
    unit = f" ({histogram.unit})" if histogram.unit else ""
    missing = f", {histogram.num_missing} clips without" if histogram.num_missing else ""
    lines = [f"{histogram.column}{unit}: {histogram.num_values} clips{missing}"]
    if not histogram.num_values:
        return lines
    if not histogram.is_bool:
        values = [value_text(v) for v in (histogram.min, histogram.median, histogram.max)]
        lines[0] += f"; {values[0]} to {values[2]}, median {values[1]}"
    names, most = bin_names(histogram), max(histogram.counts)
    width = max(map(len, names))
    for name, count in zip(names, histogram.counts, strict=True):
        bar = _bar(count / most, BAR_CHARS)
        lines.append(f"  {name:>{width}}  {bar:<{BAR_CHARS}}  {count}")
    return lines


def count_lines(counts: "TextCounts") -> list[str]:
    """One line a value of a column of text: the value, a bar, and how many clips have it."""
    missing = f", {counts.num_missing} clips without" if counts.num_missing else ""
    distinct = f"; {counts.num_distinct} different" if counts.num_distinct > 1 else ""
    lines = [f"{counts.column}: {counts.num_values} clips{missing}{distinct}"]
    shown = list(zip(counts.texts, counts.counts, strict=True))[:MAX_TEXT_LINES]
    names = [shown_text(text) for text, _ in shown]
    width = max(map(len, names), default=0)
    for name, (_, count) in zip(names, shown, strict=True):
        bar = _bar(count / counts.counts[0], BAR_CHARS - 8)
        lines.append(f"  {name:<{width}}  {bar:<{BAR_CHARS - 8}}  {count}")
    if counts.num_distinct > len(shown):
        lines.append(f"  and {counts.num_distinct - len(shown)} more")
    return lines


def _count_overview(counts: "TextCounts") -> str:
    name = f"{counts.column:<20}"
    if not counts.num_values:
        return f"{name}  no clip has a value"
    most = zip(counts.texts[:MAX_TEXTS_A_LINE], counts.counts, strict=False)
    parts = [f"{shown_text(text)} {count}" for text, count in most]
    if counts.num_distinct > MAX_TEXTS_A_LINE:
        parts.append(f"and {counts.num_distinct - MAX_TEXTS_A_LINE} more")
    missing = f"  ({counts.num_missing} without)" if counts.num_missing else ""
    return f"{name}  {', '.join(parts)}{missing}"


def bin_names(histogram: "Histogram") -> list[str]:
    """What each bin holds: `0.5 to 0.55`, or `below 20` for an end bin that gathers a tail."""
    if histogram.is_bool:
        return ["no", "yes"]
    if len(histogram.edges) < 2:
        return [value_text(histogram.min)]
    edges = [value_text(edge) for edge in histogram.edges]
    names = [f"{a} to {b}" for a, b in itertools.pairwise(edges)]
    if histogram.min < histogram.edges[0]:
        names[0] = f"below {edges[1]}"
    if histogram.max > histogram.edges[-1]:
        names[-1] = f"from {edges[-2]} on"
    return names


def advice_lines(directory: Path | str, advice: "tuple[Advice, ...]") -> list[str]:
    """A remark for each concern, with the command that trains without those clips."""
    if not advice:
        return ["for training: no verdict stands out"]
    lines = ["for training"]
    for piece in advice:
        lines += _wrapped(f"{piece.text}: {piece.means}.", "  ")
        if piece.where is None:
            continue
        # a command stays on one line, so that it can be copied
        lines.append(f"    avtrain fit {_quoted(directory)} --where {shlex.quote(piece.where)}")
        if piece.num_missing:
            lines.append(f"    (leaves out {piece.num_missing} clips without a value, too)")
    return lines


def _quoted(directory: Path | str) -> str:
    return shlex.quote(str(directory))


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _bar(share: float, num_chars: int) -> str:
    """A bar of a share in [0, 1], to an eighth of a character; never empty above 0."""
    eighths = round(share * num_chars * 8)
    if share > 0:
        eighths = max(eighths, 1)
    return (EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()
