"""Decoded picture -> planes at the stored size: upright, square pixels, without leaving YUV.

Readers of JPEG, and of H.264 that does not say otherwise, assume the BT.601 matrix, so pictures of
any other matrix are converted, at the small size where that is cheap. PQ and HLG are tone-mapped on
request.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from avdata.config import LimitsConfig
from avdata.decode.media import check_pixels, scaling_faults
from avdata.decode.tone_map import TONE_MAPS
from avdata.picture_color import (
    FULL_RANGE,
    HLG,
    PQ,
    RANGE_NAMES,
    StatedColor,
    needs_decoding,
    rgb_signal,
    scaler_colorspace,
    stated_color,
)
from avdata.picture_geometry import AS_IT_IS, Orientation, frame_orientation, stored_size
from avdata.schema import ToneMap

SMPTE170M = 6
"""`AVCOL_SPC_SMPTE170M`: BT.601."""
FILTERED_MATRICES = {1: "bt709", 4: "fcc", 7: "smpte240m", 9: "bt2020nc"}
"""`AVColorSpace` of frames that FFmpeg's colorspace filter converts to BT.601."""
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
        tone_map: ToneMap = "none",
    ) -> None:
        self._short_side_px, self._pixel_aspect = short_side_px, pixel_aspect
        self._range = color_range
        self._format, self._av_range = _FORMATS[color_range]
        self._limits = limits
        self._tone_map = tone_map
        self._scaler = VideoReformatter()
        self._changes: dict[tuple[int, int], _MatrixChange] = {}
        """By the matrix and range that pictures state."""
        self._size: tuple[int, int] | None = None
        self.facts: PictureFacts | None = None
        """None before the first picture."""
        self.width_px = self.height_px = 0
        """Size as stored, after the turn."""

    def planes(self, frame: av.VideoFrame) -> list[np.ndarray]:
        """Y, U and V of one decoded picture, uint8 (h, w) and twice (h / 2, w / 2), upright.

        Raises:
            MediaError: The picture's form cannot be stored.
        """
        check_pixels(frame.width, frame.height, self._limits)
        if self._size is None or self.facts is None:
            self._start(frame)
            assert self._size is not None and self.facts is not None
        if frame.interlaced_frame and not self.facts.interlaced:
            self.facts = replace(self.facts, interlaced=True)
        with scaling_faults(frame):
            planes = self._shrink(frame, self._size)
        orientation = self.facts.orientation
        if orientation != AS_IT_IS:
            planes = [np.ascontiguousarray(orientation.upright(plane)) for plane in planes]
        return planes

    def _start(self, frame: av.VideoFrame) -> None:
        self._size = stored_size(
            frame.width,
            frame.height,
            pixel_aspect=self._pixel_aspect,
            short_side_px=self._short_side_px,
        )
        self.facts = picture_facts(frame)
        self.width_px, self.height_px = self.facts.orientation.size(self._size)

    def _shrink(self, frame: av.VideoFrame, size: tuple[int, int]) -> list[np.ndarray]:
        width, height = size
        tone_map = TONE_MAPS.get(self._tone_map) if frame.color_trc in (PQ, HLG) else None
        if tone_map is not None or needs_decoding(frame):
            signal = rgb_signal(frame, self._scaler, width_px=width, height_px=height)
            if tone_map is not None:
                signal = tone_map(signal, transfer=frame.color_trc, primaries=frame.color_primaries)
            return _bt601_planes(signal, color_range=self._range)
        if frame.colorspace in FILTERED_MATRICES:
            return _planes(self._filtered(frame, size))
        colorspace = scaler_colorspace(frame)
        small = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format=self._format,
            src_colorspace=colorspace,
            dst_colorspace=colorspace,
            interpolation="AREA",
            dst_color_range=self._av_range,
            threads=1,
        )
        return _planes(small)

    def _filtered(self, frame: av.VideoFrame, size: tuple[int, int]) -> av.VideoFrame:
        full = frame.color_range == FULL_RANGE
        stated = (frame.colorspace, FULL_RANGE if full else LIMITED_RANGE)
        small = self._scaler.reformat(
            frame,
            width=size[0],
            height=size[1],
            format="yuv420p",
            interpolation="AREA",
            dst_color_range="JPEG" if full else "MPEG",
            threads=1,
        )
        if stated not in self._changes:
            self._changes[stated] = _MatrixChange(*size, stated=stated, color_range=self._range)
        return self._changes[stated].apply(small)


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFacts:
    """Properties that pictures state."""

    orientation: Orientation
    color: StatedColor
    interlaced: bool


def picture_facts(frame: av.VideoFrame) -> PictureFacts:
    """Return the properties that a decoded picture states."""
    return PictureFacts(
        orientation=frame_orientation(frame),
        color=stated_color(frame),
        interlaced=frame.interlaced_frame,
    )


class _MatrixChange:
    """Another matrix to BT.601, by FFmpeg's colorspace filter.

    Four times as fast as a second pass of the scaler, and nearer to the equations: a fourth of a
    level off in the mean, the scaler more than one.
    """

    def __init__(
        self, width: int, height: int, *, stated: tuple[int, int], color_range: Range
    ) -> None:
        same = "iprimaries=bt709:primaries=bt709:itrc=bt709:trc=bt709:fast=1:format=yuv420p"
        matrix, range_in = FILTERED_MATRICES[stated[0]], RANGE_NAMES[stated[1]]
        out = "pc" if color_range == "full" else "tv"
        self._stated = stated
        # kept, because its filters do not keep it
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        size = f"video_size={width}x{height}:pix_fmt=yuv420p:time_base=1/1000:pixel_aspect=1/1"
        self._source = self._graph.add("buffer", f"{size}:colorspace={matrix}:range={range_in}")
        ispace = "bt2020ncl" if matrix == "bt2020nc" else matrix
        change = self._graph.add(
            "colorspace", f"ispace={ispace}:space=smpte170m:irange={range_in}:range={out}:{same}"
        )
        self._sink = self._graph.add("buffersink")
        self._source.link_to(change)
        change.link_to(self._sink)
        self._graph.configure()

    def apply(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The same picture with the other matrix."""
        picture.colorspace, picture.color_range = self._stated
        self._source.push(picture)
        changed = self._sink.pull()
        assert isinstance(changed, av.VideoFrame)
        return changed


def _bt601_planes(rgb: np.ndarray, *, color_range: Range) -> list[np.ndarray]:
    """Y, U and V of RGB (h, w, 3) in [0, 1], by BT.601: uint8 (h, w) and twice (h / 2, w / 2)."""
    height, width, _ = rgb.shape
    luma = rgb @ np.array([0.299, 0.587, 0.114], rgb.dtype)
    coarse = rgb.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))
    coarse_luma = luma.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    chroma = [(coarse[..., 2] - coarse_luma) / 1.772, (coarse[..., 0] - coarse_luma) / 1.402]
    black, white, spread = (0, 255, 255) if color_range == "full" else (16, 235, 224)
    levels = [black + (white - black) * luma, *(128 + spread * part for part in chroma)]
    return [np.clip(np.round(plane), 0, 255).astype(np.uint8) for plane in levels]


def _planes(picture: av.VideoFrame) -> list[np.ndarray]:
    return [_pixels(plane) for plane in picture.planes]


def _pixels(plane: VideoPlane) -> np.ndarray:
    """uint8 (h, w) view of a plane, without the padding of its lines."""
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width]
