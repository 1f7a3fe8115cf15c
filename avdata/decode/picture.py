"""Decoded picture -> JPEG, upright, square pixels, at the stored size, without leaving YUV.

JPEG readers assume the BT.601 matrix and full range, so BT.709 pictures are converted, at the
small size where that is cheap.
"""

from fractions import Fraction

import av
import numpy as np
import simplejpeg
from av.video.plane import VideoPlane
from av.video.reformatter import Colorspace, VideoReformatter

from avdata.errors import FailureReason, MediaError
from avdata.schema import VideoSpec

MAX_LONG_SIDE_PX = 8192
BT709 = 1
"""`AVCOL_SPC_BT709`."""


def stored_size(
    width_px: int, height_px: int, *, pixel_aspect: Fraction, short_side_px: int
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
            f"a {width_px}x{height_px} picture would be stored as {size[0]}x{size[1]}; the long "
            f"side may have {MAX_LONG_SIDE_PX} pixels",
        )
    return size


def upright_turns(rotation_deg: int) -> int:
    """Quarter turns counterclockwise that set a picture upright; odd angles count as none."""
    return (rotation_deg // 90) % 4 if abs(rotation_deg) <= 360 and rotation_deg % 90 == 0 else 0


class PictureEncoder:
    """Encodes the pictures of one clip; all come out with the size that the first one gets."""

    def __init__(self, spec: VideoSpec, *, pixel_aspect: Fraction | None) -> None:
        self._spec = spec
        usable = pixel_aspect is not None and Fraction(1, 20) <= pixel_aspect <= 20
        self._pixel_aspect = pixel_aspect if usable and pixel_aspect is not None else Fraction(1)
        self._scaler, self._matrix = VideoReformatter(), VideoReformatter()
        self._size: tuple[int, int] | None = None
        self.rotation_deg = 0
        self.width_px = self.height_px = 0
        """Size as stored, after the turn."""

    def encode(self, frame: av.VideoFrame) -> bytes:
        """JPEG of one decoded picture.

        Raises:
            MediaError: The picture's form cannot be stored.
        """
        if self._size is None:
            self._size = stored_size(
                frame.width,
                frame.height,
                pixel_aspect=self._pixel_aspect,
                short_side_px=self._spec.short_side_px,
            )
            self.rotation_deg = frame.rotation
        try:
            small = self._shrink(frame, self._size)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(
                FailureReason.VIDEO_UNDECODABLE,
                f"pictures of format {frame.format.name} cannot be scaled: {error}",
            ) from None
        planes = [_pixels(plane) for plane in small.planes]
        if turns := upright_turns(self.rotation_deg):
            planes = [np.ascontiguousarray(np.rot90(plane, turns)) for plane in planes]
        self.height_px, self.width_px = planes[0].shape
        return bytes(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=self._spec.quality))

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
            return self._matrix.reformat(
                limited,
                width=width,
                height=height,
                format="yuvj420p",
                src_colorspace=Colorspace.ITU709,
                dst_colorspace=Colorspace.ITU601,
                dst_color_range="JPEG",
                interpolation="POINT",
                threads=1,
            )
        return self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="yuvj420p",
            interpolation="AREA",
            dst_color_range="JPEG",
            threads=1,
        )


def _pixels(plane: VideoPlane) -> np.ndarray:
    """uint8 (h, w) view of a plane, without the padding of its lines."""
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width]
