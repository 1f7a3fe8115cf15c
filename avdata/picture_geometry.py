"""Native frames to stored ones: which way is up, mirror images, square pixels, the stored size.

One definition for the builder, and for the reader of sets whose frames keep their native size.
"""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from avdata.errors import FailureReason, MediaError

MAX_LONG_SIDE_PX = 8192
ANGLE_TOLERANCE_DEG = 1.0
"""Angles this near to a quarter turn count as one, as in FFmpeg's `autorotate`."""

MAX_SIDE_DATA_TYPES = 48
"""FFmpeg 8 has 32 types of side data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orientation:
    """Turn and mirror image that set a frame upright."""

    rotation_deg: int = 0
    """Counterclockwise, in [-180, 180); anything but quarter turns counts as none."""
    mirrored: bool = False
    """After the turn, left and right change places."""

    @property
    def sideways(self) -> bool:
        """Whether width and height change places."""
        return upright_turns(self.rotation_deg) % 2 == 1

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (width, height) of a frame of `size` once it is upright, or the other way."""
        return size[::-1] if self.sideways else size

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """Return a view of pixels or samples (h, w, ...), set upright."""
        turns = upright_turns(self.rotation_deg)
        turned = np.rot90(pixels, turns) if turns else pixels
        return turned[:, ::-1] if self.mirrored else turned


AS_IT_IS = Orientation()


def frame_orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation that a decoded frame's display matrix asks for."""
    side_data: Any
    try:
        side_data = frame.side_data
    except ValueError:  # PyAV knows no name for a part of it, such as EXIF
        side_data = _with_named_side_data(frame).side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    return AS_IT_IS if matrix is None else matrix_orientation(bytes(matrix))


def _with_named_side_data(frame: VideoFrame) -> VideoFrame:
    """Return the frame without side data that PyAV has no name for."""
    form = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
    graph = av.filter.Graph()
    source = last = graph.add("buffer", f"{form}:time_base=1/1")
    for number in range(len(Type), MAX_SIDE_DATA_TYPES):
        link = graph.add("sidedata", f"mode=delete:type={number}")
        last.link_to(link)
        last = link
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    source.push(frame)
    named = sink.pull()
    assert isinstance(named, VideoFrame)
    return named


def matrix_orientation(display_matrix: bytes) -> Orientation:
    """Return the orientation of a display matrix; odd angles count as none.

    Args:
        display_matrix: Nine int32, of which the first six are 16.16 fixed point: (a b u, c d v,
            x y w). A point (p, q) of the frame, q pointing down, is shown at (a p + c q,
            b p + d q). Scale and shift are ignored.
    """
    if len(display_matrix) != struct.calcsize("=9i"):
        return AS_IT_IS
    a, b, _, c, d, *_ = struct.unpack("=9i", display_matrix)
    mirrored = a * d - b * c < 0
    if mirrored:  # take the mirror image back: what is left is the turn
        a, c = -a, -c
    turns = [_quarter_turns(x, y) for x, y in ((a, -b), (d, c))]  # of either axis
    if turns[0] is None or turns[0] != turns[1]:
        return AS_IT_IS
    return Orientation(rotation_deg=(90 * turns[0] + 180) % 360 - 180, mirrored=mirrored)


def _quarter_turns(cosine: int, sine: int) -> int | None:
    """Return the turns from 0 to 3 of an angle given as a vector; None of an odd angle."""
    if not cosine and not sine:
        return None
    angle_deg = math.degrees(math.atan2(sine, cosine))
    turns = round(angle_deg / 90)
    return turns % 4 if abs(angle_deg - 90 * turns) < ANGLE_TOLERANCE_DEG else None


def stored_size(
    width_px: int, height_px: int, *, pixel_aspect: Fraction | float, short_side_px: int
) -> tuple[int, int]:
    """Width and height, both even, of a picture with square pixels and the given short side.

    Raises:
        MediaError: The picture is so narrow that its long side would pass 8192 pixels.
    """
    width = float(width_px * pixel_aspect)
    scale = short_side_px / min(width, height_px)
    size = (2 * round(width * scale / 2), 2 * round(height_px * scale / 2))
    if max(size) > MAX_LONG_SIDE_PX:
        raise MediaError(
            FailureReason.TOO_MANY_PIXELS,
            f"a {width_px}x{height_px} picture would come out as {size[0]}x{size[1]}; the long "
            f"side may have {MAX_LONG_SIDE_PX} pixels",
        )
    return size


def usable_aspect(pixel_aspect: Fraction | None) -> Fraction:
    """Width by height of a pixel; 1 where the file states nothing or nonsense."""
    if pixel_aspect is not None and Fraction(1, 20) <= pixel_aspect <= 20:
        return pixel_aspect
    return Fraction(1)


def upright_turns(rotation_deg: int) -> int:
    """Return the quarter turns counterclockwise of an angle; odd angles count as none."""
    return (rotation_deg // 90) % 4 if abs(rotation_deg) <= 360 and rotation_deg % 90 == 0 else 0
