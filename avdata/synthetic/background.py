"""What lies behind the objects: a soft texture, the room's walls, the surfaces that are struck."""

import colorsys

import numpy as np
from numpy.typing import NDArray

from avdata.synthetic.scene import Scene

Pixels = NDArray[np.float32]

COMMON_GRAY = 0.2
"""Of backgrounds without variety, in the middle of the others."""


def background_frames(scene: Scene, times_s: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The empty scene at `times_s`, shape (t, h, w, 3)."""
    config = scene.config
    pad = int(np.ceil(scene.camera.amplitude_px)) + 2
    canvas = _canvas(scene, pad)
    height, width = config.height_px, config.frame_width_px
    frames = np.empty((len(times_s), height, width, 3), dtype=np.uint8)
    if scene.camera.amplitude_px == 0:
        frames[:] = (canvas[pad : pad + height, pad : pad + width] + 0.5).astype(np.uint8)
        return frames
    for frame, (shift_x, shift_y) in zip(frames, scene.camera.shift_px(times_s), strict=True):
        left, top = pad - shift_x, pad - shift_y  # the picture moves against the window
        column, row = int(left), int(top)
        fx, fy = np.float32(left - column), np.float32(top - row)
        rows = canvas[row : row + height + 1, column : column + width + 1]
        rows = rows[:-1] + fy * (rows[1:] - rows[:-1])
        frame[:] = rows[:, :-1] + (fx * (rows[:, 1:] - rows[:, :-1]) + np.float32(0.5))
    return frames


def _canvas(scene: Scene, pad: int) -> Pixels:
    """The still picture with `pad` more pixels on each side, 0 to 254."""
    config = scene.config
    rng = np.random.default_rng(scene.background_seed)
    height, width = config.height_px + 2 * pad, config.frame_width_px + 2 * pad
    clouds = 0.7 * _soft_noise(rng, height, width, 5) + 0.3 * _soft_noise(rng, height, width, 17)
    dark, light = (
        np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.3), value))
        for value in (rng.uniform(0.06, 0.16), rng.uniform(0.22, 0.42))
    )
    canvas = np.asarray(dark + clouds[:, :, None] * (light - dark), dtype=np.float32)
    if config.background_variety < 1:
        canvas = np.float32(COMMON_GRAY) + config.background_variety * (canvas - COMMON_GRAY)
    wall = max(1.0, 0.012 * config.short_side_px)
    inset = pad + scene.camera.amplitude_px
    y, x = np.mgrid[0.5:height, 0.5:width].astype(np.float32)
    to_wall = np.minimum(
        np.minimum(x - inset, width - inset - x), np.minimum(y - inset, height - inset - y)
    )
    _blend(canvas, np.clip(wall + 0.5 - np.abs(to_wall), 0, 1), 0.5)
    for thing in scene.objects:
        surface = thing.path.surface
        if surface is None or thing.off_screen:
            continue
        ax, ay = surface.x0_px + pad, surface.y0_px + pad
        ex, ey = surface.x1_px - surface.x0_px, surface.y1_px - surface.y0_px
        along = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        distance = np.hypot(x - ax - along * ex, y - ay - along * ey)
        _blend(canvas, np.clip(wall + 0.5 - distance, 0, 1), 0.62)
    return np.asarray(canvas * np.float32(254.0), dtype=np.float32)


def _blend(canvas: Pixels, alpha: NDArray[np.floating], gray: float) -> None:
    canvas += (alpha[:, :, None] * (gray - canvas)).astype(np.float32)


def _soft_noise(rng: np.random.Generator, height: int, width: int, knots: int) -> Pixels:
    """Values in [0, 1] that vary smoothly over `knots` random ones each way."""
    grid = rng.random((knots, knots))
    at_y, at_x = np.linspace(0, knots - 1.001, height), np.linspace(0, knots - 1.001, width)
    row, column = at_y.astype(int), at_x.astype(int)
    fy, fx = at_y - row, at_x - column
    fy, fx = (fy * fy * (3 - 2 * fy))[:, None], fx * fx * (3 - 2 * fx)
    rows = grid[row] * (1 - fy) + grid[row + 1] * fy
    return np.asarray(rows[:, column] * (1 - fx) + rows[:, column + 1] * fx, dtype=np.float32)
