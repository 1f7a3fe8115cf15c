"""Histograms as one picture."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from avdata.shards.histograms import MAX_BINS, Histogram, TextCounts
from avdata.shards.picture_panels import INK, PAPER, QUIET, WAVE
from avdata.shards.quantity_text import shown_text, value_text

NUM_COLUMNS = 4
PANEL_WIDTH_PX, PANEL_HEIGHT_PX = 360, 190
MARGIN_PX, HEAD_PX, FOOT_PX = 24, 48, 26
TEXT_BAR_PX, TEXT_CHARS = 18, 36
BAR = (160, 190, 225)
"""Light enough for text on it."""
NO_VALUE = "no clip has a value"


def draw_histograms(
    histograms: Sequence[Histogram], counts: Sequence[TextCounts] = ()
) -> Image.Image:
    """RGB picture with a panel for each column of the manifest: numbers first, then text."""
    num_panels = len(histograms) + len(counts)
    across = min(NUM_COLUMNS, max(num_panels, 1))
    down = math.ceil(num_panels / across) or 1
    size_px = (across * PANEL_WIDTH_PX + MARGIN_PX, down * PANEL_HEIGHT_PX + MARGIN_PX)
    picture = Image.new("RGB", size_px, "white")
    draw = ImageDraw.Draw(picture)
    panels: tuple[Histogram | TextCounts, ...] = (*histograms, *counts)
    for i, panel in enumerate(panels):
        left = i % across * PANEL_WIDTH_PX + MARGIN_PX
        top = i // across * PANEL_HEIGHT_PX + MARGIN_PX
        if isinstance(panel, Histogram):
            _draw_panel(draw, panel, left, top)
        else:
            _draw_counts(draw, panel, left, top)
    return picture


def _draw_counts(draw: ImageDraw.ImageDraw, counts: TextCounts, left: int, top: int) -> None:
    """A bar for each of the most frequent values, one below the other."""
    small = ImageFont.load_default(size=12)
    right = left + PANEL_WIDTH_PX - MARGIN_PX
    bottom = top + PANEL_HEIGHT_PX - MARGIN_PX - FOOT_PX
    draw.text((left, top), counts.column, INK, font=ImageFont.load_default(size=15))
    missing = f", {counts.num_missing} without" if counts.num_missing else ""
    note = f"{counts.num_distinct} different{missing}" if counts.num_values else NO_VALUE
    draw.text((left, top + 20), note, QUIET, font=small)
    draw.rectangle([left, top + HEAD_PX, right, bottom], PAPER)
    for k, (text, count) in enumerate(zip(counts.texts, counts.counts, strict=True)):
        y = top + HEAD_PX + k * TEXT_BAR_PX
        if y + TEXT_BAR_PX > bottom:
            rest = counts.num_distinct - k
            draw.text((left, bottom + 6), f"and {rest} more", QUIET, font=small)
            break
        length = max(round((right - left) * count / counts.counts[0]), 1)
        draw.rectangle([left, y + 2, left + length, y + TEXT_BAR_PX - 2], BAR)
        draw.text((left + 4, y + 3), shown_text(text, TEXT_CHARS), INK, font=small)
        draw.text((right - 4, y + 3), str(count), INK, font=small, anchor="ra")


def _draw_panel(draw: ImageDraw.ImageDraw, histogram: Histogram, left: int, top: int) -> None:
    small = ImageFont.load_default(size=12)
    right = left + PANEL_WIDTH_PX - MARGIN_PX
    bottom = top + PANEL_HEIGHT_PX - MARGIN_PX - FOOT_PX
    draw.text((left, top), histogram.column, INK, font=ImageFont.load_default(size=15))
    draw.text((left, top + 20), _note(histogram), QUIET, font=small)
    draw.rectangle([left, top + HEAD_PX, right, bottom], PAPER)
    if not histogram.num_values:
        return
    feet = _feet(histogram, left, right)
    most, num_bins = max(histogram.counts), len(histogram.counts)
    bin_px = (right - left) / num_bins
    if num_bins == 1:  # one value: a bar of usual width
        bin_px = (right - left) / MAX_BINS
        left = round((left + right - bin_px) / 2)
    room_px = bottom - top - HEAD_PX - 4
    for k, count in enumerate(histogram.counts):
        if count:
            height = max(round(room_px * count / most), 1)
            x = left + k * bin_px
            draw.rectangle([x + 1, bottom - height, x + bin_px - 1, bottom], WAVE)
    for x, text, anchor in feet:
        draw.text((x, bottom + 6), text, QUIET, font=small, anchor=anchor)


def _note(histogram: Histogram) -> str:
    missing = f", {histogram.num_missing} without" if histogram.num_missing else ""
    if not histogram.num_values:
        return NO_VALUE
    if histogram.is_bool:
        return f"yes {histogram.counts[1]}, no {histogram.counts[0]}{missing}"
    if histogram.is_constant:
        return f"all {value_text(histogram.min, histogram.unit)}{missing}"
    low, middle, high = (
        value_text(value, histogram.unit)
        for value in (histogram.min, histogram.median, histogram.max)
    )
    return f"{low} to {high}, median {middle}{missing}"


def _feet(histogram: Histogram, left: int, right: int) -> list[tuple[float, str, str]]:
    """Place, text and anchor of the marks under a panel."""
    quarter = (right - left) / 4
    if histogram.is_bool:
        return [(left + quarter, "no", "ma"), (right - quarter, "yes", "ma")]
    if len(histogram.edges) < 2:
        return [((left + right) / 2, value_text(histogram.min, histogram.unit), "ma")]
    ends = [value_text(histogram.edges[k], histogram.unit) for k in (0, -1)]
    return [(left, ends[0], "la"), (right, ends[1], "ra")]
