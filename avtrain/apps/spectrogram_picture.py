"""Sound files as pictures: spectrograms of the same time and range, one above the other."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from avdata import TimeAxis

RANGE_DB = 80.0
"""From the loudest bin of the first sound down to black."""
FRAME_S = 0.064
"""Of about this length, a power of two in samples, are the frames."""
WIDTH_PX = 1200
HEIGHT_PX = 220
"""Of one spectrogram."""

_FRAMES_A_COLUMN = 8
"""Of a long sound a column shows at most so many frames, spread over its time."""
_LEFT_PX, _GAP_PX, _BOTTOM_PX, _MARGIN_PX = 52, 26, 24, 16
_TICK_PX = 60
"""Least distance of two times that are written."""


def spectrogram_db(path: Path, num_columns: int) -> np.ndarray:
    """Decibels of a sound file, float32 (bins, num_columns), from 0 Hz up; memory is constant.

    Each column is the mean power of frames that are spread over its share of the time; the sound is
    the mean of its channels, and a full-scale sine has about 0 dB.
    """
    with soundfile.SoundFile(path) as sound:
        length = 2 ** round(math.log2(FRAME_S * sound.samplerate))
        window = np.hanning(length).astype(np.float32)
        powers = np.zeros((num_columns, length // 2 + 1))
        share = sound.frames / num_columns
        for column in range(num_columns):
            count = min(max(round(share / length), 1), _FRAMES_A_COLUMN)
            for index in range(count):
                middle = (column + (index + 0.5) / count) * share
                start = round(middle - length / 2)
                sound.seek(max(min(start, sound.frames - length), 0))
                samples = sound.read(length, dtype="float32", always_2d=True).mean(axis=1)
                samples = np.pad(samples, (0, length - len(samples)))
                spectrum = np.fft.rfft(samples * window) / window.sum() * 2
                powers[column] += np.abs(spectrum) ** 2 / count
    decibels: np.ndarray = 10 * np.log10(powers.T + 1e-12).astype(np.float32)
    return decibels


def draw_spectrograms(
    paths: Sequence[Path], titles: Sequence[str], *, num_columns: int = WIDTH_PX
) -> Image.Image:
    """Spectrograms of sound files of one rate and length under each other, with their scales.

    Args:
        paths: The first one sets the range of all.
        titles: One for each.
        num_columns: Width of a spectrogram.
    """
    facts = soundfile.info(paths[0])
    panels = [spectrogram_db(path, num_columns) for path in paths]
    high = max(float(panels[0].max()), -60.0)
    height = _MARGIN_PX + len(paths) * (HEIGHT_PX + _GAP_PX) + _BOTTOM_PX
    page = Image.new("RGB", (_LEFT_PX + num_columns + _MARGIN_PX, height), "white")
    pen = ImageDraw.Draw(page)
    top = _MARGIN_PX
    for panel, title in zip(panels, titles, strict=True):
        pen.text((_LEFT_PX, top), title, fill="black", font_size=15)
        top += _GAP_PX - 4
        picture = _hot((panel - (high - RANGE_DB)) / RANGE_DB)[::-1]
        image = Image.fromarray(picture).resize((num_columns, HEIGHT_PX), Image.Resampling.BOX)
        page.paste(image, (_LEFT_PX, top))
        for share in (0, 0.5, 1):
            kilohertz = facts.samplerate / 2000 * share
            line = top + round((1 - share) * (HEIGHT_PX - 1))
            pen.line([(_LEFT_PX - 4, line), (_LEFT_PX, line)], fill="black")
            text = f"{kilohertz:.1f}"
            pen.text((_LEFT_PX - 6, line), text, fill="black", font_size=12, anchor="rm")
        top += HEIGHT_PX + 4
    pen.text((4, 4), "kHz", fill="black", font_size=12)
    axis = TimeAxis(left_px=_LEFT_PX, width_px=num_columns, duration_s=facts.duration)
    for time_s in axis.ticks_s(min_distance_px=_TICK_PX):
        at = axis.x_px(time_s)
        pen.line([(at, top), (at, top + 4)], fill="black")
        text = f"{axis.tick_text(time_s, min_distance_px=_TICK_PX)} s"
        pen.text((at, top + 6), text, fill="black", font_size=12, anchor="mt")
    return page


def _hot(place: np.ndarray) -> np.ndarray:
    """uint8 RGB of places in [0, 1]: black, red, yellow, white."""
    place = np.clip(place, 0, 1)[..., None]
    colors = np.clip(3 * place - np.array([0, 1, 2]), 0, 1)
    pixels: np.ndarray = np.round(255 * colors).astype(np.uint8)
    return pixels
