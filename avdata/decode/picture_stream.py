"""All pictures of a medium in order of time, in constant memory; see `avdata.decode.playback`."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from avdata.config import LimitsConfig
from avdata.decode.grid import GridPicker
from avdata.decode.media import (
    check_pixels,
    open_media,
    pick_video,
    pixel_aspect,
    scaling_faults,
)
from avdata.decode.packets import clock_origin_s
from avdata.decode.picture_run import decoded
from avdata.decode.whole_stream import MAX_GAP_S, all_packets, damaged_times
from avdata.errors import FailureReason, MediaError
from avdata.frame_clock import USUAL_FPS, PacketClock, PlayOrder
from avdata.picture_color import rgb_pixels
from avdata.picture_geometry import frame_orientation, stored_size

_RECENT_GAPS = 99


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TimedPicture:
    """One decoded picture."""

    frame: av.VideoFrame
    start_s: float
    end_s: float
    """It is shown over [start_s, end_s) of the clock."""


def stream_pictures(
    path: Path, limits: LimitsConfig, *, width_px: int, height_px: int
) -> Iterator[tuple[TimedPicture, np.ndarray]]:
    """Every picture with its RGB pixels, uint8 (height_px, width_px, 3), in order of time.

    Raises:
        MediaError: There is no picture, none decodes, or their times are damaged.
    """
    with open_media(path, limits) as container:
        stream = pick_video(container, limits)
        scaler = UprightScaler(stream, limits)
        for picture in timed_pictures(container, stream):
            yield picture, scaler.rgb(picture.frame, width_px=width_px, height_px=height_px)


def stream_frames(
    path: Path, limits: LimitsConfig, *, fps: float, width_px: int, height_px: int
) -> Iterator[np.ndarray]:
    """RGB pictures (height_px, width_px, 3), uint8, at a constant rate.

    Frame k is the picture nearest to `start + k / fps`, start being the time of the first picture.
    The last picture stands until it ends, to half a frame; there is at least one frame. A picture
    that stands for several frames is one array.

    Raises:
        MediaError: There is no picture, none decodes, or their times are damaged.
    """
    with open_media(path, limits) as container:
        stream = pick_video(container, limits)
        scaler = UprightScaler(stream, limits)
        store = _ScaledFrames(scaler, width_px, height_px)
        picker: GridPicker[av.VideoFrame] | None = None
        first_s = end_s = 0.0
        for picture in timed_pictures(container, stream):
            if picker is None:
                first_s = picture.start_s
                picker = GridPicker(start_s=first_s, fps=fps, store=store)
            end_s = picture.end_s
            picker.push(picture.frame, picture.start_s, limit_s=float("inf"))
            yield from store.taken()
        if picker is None:
            raise MediaError(FailureReason.VIDEO_UNDECODABLE, "none of its pictures decodes")
        picker.finish(max(end_s - 0.5 / fps, first_s + 0.5 / fps))
        yield from store.taken()


class UprightScaler:
    """Decoded pictures to RGB: upright, of square pixels, all of one size."""

    def __init__(self, stream: VideoStream, limits: LimitsConfig) -> None:
        self._aspect = pixel_aspect(stream)
        self._limits = limits
        self._reformatter = VideoReformatter()

    def shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of a picture as a player shows it, both even."""
        short = max(2, round(min(float(frame.width * self._aspect), frame.height)))
        size = stored_size(
            frame.width, frame.height, pixel_aspect=self._aspect, short_side_px=short
        )
        width, height = frame_orientation(frame).size(size)
        return max(width, 2), max(height, 2)

    def rgb(self, frame: av.VideoFrame, *, width_px: int, height_px: int) -> np.ndarray:
        """uint8 (height_px, width_px, 3).

        Raises:
            MediaError: The picture is larger than the limits, or of a form that cannot be scaled.
        """
        check_pixels(frame.width, frame.height, self._limits)
        orientation = frame_orientation(frame)
        width, height = orientation.size((width_px, height_px))
        with scaling_faults(frame):
            pixels = rgb_pixels(frame, self._reformatter, width_px=width, height_px=height)
        return np.ascontiguousarray(orientation.upright(pixels))


class _ScaledFrames:
    """Holds the frames that a grid asked for until they are taken."""

    def __init__(self, scaler: UprightScaler, width_px: int, height_px: int) -> None:
        self._scaler, self._width_px, self._height_px = scaler, width_px, height_px
        self._last: np.ndarray | None = None
        self._waiting: list[np.ndarray] = []

    def add(self, picture: av.VideoFrame) -> None:
        self._last = self._scaler.rgb(picture, width_px=self._width_px, height_px=self._height_px)
        self._waiting.append(self._last)

    def repeat(self) -> None:
        assert self._last is not None
        self._waiting.append(self._last)

    def taken(self) -> list[np.ndarray]:
        waiting, self._waiting = self._waiting, []
        return waiting


def timed_pictures(container: InputContainer, stream: VideoStream) -> Iterator[TimedPicture]:
    """Frames in play order, each once.

    Raises:
        MediaError: The stream's clock goes back, or leaps.
    """
    assert stream.time_base is not None
    origin_s = clock_origin_s(container)
    ticks, ticks_per_s = stream.time_base.numerator, stream.time_base.denominator
    usual_s = 1 / float(stream.average_rate or stream.guessed_rate or USUAL_FPS)
    gaps: deque[float] = deque(maxlen=_RECENT_GAPS)
    pending: tuple[av.VideoFrame, float] | None = None
    for frame, tick in _ordered_frames(container, stream):
        time_s = tick * ticks / ticks_per_s - origin_s
        if pending is not None:
            gap_s = time_s - pending[1]
            if gap_s > MAX_GAP_S:
                raise damaged_times("picture", pending[1], time_s)
            gaps.append(gap_s)
            yield TimedPicture(frame=pending[0], start_s=pending[1], end_s=time_s)
        pending = (frame, time_s)
    if pending is not None:
        frame, time_s = pending
        stated_s = (frame.duration or 0) * ticks / ticks_per_s
        shown_s = max(stated_s, median(gaps)) if gaps else stated_s or usual_s
        yield TimedPicture(frame=frame, start_s=time_s, end_s=time_s + min(shown_s, MAX_GAP_S))


def _ordered_frames(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[av.VideoFrame, int]]:
    clock = PacketClock(stream)
    order: PlayOrder[av.VideoFrame] | None = None
    usual, last = clock.frame_ticks, 0
    for frame in decoded(stream, all_packets(container, stream, clock)):
        if frame is None:
            continue
        order = order or PlayOrder(clock=clock.clock)
        last = frame.pts if frame.pts is not None else last + round(usual)
        yield from order.push(frame, last)
    if order is not None:
        yield from order.finish()
