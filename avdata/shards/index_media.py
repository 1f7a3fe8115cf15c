"""Media in a tar: times of frames, extent of audio, by headers and packets.

One picture of each video is decoded, for its size and turn; where packets do not state the time of
their picture, or of codecs whose packets do not tell which frames they bring out, all are.
"""

import io
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import av
import numpy as np
import simplejpeg
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from avdata.config import LimitsConfig
from avdata.errors import FailureReason, MediaError
from avdata.frame_clock import PACKING_CODECS, FrameClock, PlayOrder
from avdata.picture_color import StatedColor, stated_color
from avdata.picture_geometry import Orientation, frame_orientation, usable_aspect
from avdata.shards.container_form import container_form
from avdata.shards.foreign_sound import npy_samples, pick_audio
from avdata.shards.video_member import PNG_MAGIC, pick_video
from avdata.shards.writer import ByteRange

JPEG_MAGIC = b"\xff\xd8"
TRUNCATED_S = 0.5
"""A movie whose packets end this much before its header says is cut."""
UNUSUAL_GAP = 0.1
"""A mean distance of frames that is this share off the median has outliers in it."""
VP8_SHOWN = 0x10
"""Bit of a VP8 frame's first byte: the frame is shown."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoTrack:
    """The pictures of a video."""

    times_s: np.ndarray
    """float64, ascending, on the clock of the container."""
    end_s: float
    width_px: int
    height_px: int
    pixel_aspect: float
    orientation: Orientation
    interlaced: bool
    color: StatedColor
    codec: str
    stream_index: int
    clock: FrameClock
    """Source of the times."""
    corrupt_s: tuple[float, ...]
    """Times of the frames, among those that were decoded, that the decoder flags as damaged: they
    are not given to a trainer."""

    @property
    def start_s(self) -> float:
        return float(self.times_s[0])

    @property
    def fps(self) -> float | None:
        """Mean rate; None of a single picture."""
        spread = float(self.times_s[-1] - self.times_s[0])
        return (len(self.times_s) - 1) / spread if spread > 0 else None

    @property
    def jitter_s(self) -> float:
        return statistics.pstdev(np.diff(self.times_s)) if len(self.times_s) > 1 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundTrack:
    """The sound of a member."""

    start_s: float
    end_s: float
    sample_rate_hz: int
    channels: int
    layout: str
    codec: str
    stream_index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerTracks:
    """Tracks of a container."""

    video: VideoTrack | None
    sound: SoundTrack | None


class TarMember(io.RawIOBase):
    """A member of an open tar as a file."""

    def __init__(self, descriptor: int, where: ByteRange) -> None:
        self._descriptor, self._where, self._at = descriptor, where, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._where.size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._where.size - self._at, 0)
        count = left if size is None or size < 0 else min(size, left)
        data = os.pread(self._descriptor, count, self._where.offset + self._at)
        self._at += len(data)
        return data


def read_tracks(
    descriptor: int, where: ByteRange, limits: LimitsConfig, *, decode: bool
) -> ContainerTracks:
    """Video and sound of a container.

    Args:
        descriptor: The open tar.
        where: The member.
        limits: Pixels, channels and streams that are allowed.
        decode: Take the times of pictures from decoding them all.

    Raises:
        MediaError: It is no container that is allowed, or it is damaged.
    """
    member = TarMember(descriptor, where)
    form = container_form(member.read(16))
    if form is None:
        raise MediaError(
            FailureReason.FORMAT_NOT_ALLOWED,
            "its media are in none of the containers mp4, mov, mkv, webm, avi, ogg, wav, flac, mp3 "
            "and aac",
        )
    member.seek(0)
    try:
        with av.open(member, "r", format=form.demuxer, metadata_errors="ignore") as container:
            return _Tracks(container, limits, decode=decode).read()
    except (av.FFmpegError, OSError, EOFError, ValueError) as error:
        raise MediaError(FailureReason.NOT_MEDIA, f"its media cannot be read: {error}") from None


class _Tracks:
    """The state of one `read_tracks`."""

    def __init__(self, container: InputContainer, limits: LimitsConfig, *, decode: bool) -> None:
        self.container, self.limits, self.decode = container, limits, decode
        if len(container.streams) > limits.max_streams:
            raise MediaError(
                FailureReason.TOO_MANY_STREAMS,
                f"{len(container.streams)} streams; limits.max_streams is {limits.max_streams}",
            )
        self.video, self.sound = pick_video(container), pick_audio(container)
        self.picture_times: list[float | None] = []
        self.corrupt_s: list[float] = []
        self.video_end_s = 0.0
        self.sound_start_s, self.sound_end_s = float("inf"), 0.0

    def read(self) -> ContainerTracks:
        video = self.video
        if video is not None and video.width * video.height > self.limits.max_pixels:
            raise MediaError(
                FailureReason.TOO_MANY_PIXELS, f"pictures of {video.width}x{video.height}"
            )
        self._demux()
        track = None
        if video is not None:
            track = self._video_track(video)
        return ContainerTracks(video=track, sound=self._sound_track())

    def _demux(self) -> None:
        streams = [stream for stream in (self.video, self.sound) if stream is not None]
        for packet in self.container.demux(*streams) if streams else ():
            if not packet.size or packet.is_discard:
                continue
            time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
            length_s = float((packet.duration or 0) * packet.time_base)
            if self.video is not None and packet.stream_index == self.video.index:
                hidden = self.video.codec_context.name == "vp8" and not (
                    memoryview(packet)[0] & VP8_SHOWN  # type: ignore[arg-type]
                )
                if not hidden:
                    self.picture_times.append(time_s)
                    self.video_end_s = max(self.video_end_s, (time_s or 0.0) + length_s)
            elif time_s is not None:
                self.sound_start_s = min(self.sound_start_s, time_s)
                self.sound_end_s = max(self.sound_end_s, time_s + length_s)

    def _video_track(self, video: VideoStream) -> VideoTrack:
        times = self.picture_times
        clock: FrameClock = "pts"
        packs = video.codec_context.name in PACKING_CODECS
        if self.decode or packs or any(time_s is None for time_s in times):
            first, times, clock = self._decode_times(video)
        else:
            first = self._first_picture(video)
        if first is None or not times:
            raise MediaError(
                FailureReason.VIDEO_UNDECODABLE, f"no picture of its {len(times)} packets decodes"
            )
        ordered = sorted({time_s for time_s in times if time_s is not None})
        gap = _usual_gap_s(ordered)
        end_s = max(self.video_end_s, ordered[-1] + gap)
        self._check_whole(video, end_s)
        aspect = video.sample_aspect_ratio
        return VideoTrack(
            times_s=np.array(ordered),
            end_s=end_s,
            width_px=first.width,
            height_px=first.height,
            pixel_aspect=float(usable_aspect(aspect)),
            orientation=frame_orientation(first),
            interlaced=first.interlaced_frame,
            color=stated_color(first),
            codec=video.codec_context.name,
            stream_index=video.index,
            clock=clock,
            corrupt_s=tuple(self.corrupt_s),
        )

    def _check_whole(self, video: VideoStream, end_s: float) -> None:
        if self.container.format.name.startswith("mov") and video.duration and video.time_base:
            stated = float(((video.start_time or 0) + video.duration) * video.time_base)
            if end_s < stated - TRUNCATED_S:
                raise MediaError(
                    FailureReason.TRUNCATED,
                    f"its pictures break off at {end_s:.3f} s, its header says {stated:.3f} s",
                )

    def _decode_times(
        self, video: VideoStream
    ) -> tuple[VideoFrame | None, list[float | None], FrameClock]:
        """The first frame, and the times of all in play order, as `video_member` reads them."""
        assert video.time_base is not None
        self.container.seek(min(self.container.start_time or 0, 0), backward=True)
        first: VideoFrame | None = None
        times = list[float | None]()
        order: PlayOrder[bool] = PlayOrder()
        placed: list[tuple[bool, int]] = []
        for frame in self._decoded(video):
            first = first or frame
            if frame.pts is not None:
                placed += order.push(frame.is_corrupt, frame.pts)
        placed += order.finish()
        for is_corrupt, tick in placed:
            times.append(float(tick * video.time_base))
            if is_corrupt:
                self.corrupt_s.append(float(tick * video.time_base))
        return first, times, order.clock

    def _decoded(self, video: VideoStream) -> Iterator[VideoFrame]:
        """Frames of all packets that decode; the reader passes over the others as well."""
        for packet in self.container.demux(video):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue

    def _first_picture(self, video: VideoStream) -> VideoFrame | None:
        self.container.seek(min(self.container.start_time or 0, 0), backward=True)
        first = next(self.container.decode(video), None)
        if first is not None and first.is_corrupt and first.time is not None:
            self.corrupt_s.append(first.time)
        return first

    def _sound_track(self) -> SoundTrack | None:
        sound = self.sound
        if sound is None or self.sound_end_s <= self.sound_start_s or not sound.rate:
            return None
        if sound.channels > self.limits.max_channels:
            raise MediaError(FailureReason.TOO_MANY_CHANNELS, f"{sound.channels} audio channels")
        return SoundTrack(
            start_s=self.sound_start_s,
            end_s=self.sound_end_s,
            sample_rate_hz=sound.rate,
            channels=sound.channels,
            layout=sound.layout.name,
            codec=sound.codec_context.name,
            stream_index=sound.index,
        )


def _usual_gap_s(times_s: list[float]) -> float:
    """Distance of frames: the mean, which rounding of times does not touch, if it is usual."""
    gaps = [b - a for a, b in pairwise(times_s)]
    if not gaps:
        return 0.0
    median, mean = statistics.median(gaps), statistics.fmean(gaps)
    return mean if abs(mean - median) <= UNUSUAL_GAP * median else median


def read_npy_track(data: bytes, rate_hz: int | None) -> SoundTrack:
    """Extent of an `.npy` sound.

    Raises:
        MediaError: It is no sound, or nobody says its rate.
    """
    if rate_hz is None:
        raise MediaError(
            FailureReason.AUDIO_UNDECODABLE,
            "an .npy member does not say its sample rate; give it as --npy-rate",
        )
    try:
        samples = npy_samples(data)
    except ValueError as error:
        raise MediaError(FailureReason.AUDIO_UNDECODABLE, str(error)) from None
    return SoundTrack(
        start_s=0.0,
        end_s=len(samples) / rate_hz,
        sample_rate_hz=rate_hz,
        channels=samples.shape[1],
        layout=f"{samples.shape[1]} channels",
        codec="npy",
        stream_index=0,
    )


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG or PNG, by its header.

    Raises:
        MediaError: It is neither.
    """
    try:
        if data[:2] == JPEG_MAGIC:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            return int(width), int(height)
        if data[: len(PNG_MAGIC)] == PNG_MAGIC:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                return int(picture.width), int(picture.height)
    except (ValueError, OSError) as error:
        raise MediaError(FailureReason.VIDEO_UNDECODABLE, f"a picture: {error}") from None
    raise MediaError(FailureReason.FORMAT_NOT_ALLOWED, "a picture is neither JPEG nor PNG")
