"""Histograms as one picture."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from avdata.shards.histograms import MAX_BINS, Histogram
from avdata.shards.picture_panels import INK, PAPER, QUIET, WAVE
from avdata.shards.quantity_text import value_text

NUM_COLUMNS = 4
PANEL_WIDTH_PX, PANEL_HEIGHT_PX = 360, 190
MARGIN_PX, HEAD_PX, FOOT_PX = 24, 48, 26


def draw_histograms(histograms: Sequence[Histogram]) -> Image.Image:
    """RGB picture with a panel a column of the manifest."""
    across = min(NUM_COLUMNS, max(len(histograms), 1))
    down = math.ceil(len(histograms) / across) or 1
    size_px = (across * PANEL_WIDTH_PX + MARGIN_PX, down * PANEL_HEIGHT_PX + MARGIN_PX)
    picture = Image.new("RGB", size_px, "white")
    draw = ImageDraw.Draw(picture)
    for i, histogram in enumerate(histograms):
        left, top = i % across * PANEL_WIDTH_PX, i // across * PANEL_HEIGHT_PX
        _draw_panel(draw, histogram, left + MARGIN_PX, top + MARGIN_PX)
    return picture


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
        return "no clip has a value"
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
