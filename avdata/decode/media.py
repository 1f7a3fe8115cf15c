"""A media file opened for decoding, safely: local containers only, and which tracks count."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from avdata.config import LimitsConfig
from avdata.errors import FailureReason, MediaError
from avdata.media_tracks import AnyStream, default_track, use_one_thread
from avdata.picture_geometry import usable_aspect

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "avi",
    "flv",
    "live_flv",
    "asf",
    "asf_o",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "ogg",
    "dv",
    "gxf",
    "mxf",
    "rm",
    "nut",
    "ivf",
    "wtv",
    "h264",
    "hevc",
    "m4v",
    "mp3",
    "aac",
    "ac3",
    "flac",
    "wav",
    "w64",
    "aiff",
    "au",
    "caf",
)
"""FFmpeg's demuxers that read one file and nothing else. Playlists, concatenation scripts, image
sequences, session descriptions and the like name further files or hosts: they are never opened."""

_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(CONTAINERS),
    "enable_drefs": "0",
}
"""Local files; the listed containers; no tracks of a movie that lie in other files."""

CLOCK_UNIT = 1_000_000
"""`AV_TIME_BASE`."""


@contextmanager
def open_media(path: Path, limits: LimitsConfig | None = None) -> Iterator[InputContainer]:
    """The container of `path`; only local files of the allowed forms are ever opened.

    Raises:
        MediaError: It is no media file, its form is not allowed, it has too many streams, or a
            fault of its form comes up while it is read.
    """
    try:
        container = av.open(str(path), options=_OPEN_OPTIONS, metadata_errors="ignore")
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except av.ArgumentError as error:  # what libavformat answers for a form that is not listed
        raise MediaError(
            FailureReason.FORMAT_NOT_ALLOWED,
            f"its form is not an allowed container, or its header cannot be right: "
            f"{fault_text(error)}; convert it to mp4, mkv or another container that holds the "
            "media itself",
        ) from None
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            FailureReason.NOT_MEDIA, f"cannot be opened: {fault_text(error)}"
        ) from None
    with container:
        if limits is not None and len(container.streams) > limits.max_streams:
            raise MediaError(
                FailureReason.TOO_MANY_STREAMS,
                f"{len(container.streams)} streams; limits.max_streams={limits.max_streams}",
            )
        yield container


def pick_video(container: InputContainer, limits: LimitsConfig) -> VideoStream:
    """The video stream that a player would show: flagged default, else the first; no cover art.

    Raises:
        MediaError: There is none, no decoder knows it, or its pictures are larger than `limits`.
    """
    stream = _pick(container, container.streams.video, "video")
    check_pixels(stream.width, stream.height, limits)
    # pictures that grow in mid-stream are refused before they are allocated
    stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    return stream


def check_pixels(width: int, height: int, limits: LimitsConfig) -> None:
    """Refuse pictures that are larger than `limits`.

    Raises:
        MediaError: TOO_MANY_PIXELS.
    """
    if width * height > limits.max_pixels:
        raise MediaError(
            FailureReason.TOO_MANY_PIXELS,
            f"pictures of {width}x{height}; limits.max_pixels={limits.max_pixels}",
        )


@contextmanager
def scaling_faults(picture: av.VideoFrame) -> Iterator[None]:
    """Names the form of a picture in what its scaler answers.

    Raises:
        MediaError: VIDEO_UNDECODABLE, for a fault of the file inside.
    """
    try:
        yield
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(
            FailureReason.VIDEO_UNDECODABLE,
            f"pictures of format {picture.format.name} cannot be scaled: {error}",
        ) from None


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width by height of a pixel as players take it: what the container says, else the codec.

    To be asked before pictures are decoded, which may change what the stream says.
    """
    return usable_aspect(stream.sample_aspect_ratio)


def pick_audio(container: InputContainer, limits: LimitsConfig) -> AudioStream:
    """The audio stream that a player would play: flagged default, else the first.

    Raises:
        MediaError: There is none, no decoder knows it, or it has more channels than `limits`.
    """
    stream = _pick(container, container.streams.audio, "audio")
    if stream.channels > limits.max_channels:
        raise MediaError(
            FailureReason.TOO_MANY_CHANNELS,
            f"{stream.channels} audio channels; limits.max_channels={limits.max_channels}",
        )
    return stream


def _pick(
    container: InputContainer, streams: Sequence[AnyStream], kind: Literal["video", "audio"]
) -> AnyStream:
    stream = default_track(streams)
    if stream is None:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        reason = FailureReason.NO_VIDEO if kind == "video" else FailureReason.NO_AUDIO
        raise MediaError(reason, f"no {kind} stream; the file holds {kinds}")
    if stream.codec_context is None:
        reason = FailureReason(f"{kind}_undecodable")
        raise MediaError(reason, f"no decoder for {kind} stream {stream.index}")
    use_one_thread(stream)
    return stream


def fault_text(error: Exception) -> str:
    """What a library said."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def media_duration_s(path: Path) -> float | None:
    """Duration that the container claims; None when it claims none.

    Raises:
        MediaError: It is no media file.
    """
    with open_media(path) as container:
        return None if container.duration is None else container.duration / CLOCK_UNIT
