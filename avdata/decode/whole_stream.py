"""Packets of one stream of a medium from its start to its end, as playback reads them."""

from collections.abc import Iterator

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from avdata.errors import FailureReason, MediaError
from avdata.frame_clock import PacketClock

MAX_GAP_S = 3600.0
"""A stream whose next picture or sound comes later than this has damaged times."""


def all_packets(
    container: InputContainer, stream: VideoStream | AudioStream, clock: PacketClock | None = None
) -> Iterator[Packet]:
    """Packets of a stream, followed by its `clock`; reading ends where the file is damaged.

    Raises:
        MediaError: The clock goes back.
    """
    clock = clock or PacketClock(stream)
    try:
        for packet in container.demux(stream):
            if packet.size:
                clock.stamp(packet)
                yield packet
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except (av.FFmpegError, OSError, ValueError):
        return


def damaged_times(what: str, before_s: float, after_s: float) -> MediaError:
    """The error for a stream whose times jump."""
    return MediaError(
        FailureReason.CORRUPT,
        f"its times are damaged: the {what} at {before_s:.3f} s is followed by one at "
        f"{after_s:.3f} s; repair the file, as by copying its streams into a new one",
    )
