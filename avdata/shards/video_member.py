"""Frames of a sample out of its stored member, whatever `video.codec` it has: uint8 RGB, upright.

::

    jpeg   frame k is the JPEG (or, in tars of others, the PNG) at its offsets: one ranged read
    h264   frame k is packet k: one ranged read from the key frame before the first wanted frame
    copy   frame k is the picture of the container whose time is the row's frame_times_s[k]: one
           read of the member, then decoding from the key frame before

A frame that does not decode is an error that names the sample; no neighbor takes its place.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from avdata.frame_clock import PACKING_CODECS, in_play_order
from avdata.media_tracks import default_track, use_one_thread
from avdata.picture_color import rgb_pixels
from avdata.picture_geometry import Orientation
from avdata.schema import FRAMES_INDEX_SUFFIX
from avdata.shards.codec import decode_array_head, decode_frame
from avdata.shards.container_form import container_form

NAL_START = b"\0\0\0\1"
NAL_LENGTH_BYTES = len(NAL_START)
CLOCK_UNIT = 1_000_000
"""`AV_TIME_BASE`."""
TIME_TOLERANCE_S = 1e-3
"""Times in Matroska are rounded to a millisecond."""
TIME_PRECISION = 1.2e-7
"""`frame_times_s` is float32."""
SEEK_BACK_S = (0.0, 1.0, 10.0, float("inf"))
"""Seek this much before the first wanted picture, until the decoder starts before it."""
SPARING_DECODERS = frozenset({"h264", "hevc"})
"""Decoders that can leave out a picture at any packet; others only look when they are opened."""
TAR_BLOCK_BYTES = 512
INDEX_HEAD_BYTES = 256
"""Enough for the header of an `.npy` and its first value."""
PNG_MAGIC = b"\x89PNG\r\n"

Pictures = dict[int, np.ndarray]
"""Frame index -> uint8 (h, w, 3)."""


class FrameError(Exception):
    """Frames that cannot be decoded: which, and why."""

    def __init__(self, what: str, why: object) -> None:
        super().__init__(f"{what}: {why}")
        self.what, self.why = what, str(why)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoMember:
    """A video member of a tar and what the manifest says of it."""

    num_bytes: int
    read: Callable[[int, int], bytes]
    """(offset, size) -> bytes of the tar, counted from the member's first one."""
    width_px: int
    height_px: int
    """Of the frames as they are wanted, upright."""
    orientation: Orientation
    """As the manifest says: the container itself may state none."""
    start_s: float | None
    """Where the clip starts on the container's clock; None where the member's index says so."""
    frame_times_s: np.ndarray
    """Clip clock, one a frame."""


def decode_pictures(images: Sequence[bytes | memoryview], indices: Sequence[int]) -> Pictures:
    """Frames of codec `jpeg`: `images[i]` is frame `indices[i]`.

    Raises:
        FrameError: One is no picture.
    """
    pictures: Pictures = {}
    for index, image in zip(indices, images, strict=True):
        if index in pictures:
            continue
        try:
            pictures[index] = decode_picture(image)
        except (ValueError, OSError) as error:
            raise FrameError(f"frame {index}", error) from None
    return pictures


def decode_picture(image: bytes | memoryview) -> np.ndarray:
    """Picture of a JPEG or, in tars of others, of a PNG: uint8 RGB (h, w, 3).

    Raises:
        ValueError: It is neither.
        OSError: It is a damaged PNG.
    """
    return _png(image) if image[:6] == PNG_MAGIC else decode_frame(image)


def _png(image: bytes | memoryview) -> np.ndarray:
    with Image.open(io.BytesIO(image), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))


def decode_h264(
    read: Callable[[int, int], bytes],
    offsets: np.ndarray,
    indices: Sequence[int],
    *,
    gop_frames: int,
) -> Pictures:
    """Frames of codec `h264`: packet k lies at `offsets[k]` to `offsets[k + 1]` of the member.

    Groups of `gop_frames` packets begin with a key frame and refer to nothing outside.

    Raises:
        FrameError: A packet does not decode.
    """
    wanted = sorted(set(indices))
    first = wanted[0] // gop_frames * gop_frames
    base, end = int(offsets[first]), int(offsets[wanted[-1] + 1])
    data = memoryview(read(base, end - base))
    pictures: Pictures = {}
    reformatter = VideoReformatter()
    for start in sorted({index // gop_frames * gop_frames for index in wanted}):
        group = [index for index in wanted if start <= index < start + gop_frames]
        fed = range(start, group[-1] + 1)
        packets = (data[int(offsets[k]) - base : int(offsets[k + 1]) - base] for k in fed)
        try:
            decoded = _decode_group(packets)
        except (av.FFmpegError, ValueError) as error:
            raise FrameError(_frames(fed), error) from None
        if len(decoded) != len(fed):
            raise FrameError(_frames(fed), f"{len(decoded)} pictures come out of {len(fed)}")
        for index in group:
            pictures[index] = _rgb(decoded[index - start], reformatter)
    return pictures


def _frames(indices: Sequence[int]) -> str:
    first, last = min(indices), max(indices)
    return f"frame {first}" if first == last else f"frames {first} to {last}"


def _decode_group(packets: Iterator[memoryview]) -> list[VideoFrame]:
    context = av.CodecContext.create("h264", "r")
    context.thread_type, context.thread_count = "NONE", 1
    context.options = {"err_detect": "explode"}
    decoded: list[VideoFrame] = []
    for packet in packets:
        decoded += context.decode(av.Packet(_with_start_codes(packet)))  # type: ignore[arg-type]
    decoded += context.decode(None)  # type: ignore[arg-type]
    return decoded


def _with_start_codes(packet: memoryview) -> bytes:
    """NAL units with their lengths before them to NAL units with start codes (Annex B)."""
    out, at = bytearray(packet), 0
    while at + NAL_LENGTH_BYTES <= len(out):
        size = int.from_bytes(out[at : at + NAL_LENGTH_BYTES], "big")
        out[at : at + NAL_LENGTH_BYTES] = NAL_START
        at += NAL_LENGTH_BYTES + size
    if at != len(out):
        raise ValueError("the lengths of its NAL units do not add up")
    return bytes(out)


def decode_copy(member: VideoMember, indices: Sequence[int]) -> Pictures:
    """Frames of codec `copy`, scaled and turned as the row says.

    Raises:
        FrameError: The container cannot be read, or a picture is missing or does not decode.
    """
    if member.start_s is not None:
        data, shift_s = memoryview(member.read(0, member.num_bytes)), member.start_s
    else:  # the index lies behind the member in the tar; its first time is the container's 0
        tail = -member.num_bytes % TAR_BLOCK_BYTES + TAR_BLOCK_BYTES + INDEX_HEAD_BYTES
        data = memoryview(member.read(0, member.num_bytes + tail))
        shift_s = -_first_picture_s(data[-TAR_BLOCK_BYTES - INDEX_HEAD_BYTES :])
    times = {index: float(member.frame_times_s[index]) + shift_s for index in indices}
    form = container_form(data[: member.num_bytes])
    if form is None or not form.video:
        raise FrameError(_frames(indices), "the member is no container of a known form")
    try:
        file = io.BytesIO(data[: member.num_bytes])
        with av.open(file, "r", format=form.demuxer) as container:
            return _decode_times(container, times, member)
    except (av.FFmpegError, OSError, EOFError, ValueError) as error:
        raise FrameError(_frames(indices), error) from None


def _first_picture_s(block: memoryview) -> float:
    """Clip-clock time of the first picture, by the tar member (header, data) in `block`."""
    name = bytes(block[:100]).split(b"\0")[0].decode(errors="replace")
    try:
        if not name.endswith(f".{FRAMES_INDEX_SUFFIX}"):
            raise ValueError(f"{name!r} lies there")
        head = decode_array_head(bytes(block[TAR_BLOCK_BYTES:]))
        if head.dtype != np.float64 or len(head.shape) != 1 or not head.shape[0]:
            raise ValueError(f"it holds {head.dtype} of shape {head.shape}, not float64 times")
    except ValueError as error:
        raise FrameError(f"the member {FRAMES_INDEX_SUFFIX}", error) from None
    first = block[TAR_BLOCK_BYTES + head.num_bytes :][: head.dtype.itemsize]
    return float(np.frombuffer(first, head.dtype)[0])


def pick_video(container: InputContainer) -> VideoStream | None:
    """The stream that a player would show: flagged default, else the first; no cover art."""
    stream = default_track(container.streams.video)
    if stream is None or stream.codec_context is None:
        return None
    use_one_thread(stream)
    return stream


def _decode_times(
    container: InputContainer, times: dict[int, float], member: VideoMember
) -> Pictures:
    stream = pick_video(container)
    if stream is None:
        raise FrameError(_frames([*times]), "the member has no video that can be decoded")
    first_s, found = min(times.values()), _Wanted(times, member)
    for back_s in SEEK_BACK_S:
        _seek(container, stream, first_s - back_s)
        found.decode(container, stream)
        if not found.missing():
            break
    if missing := found.missing():
        why = f"no picture at {times[missing[0]]:.4f} s of the container decodes"
        raise FrameError(_frames(missing), why)
    return found.pictures


def _seek(container: InputContainer, stream: VideoStream, time_s: float) -> None:
    begin_s = (container.start_time or 0) / CLOCK_UNIT
    if time_s <= begin_s:
        container.seek(min(container.start_time or 0, 0), backward=True)
        return
    assert stream.time_base is not None
    container.seek(int(time_s / stream.time_base), stream=stream, backward=True)


class _Wanted:
    """Collects the pictures at wanted times out of what a decoder gives."""

    def __init__(self, times: dict[int, float], member: VideoMember) -> None:
        self._times = sorted(set(times.values()))
        self._by_time: dict[float, np.ndarray] = {}
        self._of, self._member = times, member
        self._reformatter = VideoReformatter()

    @property
    def pictures(self) -> Pictures:
        return {index: self._by_time[time_s] for index, time_s in self._of.items()}

    def missing(self) -> list[int]:
        """Frames that were not found."""
        return sorted(i for i, time_s in self._of.items() if time_s not in self._by_time)

    def decode(self, container: InputContainer, stream: VideoStream) -> None:
        """Decode on until the last wanted picture, and take those that are whole."""
        for frame, time_s in _timed(self._decoded(container, stream), stream):
            # what the decoder marks was predicted from pictures that it has not seen: files flag
            # frames as key frames that are not
            if not frame.is_corrupt:
                self._take(frame, time_s)
            if time_s >= self._times[-1] - _tolerance_s(time_s):
                return

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        context = stream.codec_context
        sparing = context.name in SPARING_DECODERS
        for packet in container.demux(stream):
            if sparing:  # pictures that nobody wants and nothing refers to need no decoding
                wanted = packet.pts is None or self._near(float(packet.pts * packet.time_base))
                context.skip_frame = "DEFAULT" if wanted else "NONREF"
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue  # its picture will be missing, if it is wanted

    def _near(self, time_s: float) -> bool:
        return self._nearest(time_s) is not None

    def _nearest(self, time_s: float) -> float | None:
        at = int(np.searchsorted(self._times, time_s))
        around = self._times[max(at - 1, 0) : at + 1]
        nearest = min(around, key=lambda wanted: abs(wanted - time_s))
        return nearest if abs(nearest - time_s) <= _tolerance_s(time_s) else None

    def _take(self, frame: VideoFrame, time_s: float) -> None:
        wanted = self._nearest(time_s)
        if wanted is None:
            return
        member = self._member
        size = member.orientation.size((member.width_px, member.height_px))
        picture = _rgb(frame, self._reformatter, size)
        self._by_time[wanted] = member.orientation.upright(picture)


def _tolerance_s(time_s: float) -> float:
    return TIME_TOLERANCE_S + TIME_PRECISION * abs(time_s)


def _timed(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[tuple[VideoFrame, float]]:
    """Frames with their times in seconds; those without one are left out."""
    assert stream.time_base is not None
    tick_s = float(stream.time_base)
    stated = ((frame, frame.pts) for frame in frames if frame.pts is not None)
    packs = stream.codec_context.name in PACKING_CODECS
    for frame, tick in in_play_order(stated) if packs else stated:
        yield frame, tick * tick_s


def _rgb(
    frame: VideoFrame, reformatter: VideoReformatter, size: tuple[int, int] | None = None
) -> np.ndarray:
    """uint8 (h, w, 3), by the matrix and range that the picture states; BT.601 without."""
    width, height = size or (frame.width, frame.height)
    return rgb_pixels(frame, reformatter, width_px=width, height_px=height)
