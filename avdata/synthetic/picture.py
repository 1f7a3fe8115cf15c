"""A scene as frames. Each object is drawn in its own box, all its frames at once."""

import colorsys

import numpy as np
from numpy.typing import NDArray

from avdata.synthetic.background import background_frames
from avdata.synthetic.scene import Pose, Scene, SceneObject, pose_of
from avdata.synthetic.sprite import CELLS, EXTENT, sprite_of

Floats = NDArray[np.float64]
RIM = 0.13
"""Width of the rim in radii: light on hard objects, dark on soft ones."""
GLOW = 0.3
"""Reach of the flash beyond the outline in radii."""
GLOW_END = 2.2
"""In reaches: farther out, where it would be below 1 %, there is no glow."""
CHUNK_FRAMES = 64
"""Frames drawn at once; keeps the arrays in the cache."""


def render_frames(scene: Scene, times_s: Floats | None = None) -> NDArray[np.uint8]:
    """Pictures of the scene, shape (t, h, w, 3), RGB.

    Args:
        scene: What happens.
        times_s: Times of the pictures; None means frame i at ``i / fps``.
    """
    times_s = scene.frame_times_s if times_s is None else times_s
    frames = background_frames(scene, times_s)
    for thing in scene.objects:
        if thing.off_screen:
            continue
        pose = pose_of(scene, thing, times_s)
        for flashing in (False, True):  # without a flash the box is smaller
            chosen = np.flatnonzero((pose.flash > 0) == flashing)
            for first in range(0, len(chosen), CHUNK_FRAMES):
                _draw(frames, chosen[first : first + CHUNK_FRAMES], thing, pose, flashing)
    return frames


def _draw(
    frames: NDArray[np.uint8],
    chosen: NDArray[np.intp],
    thing: SceneObject,
    pose: Pose,
    flashing: bool,
) -> None:
    radius = thing.radius_px
    reach = float(pose.radius_px(radius)[chosen].max())
    half = int(np.ceil(reach * (1.0 + GLOW_END * GLOW if flashing else 1.0))) + 1
    center = pose.center_px[chosen]
    corner = np.floor(center).astype(int) - half
    grid = np.arange(2 * half + 1) + 0.5
    dx = (corner[:, 0, None] + grid - center[:, 0, None]).astype(np.float32)[:, None, :]
    dy = (corner[:, 1, None] + grid - center[:, 1, None]).astype(np.float32)[:, :, None]
    m = (_to_sprite(pose, chosen) / radius).astype(np.float32)[:, :, :, None, None]
    column = _cell(m[:, 0, 0] * dx + m[:, 0, 1] * dy)
    row = _cell(m[:, 1, 0] * dx + m[:, 1, 1] * dy)
    cell = row * CELLS + column
    sprite = sprite_of(thing.object_class)
    distance = sprite.distance[cell]
    alpha = np.clip(0.5 - distance * np.float32(radius), 0, 1)
    flash = pose.flash[chosen].astype(np.float32)[:, None, None]
    rgb = np.array(colorsys.hsv_to_rgb(thing.hue, 0.85, 0.95)) * 255
    rim = np.float32(255 * (0.08 + 0.92 * thing.hardness))
    on_rim = (distance > -RIM).astype(np.float32)
    shade = sprite.shade[cell]
    keep = 1 - alpha
    glow = None
    if flashing:
        away = np.maximum(distance, 0) / np.float32(GLOW)
        glow = np.float32(0.9) * flash * np.exp(-(away**2)) * keep * (away < GLOW_END)
        keep = keep - glow
    paint = np.empty((*alpha.shape, 3), dtype=np.float32)
    for c in range(3):
        color = shade * np.float32(rgb[c])
        color += np.float32(0.85) * on_rim * (rim - color)
        color += np.float32(0.9) * flash * (255 - color)
        paint[..., c] = color * alpha
        if glow is not None:
            paint[..., c] += glow * np.float32(0.35 * rgb[c] + 0.65 * 255)
    _paste(frames, chosen, corner, paint, keep)


def _paste(
    frames: NDArray[np.uint8],
    chosen: NDArray[np.intp],
    corner: NDArray[np.intp],
    paint: NDArray[np.float32],
    keep: NDArray[np.float32],
) -> None:
    height, width = frames.shape[1:3]
    box = paint.shape[1]
    paint += np.float32(0.5)
    for i, (frame_index, (left, top)) in enumerate(zip(chosen, corner, strict=True)):
        y0, y1, x0, x1 = max(top, 0), min(top + box, height), max(left, 0), min(left + box, width)
        if y0 >= y1 or x0 >= x1:
            continue
        ys, xs = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        target = frames[frame_index, y0:y1, x0:x1]
        target[:] = target * keep[i, ys, xs, None] + paint[i, ys, xs]


def _to_sprite(pose: Pose, chosen: NDArray[np.intp]) -> Floats:
    """Matrices (t, 2, 2) from pixels off the center to sprite coordinates times the radius."""
    normal, squash = pose.normal[chosen], pose.squash[chosen][:, None, None]
    outer = normal[:, :, None] * normal[:, None, :]
    unsquash = outer / squash + (np.eye(2) - outer) * squash
    c, s = np.cos(pose.tilt_rad[chosen]), np.sin(pose.tilt_rad[chosen])
    untilt = np.stack([np.stack([c, s], axis=1), np.stack([-s, c], axis=1)], axis=1)
    return np.asarray(untilt @ unsquash)


def _cell(unit: NDArray[np.float32]) -> NDArray[np.int32]:
    scaled = (unit + np.float32(EXTENT)) * np.float32(CELLS / (2 * EXTENT))
    return np.asarray(np.clip(scaled, 0, CELLS - 1), dtype=np.int32)
