"""A copy of a video with its sound moved in time; streams are copied where the container can.

The sound's packets get other times, so that nothing is encoded again; sound that would come before
the file's start is left out. A stream that the new container does not hold, or whose times cannot
be kept, is encoded.
"""

import heapq
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from avdata import (
    atomic_file,
    open_media,
    pick_audio,
    pick_video,
    stream_pictures,
    stream_sound,
)
from avtrain.apps.movie_file import (
    MovieSound,
    ShownPicture,
    TimedPackets,
    aac_rate_hz,
    encoded_sound,
    open_output,
    sound_stream,
    write_movie_file,
)
from avtrain.apps.video_file import VideoFile, media_faults
from avtrain.progress import Progress, silent

CONTAINERS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
"""FFmpeg's names of the forms that can be written, by suffix; Matroska holds most codecs."""

_EXACT_CONTAINERS = frozenset({"mov", "mp4", "matroska", "webm"})
"""Whose packets have times that may be kept."""
_VIDEO_IN_MP4 = frozenset({"h264", "hevc", "mpeg4", "av1", "vp9"})
_AUDIO_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_CLOCK_UNIT = 1_000_000
_MEASURED_PACKETS = 100
_LATE_S = 0.02
"""Pictures that start later than this leave the start of the file to the sound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyFacts:
    """What was copied bit by bit; the rest was encoded again."""

    pictures: bool
    sound: bool


def write_shifted(
    video: VideoFile, out: Path, *, earlier_s: float, progress: Progress = silent
) -> CopyFacts:
    """Write the video with its sound `earlier_s` earlier, later where that is negative.

    Args:
        video: Its pictures and its sound, as a player takes them, are written; further tracks and
            subtitles are not.
        out: Its suffix is one of CONTAINERS.
        earlier_s: Seconds.
        progress: Used where pictures are encoded.

    Raises:
        VideoError: The medium cannot be read.
    """
    container = CONTAINERS[out.suffix.lower()]
    rate = aac_rate_hz(video.sound_rate_hz)
    with media_faults(video.path):
        end_s = _end_s(video) if earlier_s < 0 else float("inf")
        sound = MovieSound(blocks=_moved_sound(video, rate, earlier_s, end_s), sample_rate_hz=rate)
        facts = _what_can_be_copied(video, container, earlier_s)
        if facts.pictures:
            _remux(video, out, earlier_s, end_s, None if facts.sound else sound)
            return facts
        write_movie_file(
            out,
            pictures=_pictures(video, progress),
            width_px=video.width_px,
            height_px=video.height_px,
            fps=video.fps,
            sound=sound,
            container=container,
        )
    return CopyFacts(pictures=False, sound=False)


def _what_can_be_copied(video: VideoFile, container: str, earlier_s: float) -> CopyFacts:
    with open_media(video.path, video.limits) as given:
        exact = bool(set(given.format.name.split(",")) & _EXACT_CONTAINERS)
        pictures, sound = pick_video(given, video.limits), pick_audio(given, video.limits)
        # the shape of pixels is only copied where the codec itself states it
        same_shape = pictures.sample_aspect_ratio in (
            None,
            1,
            pictures.codec_context.sample_aspect_ratio,
        )
        can_show, can_play = (
            _holds(container, stream.codec_context.codec.canonical_name, known)
            for stream, known in ((pictures, _VIDEO_IN_MP4), (sound, _AUDIO_IN_MP4))
        )
        timed = exact and same_shape and can_show and _all_timed(given, pictures)
    keeps_length = earlier_s >= 0 or (
        # where only sound holds the file's start, packets that move from it would cut it off
        video.start_s <= _LATE_S
        # and its end moves by half a packet
        and _longest_packet_s(video) <= 2 / (video.fps or 25)
    )
    return CopyFacts(pictures=timed, sound=exact and can_play and keeps_length)


def _longest_packet_s(video: VideoFile) -> float:
    """Of the first packets of the sound: 23 ms of AAC at 44.1 kHz, 128 ms at 8 kHz."""
    with open_media(video.path, video.limits) as given:
        packets = islice(given.demux(pick_audio(given, video.limits)), _MEASURED_PACKETS)
        lengths = [float((p.duration or 0) * p.time_base) for p in packets if p.time_base]
    return max(lengths, default=0.0)


def _holds(container: str, codec: str, in_mp4: frozenset[str]) -> bool:
    if container != "matroska":
        return codec in in_mp4
    with open_output(io.BytesIO(), container) as output:
        return codec in output.supported_codecs


def _all_timed(given: InputContainer, stream: VideoStream) -> bool:
    """Every packet is shown, at a time that it states."""
    is_ordered = False
    for packet in given.demux(stream):
        if packet.size:
            if packet.pts is None or packet.is_discard:
                return False
            is_ordered = is_ordered or packet.dts is not None
    return is_ordered


def _end_s(video: VideoFile) -> float:
    """Until when there are pictures or sound; a header may claim more, or less."""
    rate = 8000
    sound = stream_sound(video.path, video.limits, sample_rate_hz=rate)
    end_s: float = sum(block.shape[1] for block in sound) / rate
    with open_media(video.path, video.limits) as given:
        stream = pick_video(given, video.limits)
        origin_s = max((given.start_time or 0) / _CLOCK_UNIT, 0.0)
        for packet in given.demux(stream):
            if packet.pts is not None and packet.time_base is not None and not packet.is_discard:
                stop = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
                end_s = max(end_s, stop - origin_s)
    return end_s


def _remux(
    video: VideoFile, out: Path, earlier_s: float, end_s: float, sound: MovieSound | None
) -> None:
    path, limits = video.path, video.limits
    with (
        open_media(path, limits) as given,
        open_media(path, limits) as heard,
        atomic_file(out) as file,
        open_output(file, CONTAINERS[out.suffix.lower()]) as output,
    ):
        pictures = pick_video(given, limits)
        video_out = output.add_stream_from_template(pictures, opaque=True)
        streams = [_packets(given, pictures, video_out, earlier_s=0.0)]
        if sound is None:
            stream = pick_audio(heard, limits)
            audio_out = output.add_stream_from_template(stream, opaque=True)
            streams.append(_packets(heard, stream, audio_out, earlier_s=earlier_s, end_s=end_s))
        else:
            streams.append(encoded_sound(sound_stream(output, sound), sound))
        for _, packets in heapq.merge(*streams, key=lambda timed: timed[0]):
            output.mux(packets)


def _packets(
    container: InputContainer,
    stream: VideoStream | AudioStream,
    target: VideoStream | AudioStream,
    *,
    earlier_s: float,
    end_s: float = float("inf"),
) -> Iterator[TimedPackets]:
    """Packets with other times; sound before 0, or mostly after `end_s`, is left out."""
    assert stream.time_base is not None
    tick_s = float(stream.time_base)
    origin_s = max((container.start_time or 0) / _CLOCK_UNIT, 0.0)
    origin, shift = round(origin_s / tick_s), round((origin_s + earlier_s) / tick_s)
    for packet in _with_decoding_times(container.demux(stream)):
        if packet.pts is None or packet.dts is None:
            continue
        if isinstance(stream, AudioStream) and packet.pts < max(origin, shift):
            continue
        if (packet.pts - shift + (packet.duration or 0) / 2) * tick_s >= end_s:
            continue
        packet.pts -= shift
        packet.dts -= shift
        packet.stream = target
        yield packet.dts * tick_s, [packet]


def _with_decoding_times(packets: Iterator[Packet]) -> Iterator[Packet]:
    """Packets whose decoding times rise; Matroska leaves those of the first ones out."""
    early: list[Packet] = []
    last: int | None = None
    for packet in packets:
        if not packet.size:
            continue
        if last is None:
            early.append(packet)
            if packet.dts is None:
                continue
            last, step = packet.dts, max(packet.duration or 1, 1)
            for index, earlier in enumerate(reversed(early)):
                earlier.dts = last - index * step
            yield from early
            continue
        if packet.dts is None or packet.dts <= last:
            packet.dts = last + 1
        last = packet.dts  # now: who takes the packet may change it
        yield packet


def _moved_sound(
    video: VideoFile, rate_hz: int, earlier_s: float, end_s: float
) -> Iterator[np.ndarray]:
    """The sound from 0 to `end_s`, with silence before it, or without its start."""
    cut = round(earlier_s * rate_hz)
    left = round(min(end_s, 1e9) * rate_hz)
    for first in range(0, min(-cut, left), rate_hz):
        yield np.zeros((2, min(rate_hz, -cut - first)), np.float32)
    left -= max(-cut, 0)
    for block in stream_sound(video.path, video.limits, sample_rate_hz=rate_hz):
        now = min(max(cut, 0), block.shape[1])
        cut -= now
        kept = block[:, now : now + max(left, 0)]
        left -= kept.shape[1]
        if kept.shape[1]:
            yield kept


def _pictures(video: VideoFile, progress: Progress) -> Iterator[ShownPicture]:
    pictures = stream_pictures(
        video.path, video.limits, width_px=video.width_px, height_px=video.height_px
    )
    total = round((video.duration_s or 0.0) * (video.fps or 25))
    for picture, pixels in progress(pictures, total=total, description="writing"):
        yield ShownPicture(pixels=pixels, start_s=max(picture.start_s, 0.0), end_s=picture.end_s)
