"""When and where the cells of the multisensory network's maps look.

A cell's center is that of its receptive field, in indices of the frames and pixels that the network
took. At 125 frames of 224 px these are the frames 2, 10 ... 122 and the pixels 17, 49 ... 209:

    x  0       17      32      49       64       81
       |--------+-------|-------+--------|--------+--- ...    pitch 32 px

The two convolutions of a strided block look half a position to the right of its shortcut at even
lengths (their padding is all on the right); the center is taken half way.

Reference: Owens and Efros 2018, released code, which draws cell i of T over n frames at i * n / T.
"""

from __future__ import annotations

from dataclasses import dataclass

from avtrain.models.multisensory_config import MultisensoryConfig
from avtrain.models.same_padding import same_length, same_padding


@dataclass(frozen=True, kw_only=True, slots=True)
class MapGeometry:
    """Centers of a map's cells along each axis, and their distance."""

    frames: tuple[float, ...]
    """Frame that is the center of each time step; 0 is the first."""
    rows_px: tuple[float, ...]
    """Pixel row that is the center of each row of cells; 0 is the topmost."""
    columns_px: tuple[float, ...]
    """Pixel column that is the center of each column of cells; 0 is the leftmost."""
    frame_pitch: int
    """Frames from one cell to the next."""
    pitch_px: int
    """Pixels from one cell to the next, down and to the right."""

    def times_s(self, fps: float) -> tuple[float, ...]:
        """Time of each step in seconds after the first frame is shown."""
        return tuple(frame / fps for frame in self.frames)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    """One strided layer along one axis."""

    kernel: int
    stride: int
    shortcut: bool = False
    """There is a way around it that looks at the first position of each stride."""


def map_geometry(
    config: MultisensoryConfig, *, num_frames: int, height_px: int, width_px: int
) -> MapGeometry:
    """Centers of the cells of an activation map, and of scale 2, for an input of that size."""
    time = [_Layer(kernel=5, stride=config.time_strides[0])]
    time += [_Layer(kernel=3, stride=s, shortcut=True) for s in config.time_strides[1:]]
    first, pool, *blocks = config.space_strides
    space = [_Layer(kernel=7, stride=first)]
    if pool > 1:
        space.append(_Layer(kernel=3, stride=pool))
    space += [_Layer(kernel=3, stride=s, shortcut=True) for s in blocks]
    frames, frame_pitch = _centers(num_frames, time)
    rows, pitch_px = _centers(height_px, space)
    columns, _ = _centers(width_px, space)
    return MapGeometry(
        frames=frames,
        rows_px=rows,
        columns_px=columns,
        frame_pitch=frame_pitch,
        pitch_px=pitch_px,
    )


def _centers(size: int, layers: list[_Layer]) -> tuple[tuple[float, ...], int]:
    """Centers in positions of the input, and their distance."""
    if size < 1:
        raise ValueError(f"{size=} must be at least 1 on every axis")
    first, pitch = 0.0, 1
    for layer in layers:
        left, _ = same_padding(size, kernel=layer.kernel, stride=layer.stride)
        offset = (layer.kernel - 1) / 2 - left
        first += pitch * (offset / 2 if layer.shortcut else offset)
        pitch *= layer.stride
        size = same_length(size, stride=layer.stride)
    return tuple(first + pitch * index for index in range(size)), pitch
