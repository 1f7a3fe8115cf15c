"""Maps over pictures: where a map is strong, its color shines through.

Reference: Owens and Efros 2018, released code: range from half to all of the 97th percentile, jet,
at most 35 % of color.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

PERCENTILE = 97.0
"""Of all cells of a video: what is shown in full color."""
LOW_SHARE = 0.5
"""From this share of the threshold on there is color."""
MAX_ALPHA = 0.35
FLAT = 1e-3
"""A video whose maps vary by less gets no color."""

_COARSE_PX = 320
"""Colors are computed at this width at most and enlarged with their opacity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OverlayRange:
    """Strengths that are colored."""

    low: float
    high: float

    @property
    def is_flat(self) -> bool:
        """Nothing stands out."""
        return self.high <= self.low


def overlay_range(strengths: np.ndarray, *, threshold: float | None = None) -> OverlayRange:
    """The range of a video's strengths (steps, h, w), all at least 0.

    Args:
        strengths: Of all maps that are shown.
        threshold: What is shown in full color, in place of the 97th percentile.
    """
    if not strengths.size or strengths.max() - strengths.min() <= FLAT:
        return OverlayRange(low=0.0, high=0.0)
    highest = float(np.percentile(strengths, PERCENTILE)) if threshold is None else threshold
    return OverlayRange(low=LOW_SHARE * highest, high=highest + FLAT)


def draw_map(pixels: np.ndarray, values: np.ndarray, shown: OverlayRange) -> np.ndarray:
    """A picture with a map over it, uint8 (h, w, 3).

    Args:
        pixels: uint8 RGB (h, w, 3).
        values: float (y, x), cells that cover the whole picture. Positive ones are drawn in the
            colors of jet, negative ones from blue to white.
        shown: Which magnitudes are colored.
    """
    if shown.is_flat or np.abs(values).max(initial=0.0) <= shown.low:
        return pixels
    height, width = pixels.shape[:2]
    scale = min(1.0, _COARSE_PX / max(width, height))
    coarse = (max(round(width * scale), 1), max(round(height * scale), 1))
    field = np.asarray(
        Image.fromarray(np.ascontiguousarray(values, np.float32)).resize(
            coarse, Image.Resampling.BILINEAR
        )
    )
    place = (np.abs(field) - shown.low) / (shown.high - shown.low)
    colors = jet(place)
    if field.min() < 0:
        colors = np.where((field < 0)[..., None], _cold(place), colors)
    alpha = np.clip(place, 0, MAX_ALPHA)
    color = Image.fromarray(np.round(255 * colors).astype(np.uint8))
    opacity = Image.fromarray(np.round(255 * alpha).astype(np.uint8))
    full = (width, height)
    blended = Image.composite(
        color.resize(full, Image.Resampling.BILINEAR),
        Image.fromarray(pixels),
        opacity.resize(full, Image.Resampling.BILINEAR),
    )
    return np.asarray(blended)


def jet(place: np.ndarray) -> np.ndarray:
    """Colors in [0, 1] (..., 3) of places in [0, 1]: dark blue, blue, cyan, yellow, red, dark red.

    Three trapezoids of slope 4, as in Matlab's map of that name.
    """
    place = np.clip(place, 0, 1)[..., None]
    centers = np.array([0.75, 0.5, 0.25])
    colors: np.ndarray = np.clip(1.5 - 4 * np.abs(place - centers), 0, 1)
    return colors


def _cold(place: np.ndarray) -> np.ndarray:
    place = np.clip(place, 0, 1)[..., None]
    colors: np.ndarray = np.array([0.1, 0.1, 0.7]) * (1 - place) + np.array([0.8, 0.9, 1]) * place
    return colors


def sheet(pictures: list[np.ndarray], captions: list[str], *, columns: int = 3) -> Image.Image:
    """Pictures of one size side by side, each with a line of text under it.

    Raises:
        ValueError: There is no picture.
    """
    if not pictures:
        raise ValueError("a sheet needs at least one picture")
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    gap, line = 8, 22
    page = Image.new(
        "RGB", (gap + columns * (width + gap), gap + rows * (height + line + gap)), "white"
    )
    pen = ImageDraw.Draw(page)
    for index, (pixels, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(index, columns)
        left, top = gap + column * (width + gap), gap + row * (height + line + gap)
        page.paste(Image.fromarray(pixels), (left, top))
        pen.text((left + 2, top + height + 4), caption, fill="black", font_size=14)
    return page


def enlarged(pixels: np.ndarray, *, min_width_px: int) -> np.ndarray:
    """A picture at least that wide, uint8 (h, w, 3), by whole pixels."""
    times = -(-min_width_px // pixels.shape[1])
    return pixels.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else pixels


def shrunk(pixels: np.ndarray, *, max_width_px: int) -> np.ndarray:
    """A picture no wider than that, uint8 (h, w, 3)."""
    height, width = pixels.shape[:2]
    if width <= max_width_px:
        return pixels
    size = (max_width_px, max(round(height * max_width_px / width), 1))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
