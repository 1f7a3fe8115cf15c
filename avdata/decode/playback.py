"""A whole medium from its start to its end, in constant memory: pictures and sound on one clock.

::

    clock      0 .......................................... seconds since the medium's start
    pictures      |--a--|--b--|------c------|               shown from their own time on
    sound      0000|================================|       sample n at n / rate; silence before
                                                            it starts and in its gaps

Each stream is read by an opening of its own, so that a file whose streams lie far apart takes no
more memory than one whose streams are interleaved.
"""

from dataclasses import dataclass
from pathlib import Path

from avdata.config import LimitsConfig
from avdata.decode.media import CLOCK_UNIT, open_media, pick_audio, pick_video
from avdata.decode.picture_stream import UprightScaler, timed_pictures
from avdata.errors import FailureReason, MediaError


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFacts:
    """What the pictures of a medium are like."""

    width_px: int
    height_px: int
    """As shown: upright, of square pixels, and even."""
    fps: float
    """Mean rate that the container states; 0 where it states none."""
    start_s: float
    """When the first picture is shown."""
    codec: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundFacts:
    """What the sound of a medium is like."""

    sample_rate_hz: int
    num_channels: int
    layout: str
    codec: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaFacts:
    """What a medium holds, as a player would take it."""

    pictures: PictureFacts | None
    """None where there are none; cover art is none."""
    sound: SoundFacts | None
    duration_s: float | None
    """That the header claims; None where it claims none."""


def media_facts(path: Path, limits: LimitsConfig) -> MediaFacts:
    """What `path` holds; its first picture is decoded to know.

    Raises:
        MediaError: It is no media file, or a stream cannot be decoded.
    """
    with open_media(path, limits) as container:
        sound = None
        if container.streams.audio:
            stream = pick_audio(container, limits)
            sound = SoundFacts(
                sample_rate_hz=stream.rate,
                num_channels=stream.channels,
                layout=stream.layout.name,
                codec=stream.codec_context.name,
            )
        duration = container.duration
    return MediaFacts(
        pictures=_picture_facts(path, limits),
        sound=sound,
        duration_s=None if duration is None or duration <= 0 else duration / CLOCK_UNIT,
    )


def _picture_facts(path: Path, limits: LimitsConfig) -> PictureFacts | None:
    with open_media(path, limits) as container:
        try:
            stream = pick_video(container, limits)
        except MediaError as error:
            if error.reason == FailureReason.NO_VIDEO:
                return None
            raise
        scaler = UprightScaler(stream, limits)  # before decoding, which may forget the aspect
        first = next(timed_pictures(container, stream), None)
        if first is None:
            raise MediaError(FailureReason.VIDEO_UNDECODABLE, "none of its pictures decodes")
        size = scaler.shown_size(first.frame)
        return PictureFacts(
            width_px=size[0],
            height_px=size[1],
            fps=float(stream.average_rate or 0),
            start_s=first.start_s,
            codec=stream.codec_context.name,
        )
