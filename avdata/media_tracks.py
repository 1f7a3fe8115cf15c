"""Which track of a medium a player would take: one rule for the builder and for every reader."""

from collections.abc import Sequence
from typing import TypeVar

from av.audio.stream import AudioStream
from av.video.stream import VideoStream

ATTACHED_PICTURE = 0x400
"""`AV_DISPOSITION_ATTACHED_PIC`: cover art."""
DEFAULT_TRACK = 0x1
"""`AV_DISPOSITION_DEFAULT`."""

AnyStream = TypeVar("AnyStream", VideoStream, AudioStream)


def default_track(streams: Sequence[AnyStream]) -> AnyStream | None:
    """The track flagged default, else the first; cover art is never it. None when there is none."""
    candidates = [s for s in streams if not int(s.disposition) & ATTACHED_PICTURE]
    flagged = [s for s in candidates if int(s.disposition) & DEFAULT_TRACK]
    return next(iter(flagged or candidates), None)


def use_one_thread(stream: VideoStream | AudioStream) -> None:
    """Decode on one thread: there is a process a core, and frame threads cost 13-19 % more CPU."""
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
