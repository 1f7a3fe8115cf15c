"""Shapes and textures of objects as tables that drawing looks up."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avdata.synthetic.object_class import ObjectClass, Shape, Texture

EXTENT = 1.8
"""Tables cover [-EXTENT, EXTENT] in both axes; the circle around a shape has radius 1."""
CELLS = 720
"""Cells of a table's side: a cell is 0.005 radii."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Sprite:
    """One class's look in its own coordinates; tables are flat, row by row, CELLS * CELLS long."""

    distance: NDArray[np.float32]
    """Signed distance to the outline in radii, negative inside."""
    shade: NDArray[np.float32]
    """Factor on the color, 0.4 to 1."""

    def __repr__(self) -> str:
        return f"Sprite({CELLS}x{CELLS})"


@lru_cache(maxsize=64)
def sprite_of(object_class: ObjectClass) -> Sprite:
    """The tables of a class."""
    axis = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * EXTENT
    x, y = np.meshgrid(axis, axis)
    return Sprite(
        distance=_distance(object_class.name, x, y).astype(np.float32).ravel(),
        shade=_shade(object_class.texture, x, y).astype(np.float32).ravel(),
    )


def _distance(shape: Shape, x: Floats, y: Floats) -> Floats:
    if shape == "disc":
        return np.asarray(np.hypot(x, y) - 1.0)
    if shape == "ring":
        return np.asarray(np.abs(np.hypot(x, y) - 0.72) - 0.28)
    return _polygon_distance(centered(_POLYGONS[shape]), x, y)


def centered(corners: Floats) -> Floats:
    """Polygon moved so that its center of area is the origin, and scaled to radius 1."""
    x, y = corners.T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    cross = x * y_next - x_next * y
    center = np.array([((x + x_next) * cross).sum(), ((y + y_next) * cross).sum()])
    moved = corners - center / (3.0 * cross.sum())
    return np.asarray(moved / np.hypot(*moved.T).max())


def _polygon_distance(corners: Floats, x: Floats, y: Floats) -> Floats:
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey, px, py = bx - ax, by - ay, x - ax, y - ay
        along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        np.minimum(nearest, (px - along * ex) ** 2 + (py - along * ey) ** 2, out=nearest)
        if ay != by:  # even-odd rule
            inside ^= ((ay > y) != (by > y)) & (px < py * ex / ey)
    distance = np.sqrt(nearest)
    return np.asarray(np.where(inside, -distance, distance))


def _regular(count: int, *, first_rad: float, inner: float | None = None) -> Floats:
    radii = np.ones(count) if inner is None else np.tile([1.0, inner], count)
    angles = first_rad + 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _gear() -> Floats:
    angles = 2 * np.pi * (np.arange(32) + 0.5) / 32
    radii = np.tile([1.0, 1.0, 0.72, 0.72], 8)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


_POLYGONS: dict[str, Floats] = {
    "square": _regular(4, first_rad=np.pi / 4),
    "triangle": _regular(3, first_rad=-np.pi / 2),
    "star": _regular(5, first_rad=-np.pi / 2, inner=0.42),
    "cross": np.array(
        [[1, 3], [-1, 3], [-1, 1], [-3, 1], [-3, -1], [-1, -1],
         [-1, -3], [1, -3], [1, -1], [3, -1], [3, 1], [1, 1]], dtype=float
    ),
    "diamond": np.array([[0, -1], [0.62, 0], [0, 1], [-0.62, 0]]),
    "bar": np.array([[1, 0.36], [-1, 0.36], [-1, -0.36], [1, -0.36]]),
    "hexagon": _regular(6, first_rad=0.0),
    "chevron": np.array([[-1, 0.85], [0, -0.1], [1, 0.85], [1, -0.1], [0, -0.95], [-1, -0.1]]),
    "gear": _gear(),
    "ell": np.array([[-0.7, -1], [0, -1], [0, 0.3], [0.8, 0.3], [0.8, 1], [-0.7, 1]]),
}  # fmt: skip


def _shade(texture: Texture, x: Floats, y: Floats) -> Floats:
    light = {
        "plain": np.ones(x.shape, dtype=bool),
        "stripes": np.sin(6.5 * (x + y)) > -0.2,
        "dots": np.cos(8 * x) * np.cos(8 * y) < 0.45,
        "checks": np.sin(7 * x) * np.sin(7 * y) > 0.0,
        "bands": np.cos(8 * x) > -0.3,
        "spokes": np.cos(8 * np.arctan2(y, x)) > -0.2,
    }
    return np.where(light[texture], 1.0, 0.45)
