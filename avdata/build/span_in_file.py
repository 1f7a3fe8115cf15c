"""Span of a clip within the file that was found for it.

Listed times count from the start of the whole video; a file that was cut to the span starts
there::

    whole video    |----------[=====listed=====)--------------------------|
    cut file                  [================)                            as it should be
    cut file           [......|================)      cut at the key frame before: excess

A cut file that is longer than its span cannot tell where the span is in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer

from avdata.config import BuildConfig
from avdata.decode.media import media_duration_s, open_media
from avdata.decode.packets import media_span
from avdata.errors import FailureReason, MediaError
from avdata.media_tracks import default_track
from avdata.schema import ClipRef
from avdata.shards.quantity_text import span_text
from avdata.sources.resolve import ResolvedMedia

TRIMMED_SLACK_S = 1.5
"""A file shorter than the listed span plus this, and than its end, holds just the span."""

GUESSED_LENGTH = ".mp3"
"""Files that need not state their length: what FFmpeg then says is a guess by the bit rate."""

MAX_END_S = 1e7
"""Times beyond are damaged; no listing names them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanInFile:
    """Seconds of a file that become a clip; from its start where None, and to its end."""

    start_s: float | None
    end_s: float | None
    trimmed: bool
    """The file was taken to hold just the listed span."""
    excess_s: float | None = None
    """Seconds that such a file holds beyond the span; None where the file or the span is whole."""


def span_in_file(ref: ClipRef, media: ResolvedMedia, config: BuildConfig) -> SpanInFile:
    """Return the span of `ref` within the file found for it.

    Raises:
        MediaError: LONGER_THAN_LISTED by `config.clips.longer_than_listed`, or the file is none.
    """
    start_s, end_s = ref.listed_start_s, ref.listed_end_s
    if start_s is None and end_s is None:
        return SpanInFile(start_s=None, end_s=None, trimmed=media.trimmed)
    length_s = None if end_s is None else end_s - (start_s or 0.0)
    maybe_cut = media.trimmed or (ref.path is None and start_s)
    claimed_s = media_duration_s(media.path) if maybe_cut and length_s is not None else None
    trimmed = media.trimmed
    if not trimmed and claimed_s is not None and length_s is not None and end_s is not None:
        trimmed = claimed_s < min(end_s, length_s + TRIMMED_SLACK_S)
    if not trimmed:
        return SpanInFile(start_s=start_s, end_s=end_s, trimmed=False)
    if length_s is None:
        return SpanInFile(start_s=0.0, end_s=None, trimmed=True)
    guessed = media.path.suffix.lower() == GUESSED_LENGTH
    if claimed_s is not None and claimed_s <= length_s + TRIMMED_SLACK_S and not guessed:
        excess_s = max(claimed_s - length_s, 0.0)
        return SpanInFile(start_s=0.0, end_s=length_s, trimmed=True, excess_s=excess_s)
    return _measured(ref, media, config, length_s)


def _measured(
    ref: ClipRef, media: ResolvedMedia, config: BuildConfig, length_s: float
) -> SpanInFile:
    """The span in a cut file that seems too long, or does not say how long it is."""
    ends_s = _stream_ends_s(media.path, video=config.needs_video, audio=config.needs_audio)
    excess_s = max(*ends_s, length_s) - length_s if ends_s else 0.0
    start_s: float | None = 0.0
    end_s: float | None = length_s
    if excess_s > TRIMMED_SLACK_S:
        choice = config.clips.longer_than_listed
        if choice == "reject":
            listed = span_text(ref.listed_start_s, ref.listed_end_s)
            raise MediaError(
                FailureReason.LONGER_THAN_LISTED,
                f"{media.path.name} holds {length_s + excess_s:.3f} s, and its name says that it "
                f"is cut to {listed}, which is {length_s:.3f} s. A tool that cuts at the key frame "
                "before adds seconds at the start: cut it again with forced key frames, or choose "
                "clips.longer_than_listed=last (or first, or accept)",
            )
        if choice == "last":
            start_s = max(min(ends_s) - length_s, 0.0)
            end_s = start_s + length_s
        elif choice == "accept":
            start_s = end_s = None
    return SpanInFile(start_s=start_s, end_s=end_s, trimmed=True, excess_s=excess_s)


def _stream_ends_s(path: Path, *, video: bool, audio: bool) -> list[float]:
    """Return the ends of the wanted streams, in seconds from the file's start, by their packets.

    What the header says counts where it is later, in the forms whose header has it from the
    writer: then the file breaks off. For other forms it is a guess by the bit rate.
    """
    with open_media(path) as container:
        origin_s = media_span(container, None, None).origin_s
        picked = (
            default_track(container.streams.video) if video else None,
            default_track(container.streams.audio) if audio else None,
        )
        streams = [stream for stream in picked if stream is not None]
        ends_s: dict[int, float] = {}
        if container.format.name.startswith("mov"):
            for stream in streams:
                if stream.duration is not None and stream.time_base is not None:
                    ticks = (stream.start_time or 0) + stream.duration
                    ends_s[stream.index] = float(ticks * stream.time_base)
        for index, end_s in _packet_ends_s(container, [stream.index for stream in streams]):
            ends_s[index] = max(ends_s.get(index, 0.0), end_s)
    return [end_s - origin_s for end_s in ends_s.values() if end_s < MAX_END_S]


def _packet_ends_s(container: InputContainer, streams: list[int]) -> Iterator[tuple[int, float]]:
    """End of every shown packet, with its stream; reading ends where the file is damaged."""
    try:
        for packet in container.demux(streams) if streams else ():
            ticks = packet.dts if packet.pts is None else packet.pts
            if ticks is None or not packet.time_base:
                continue
            if packet.size and not packet.is_discard:
                yield (
                    packet.stream_index,
                    float((ticks + (packet.duration or 0)) * packet.time_base),
                )
    except MemoryError:  # also what FFmpeg raises: no fault of the file
        raise
    except (av.FFmpegError, OSError, ValueError):
        return
