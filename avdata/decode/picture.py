"""Decoded picture -> planes at the stored size: upright, square pixels, without leaving YUV.

Readers of JPEG, and of H.264 that does not say otherwise, assume the BT.601 matrix, so BT.709
pictures are converted, at the small size where that is cheap.
"""

from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from avdata.config import LimitsConfig
from avdata.decode.media import check_pixels, scaling_faults
from avdata.picture_geometry import AS_IT_IS, frame_orientation, stored_size

BT709 = 1
"""`AVCOL_SPC_BT709`."""
LIMITED_RANGE = 1
"""`AVCOL_RANGE_MPEG`."""

Range = Literal["full", "limited"]
_FORMATS: dict[Range, tuple[str, str]] = {
    "full": ("yuvj420p", "JPEG"),
    "limited": ("yuv420p", "MPEG"),
}
"""Pixel format and FFmpeg's name of the range."""


class PictureScaler:
    """Scales the pictures of one clip; all come out with the size that the first one gets."""

    def __init__(
        self,
        *,
        short_side_px: int,
        pixel_aspect: Fraction,
        color_range: Range,
        limits: LimitsConfig,
    ) -> None:
        self._short_side_px, self._pixel_aspect = short_side_px, pixel_aspect
        self._range = color_range
        self._format, self._av_range = _FORMATS[color_range]
        self._limits = limits
        self._scaler = VideoReformatter()
        self._matrix: _MatrixChange | None = None
        self._size: tuple[int, int] | None = None
        self.orientation = AS_IT_IS
        self.width_px = self.height_px = 0
        """Size as stored, after the turn."""

    def planes(self, frame: av.VideoFrame) -> list[np.ndarray]:
        """Y, U and V of one decoded picture, uint8 (h, w) and twice (h / 2, w / 2), upright.

        Raises:
            MediaError: The picture's form cannot be stored.
        """
        check_pixels(frame.width, frame.height, self._limits)
        if self._size is None:
            self._start(frame)
            assert self._size is not None
        with scaling_faults(frame):
            small = self._shrink(frame, self._size)
        planes = [_pixels(plane) for plane in small.planes]
        if self.orientation != AS_IT_IS:
            planes = [np.ascontiguousarray(self.orientation.upright(plane)) for plane in planes]
        return planes

    def _start(self, frame: av.VideoFrame) -> None:
        self._size = stored_size(
            frame.width,
            frame.height,
            pixel_aspect=self._pixel_aspect,
            short_side_px=self._short_side_px,
        )
        self.orientation = frame_orientation(frame)
        self.width_px, self.height_px = self.orientation.size(self._size)

    def _shrink(self, frame: av.VideoFrame, size: tuple[int, int]) -> av.VideoFrame:
        width, height = size
        if frame.colorspace == BT709:
            limited = self._scaler.reformat(
                frame,
                width=width,
                height=height,
                format="yuv420p",
                interpolation="AREA",
                dst_color_range="MPEG",
                threads=1,
            )
            if self._matrix is None:
                self._matrix = _MatrixChange(width, height, color_range=self._range)
            return self._matrix.apply(limited)
        return self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format=self._format,
            interpolation="AREA",
            dst_color_range=self._av_range,
            threads=1,
        )


class _MatrixChange:
    """BT.709 of limited range to BT.601, by FFmpeg's colorspace filter.

    Four times as fast as a second pass of the scaler, and nearer to the equations: a fourth of a
    level off in the mean, the scaler more than one.
    """

    def __init__(self, width: int, height: int, *, color_range: Range) -> None:
        same = "iprimaries=bt709:primaries=bt709:itrc=bt709:trc=bt709:fast=1:format=yuv420p"
        out = "pc" if color_range == "full" else "tv"
        # kept, because its filters do not keep it
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        size = f"video_size={width}x{height}:pix_fmt=yuv420p:time_base=1/1000:pixel_aspect=1/1"
        self._source = self._graph.add("buffer", f"{size}:colorspace=bt709:range=tv")
        change = self._graph.add(
            "colorspace", f"ispace=bt709:space=smpte170m:irange=tv:range={out}:{same}"
        )
        self._sink = self._graph.add("buffersink")
        self._source.link_to(change)
        change.link_to(self._sink)
        self._graph.configure()

    def apply(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The same picture with the other matrix."""
        picture.colorspace, picture.color_range = BT709, LIMITED_RANGE
        self._source.push(picture)
        changed = self._sink.pull()
        assert isinstance(changed, av.VideoFrame)
        return changed


def _pixels(plane: VideoPlane) -> np.ndarray:
    """uint8 (h, w) view of a plane, without the padding of its lines."""
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width]
