"""Waveform and log-mel drawn against a time axis."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from avdata.schema import LogMelSpec
from avdata.shards.color_map import color
from avdata.shards.time_axis import TimeAxis, bin_means

INK = (34, 34, 40)
QUIET = (112, 112, 122)
WAVE = (46, 96, 158)
PAPER = (246, 246, 248)
TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)
TICK_DISTANCE_PX = 20
DARK_QUANTILE, LIGHT_QUANTILE = 0.02, 0.999
"""Values outside are drawn in the end colors, so that a few do not take the contrast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """A panel's name and place."""

    text: str
    top_px: int
    height_px: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LogMelPanel:
    """A log-mel (c, t, f) with what is known of its axes."""

    values: np.ndarray
    column_s: float
    """Distance of columns; column t is centered on t * column_s."""
    spec: LogMelSpec | None
    """None: frequencies are unknown."""


def draw_waveform(
    draw: ImageDraw.ImageDraw, axis: TimeAxis, samples: np.ndarray, rate_hz: int, label: Label
) -> None:
    """Least and greatest of the int16 `samples` (n,) at every pixel, scaled to their peak."""
    top, bottom = label.top_px, label.top_px + label.height_px
    middle, half = (top + bottom) / 2, label.height_px / 2 - 2
    draw.rectangle([axis.left_px, top, axis.right_px, bottom], PAPER)
    peak = max(int(np.abs(samples.astype(np.int32)).max(initial=0)), 1)
    borders = np.floor(axis.edges_s() * rate_hz).astype(np.int64)
    for pixel, (first, stop) in enumerate(itertools.pairwise(borders)):
        # one sample more than the pixel's own joins it to the next pixel
        piece = samples[first : max(stop, first) + 1]
        if len(piece):
            x = axis.left_px + pixel
            high, low = middle - half * piece.max() / peak, middle - half * piece.min() / peak
            draw.line([(x, round(high)), (x, round(low))], WAVE)
    level_db = 20 * math.log10(peak / 32768)
    _draw_name(draw, axis, label, f"peak {level_db:.0f} dB")


def draw_logmel(
    picture: Image.Image, axis: TimeAxis, panel: LogMelPanel, channel: int, label: Label
) -> None:
    """One channel of a log-mel, low frequencies at the bottom, with scales on both sides."""
    draw, ends = ImageDraw.Draw(picture), color_range(panel)
    pixels = Image.fromarray(logmel_pixels(panel, channel, axis, ends))
    shown = pixels.resize((axis.width_px, label.height_px), Image.Resampling.BILINEAR)
    picture.paste(shown, (axis.left_px, label.top_px))
    _draw_frequencies(draw, axis, panel.spec, label)
    _draw_name(draw, axis, label, "")
    _draw_color_scale(picture, axis, label, ends)


def color_range(panel: LogMelPanel) -> tuple[float, float]:
    """Values of a log-mel that are drawn darkest and lightest, the same for all its channels."""
    finite = panel.values[np.isfinite(panel.values)].astype(np.float64)
    if not len(finite):
        return 0.0, 1.0
    low, high = np.quantile(finite, (DARK_QUANTILE, LIGHT_QUANTILE))
    return float(low), float(high)


def logmel_pixels(
    panel: LogMelPanel, channel: int, axis: TimeAxis, ends: tuple[float, float]
) -> np.ndarray:
    """One channel as uint8 RGB (f, axis.width_px, 3), low frequencies at the bottom."""
    low, high = ends
    values = np.nan_to_num(
        panel.values[channel].astype(np.float64), nan=low, posinf=high, neginf=low
    )
    centers_s = np.arange(len(values)) * panel.column_s
    columns = bin_means(values.T, centers_s, axis.edges_s())  # (f, pixels)
    return color(columns[::-1], low=low, high=high)


def mel_position(frequency_hz: float, spec: LogMelSpec) -> float:
    """Height of a frequency in a log-mel, in bins: k where bin k has its center."""
    fft_bin = frequency_hz * spec.n_fft / spec.sample_rate_hz
    if spec.filterbank == "linear":
        return fft_bin
    if spec.filterbank == "avid":  # bin 0, then bin k of (2k - 1, 2k)
        return max(fft_bin / 1.5, 0.0) if fft_bin < 1.5 else (fft_bin + 0.5) / 2

    def mel(hz: float) -> float:
        if spec.mel_scale == "htk":
            return 2595 * math.log10(1 + hz / 700)
        return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)

    low, high = mel(spec.fmin_hz), mel(spec.fmax_hz)
    return (mel(frequency_hz) - low) / (high - low) * (spec.num_mels + 1) - 1


def frequency_ticks(
    spec: LogMelSpec | None, height_px: int, *, top_px: int = 0
) -> list[tuple[float, str]]:
    """Heights from the top and names of frequencies, low to high, not too near to each other.

    None lies above `top_px`, and there are none without a spec.
    """
    ticks: list[tuple[float, str]] = []
    if spec is None:
        return ticks
    for hz in TICKS_HZ:
        if spec.filterbank == "mel" and not spec.fmin_hz <= hz <= spec.fmax_hz:
            continue
        share = (mel_position(hz, spec) + 0.5) / spec.num_mels
        y = height_px * (1 - share)
        if (
            0.02 <= share <= 1
            and y >= top_px
            and (not ticks or ticks[-1][0] - y >= TICK_DISTANCE_PX)
        ):
            ticks.append((y, f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz"))
    return ticks


def _draw_frequencies(
    draw: ImageDraw.ImageDraw, axis: TimeAxis, spec: LogMelSpec | None, label: Label
) -> None:
    font = ImageFont.load_default(size=12)
    # the panel's name takes the room at the top
    for y, text in frequency_ticks(spec, label.height_px, top_px=22):
        y += label.top_px
        draw.line([(axis.left_px - 6, y), (axis.left_px - 1, y)], INK)
        draw.text((axis.left_px - 10, y), text, QUIET, font=font, anchor="rm")


def _draw_name(draw: ImageDraw.ImageDraw, axis: TimeAxis, label: Label, note: str) -> None:
    at = (axis.left_px - 10, label.top_px)
    draw.text(at, label.text, INK, font=ImageFont.load_default(size=14), anchor="ra")
    if note:
        below = (axis.left_px - 10, label.top_px + 20)
        draw.text(below, note, QUIET, font=ImageFont.load_default(size=12), anchor="ra")


def _draw_color_scale(
    picture: Image.Image, axis: TimeAxis, label: Label, ends: tuple[float, float]
) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=12)
    ramp = np.linspace(ends[1], ends[0], label.height_px)[:, None].repeat(12, 1)
    left = axis.right_px + 12
    picture.paste(Image.fromarray(color(ramp, low=ends[0], high=ends[1])), (left, label.top_px))
    draw.text((left + 18, label.top_px), f"{ends[1]:.1f}", QUIET, font=font, anchor="la")
    bottom = label.top_px + label.height_px
    draw.text((left + 18, bottom), f"{ends[0]:.1f}", QUIET, font=font, anchor="ld")
    draw.text((left + 18, (label.top_px + bottom) // 2), "ln power", QUIET, font=font, anchor="lm")
