"""The sections of a set's page as HTML; every text that comes from outside is escaped here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from avdata.shards.field_texts import field_texts
from avdata.shards.histograms import Histogram
from avdata.shards.quantity_text import bytes_text, long_time_text, value_text
from avdata.shards.summary import SetSummary
from avdata.shards.training_advice import Advice

NUM_LABELS = 12
CHART_WIDTH, CHART_HEIGHT = 200, 56
"""Of a histogram, in units of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A sample in the grid."""

    key: str
    labels: tuple[str, ...]
    split: str | None
    source_id: str
    duration_s: float
    reasons: tuple[str, ...]
    """Why it was picked; empty for the even pick."""
    fault: str | None
    """Why there is nothing to show."""
    picture: str | None
    """Address of the picture."""
    picture_is: Literal["frame", "tall or wide frame", "spectrogram"]


def summary_html(summary: SetSummary, directory: str) -> str:
    """Counts, fields and labels of the set."""
    spec = summary.spec
    missing = f", {summary.num_missing_shards} missing" if summary.num_missing_shards else ""
    tiles = [
        (f"{spec.num_clips:,}", f"clips of {spec.num_listed:,} listed"),
        (f"{spec.num_rejected:,}", "rejected"),
        (long_time_text(summary.total_duration_s), "of sound and picture"),
        (bytes_text(summary.num_bytes), f"in {spec.num_shards} shards{missing}"),
        (f"{spec.num_sources:,}", "sources"),
    ]
    if spec.labels:
        tiles.append((f"{len(spec.labels):,}", "labels"))
    big = "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(number)}</dd></div>" for number, what in tiles
    )
    how, sizes = field_texts(summary), summary.bytes_by_field
    fields = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td class=number>{bytes_text(spread.mean)}</td>"
        f"<td>{escape(how.get(name, ''))}</td></tr>"
        for name, spread in sizes.items()
    )
    software = ", ".join(f"{name} {version}" for name, version in spec.software.items())
    return (
        f'<dl class="tiles">{big}</dl>'
        '<div class="columns"><div><h3>Fields</h3><table><thead><tr><th>field</th>'
        f"<th class=number>bytes a clip</th><th>stored as</th></tr></thead><tbody>{fields}</tbody>"
        f"</table><p class=quiet>{escape(directory)}<br>build {escape(spec.build_hash[:16])}"
        f"{escape(f' with {software}' if software else '')}</p></div>{_labels(summary)}</div>"
    )


def _labels(summary: SetSummary) -> str:
    parts = []
    if summary.labels:
        parts.append(f"<h3>Labels</h3>{_bars(list(summary.labels.items())[:NUM_LABELS])}")
        rest = len(summary.labels) - NUM_LABELS
        notes = [f"and {rest} more"] if rest > 0 else []
        if summary.num_unlabeled:
            notes.append(f"{summary.num_unlabeled} clips without a label")
        parts.append(f"<p class=quiet>{', '.join(notes)}</p>" if notes else "")
    if summary.splits:
        parts.append(f"<h3>Splits</h3>{_bars(list(summary.splits.items()))}")
    return f"<div>{''.join(parts)}</div>" if parts else ""


def _bars(counts: Sequence[tuple[str, int]]) -> str:
    most = max(count for _, count in counts)
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td class=number>{count:,}</td>"
        f'<td class=bar><meter min=0 max={most} value={count} aria-hidden="true"></meter></td></tr>'
        for name, count in counts
    )
    return f'<table class="bars"><tbody>{rows}</tbody></table>'


def rejects_html(summary: SetSummary) -> str:
    """Reasons of the rejected clips, each with examples."""
    if not summary.rejects:
        return "<p>Every listed clip is in the set.</p>"
    rows = []
    for group in summary.rejects:
        examples = "".join(
            f"<li><span class=line>line {example.line}</span> {escape(example.message)}</li>"
            for example in group.examples
        )
        rows.append(
            f"<tr><th scope=row><code>{escape(group.reason)}</code></th>"
            f"<td class=number>{group.count:,}</td><td><ul>{examples}</ul></td></tr>"
        )
    return (
        '<table class="rejects"><thead><tr><th>reason</th><th class=number>clips</th>'
        f"<th>for example</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def histograms_html(
    histograms: Sequence[Histogram], advice: Sequence[Advice], *, num_chosen: int
) -> str:
    """A panel a column with handles that filter the samples, and what the verdicts suggest."""
    varied = [one for one in histograms if one.num_values and not one.is_constant]
    constant = [one for one in histograms if one.is_constant]
    empty = [one.column for one in histograms if not one.num_values]
    panels = "".join(_panel(one) for one in varied)
    notes = []
    if constant:
        texts = ", ".join(f"<code>{one.column}</code> {_constant(one)}" for one in constant)
        notes.append(f"The same in all clips: {texts}.")
    if empty:
        names = ", ".join(f"<code>{name}</code>" for name in empty)
        notes.append(f"Without a value in any clip: {names}.")
    quiet = f"<p class=quiet>{' '.join(notes)}</p>" if notes else ""
    return f'<div class="panels">{panels}</div>{quiet}{_advice(advice, num_chosen)}'


def _constant(histogram: Histogram) -> str:
    if histogram.is_bool:
        return "yes" if histogram.min else "no"
    return value_text(histogram.min, histogram.unit)


def _panel(histogram: Histogram) -> str:
    name, num_bins = histogram.column, len(histogram.counts)
    missing = f", {histogram.num_missing:,} without" if histogram.num_missing else ""
    if histogram.is_bool:
        note = f"yes {histogram.counts[1]:,}, no {histogram.counts[0]:,}{missing}"
        control = (
            f'<select aria-label="{name}"><option value="">any</option>'
            '<option value="yes">yes</option><option value="no">no</option></select>'
        )
    else:
        low, middle, high = (
            value_text(value, histogram.unit)
            for value in (histogram.min, histogram.median, histogram.max)
        )
        note = f"{low} to {high}, median {middle}{missing}"
        control = (
            f'<div class="range"><input type="range" min="0" max="{num_bins}" value="0" '
            f'aria-label="{name}, from"><input type="range" min="0" max="{num_bins}" '
            f'value="{num_bins}" aria-label="{name}, to"></div><output></output>'
        )
    return (
        f'<fieldset class="panel" data-column="{name}"><legend>{name}</legend>'
        f"<p class=quiet>{note}</p>{_chart(histogram, note)}{control}</fieldset>"
    )


def _chart(histogram: Histogram, note: str) -> str:
    most, bin_width = max(histogram.counts), CHART_WIDTH / len(histogram.counts)
    bars = []
    for k, count in enumerate(histogram.counts):
        height = max(CHART_HEIGHT * count / most, 1.5) if count else 0
        text = f"{_bin_text(histogram, k)}: {count:,}"
        bars.append(
            f'<rect x="{k * bin_width + 0.5:.2f}" y="{CHART_HEIGHT - height:.2f}" '
            f'width="{bin_width - 1:.2f}" height="{height:.2f}"><title>{text}</title></rect>'
        )
    return (
        f'<svg viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="histogram of {histogram.column}: {note}">{"".join(bars)}</svg>'
    )


def _bin_text(histogram: Histogram, k: int) -> str:
    if histogram.is_bool:
        return ("no", "yes")[k]
    low, high = (value_text(histogram.edges[i], histogram.unit) for i in (k, k + 1))
    return f"{low} to {high}"


def _advice(advice: Sequence[Advice], num_chosen: int) -> str:
    if not advice:
        return "<p>No verdict stands out.</p>" if num_chosen else ""
    items = []
    for piece in advice:
        where = f'<code class="where">--where "{escape(piece.where)}"</code>' if piece.where else ""
        items.append(f"<li>{escape(piece.text)}: {escape(piece.means)}. {where}</li>")
    return f'<h3>For training</h3><ul class="advice">{"".join(items)}</ul>'


def cards_html(cards: Iterable[Card]) -> str:
    """The grid of samples, a button each."""
    return "\n".join(_card(i, card) for i, card in enumerate(cards))


def _card(index: int, card: Card) -> str:
    label = ", ".join(card.labels)
    of = f", {label}" if label else ""
    title = f'<span class="label">{escape(label)}</span>' if label else ""
    if card.fault is not None:
        fault = escape(card.fault, quote=True)
        picture = f'<span class="no-picture" title="{fault}">does not decode</span>'
    elif card.picture is None:
        picture = '<span class="no-picture">no picture</span>'
    else:
        what = "spectrogram" if card.picture_is == "spectrogram" else "frame from the middle"
        alt = escape(f"{what} of {card.key}{of}", quote=True)
        kind = {"frame": "", "tall or wide frame": ' class="whole"'}.get(
            card.picture_is, ' class="spectrogram"'
        )
        picture = f'<img src="{card.picture}" alt="{alt}"{kind} decoding="async">'
    split = f'<span class="split">{escape(card.split)}</span>' if card.split else ""
    reasons = "".join(f"<span>{escape(reason)}</span>" for reason in card.reasons)
    why = f'<span class="reasons" title="picked for">{reasons}</span>' if reasons else ""
    return (
        f'<li class="card"><button type="button" data-sample="{index}">'
        f'<span class="picture">{picture}<span class="duration">{card.duration_s:.1f} s</span>'
        f'</span>{title}<span class="key">{escape(card.key)}{split}</span>{why}</button></li>'
    )
