"""Pictures and sound to an mp4 that plays everywhere, one at a time: H.264 and AAC by PyAV."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from avdata import atomic_file, available_cores

_CLOCK = Fraction(1, 90000)
"""Of pictures, whose times are given one by one, and of edit lists."""
_BLOCK_SAMPLES = 1024
_AAC_BITS_PER_S = 192_000
_BT709, _LIMITED_RANGE = 1, 1
"""`AVCOL_*_BT709` and `AVCOL_RANGE_MPEG`."""
_MOST_THREADS = 4

TimedPackets = tuple[float, list[Packet]]
"""Packets, and the time of what was encoded last: the order of writing."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShownPicture:
    """One picture of a movie."""

    pixels: np.ndarray
    """uint8 RGB (h, w, 3); all pictures of a movie have one even size."""
    start_s: float
    end_s: float
    """It is shown over [start_s, end_s)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MovieSound:
    """The sound of a movie, from its time 0 on."""

    blocks: Iterable[np.ndarray]
    """float32 (2, n) in [-1, 1], one behind the other."""
    sample_rate_hz: int
    """Rates that AAC does not know are resampled."""


def aac_rate_hz(sample_rate_hz: int) -> int:
    """The rate at which an mp4 of ours plays sound of `sample_rate_hz`: 44100 or 48000.

    Lower rates are raised: AAC ends with a whole block of 1024 samples, which at 8 kHz would be
    four pictures long.
    """
    return 44100 if 44100 % sample_rate_hz == 0 else 48000


def write_movie_file(
    path: Path,
    *,
    pictures: Iterable[ShownPicture],
    width_px: int,
    height_px: int,
    fps: float,
    sound: MovieSound | None,
    crf: int = 18,
    container: str = "mp4",
) -> None:
    """Write a movie, which appears when it is complete; pictures and sound are taken as needed.

    Args:
        path: Where it goes.
        pictures: In order of time, at any distances.
        width_px: Even, as is `height_px`.
        height_px: See `width_px`.
        fps: Usual rate of the pictures, a hint to the encoder.
        sound: None writes a silent movie.
        crf: Quality of H.264: lower is better.
        container: FFmpeg's name of the form.
    """
    with atomic_file(path) as file, open_output(file, container) as output:
        video = _video_stream(output, width_px, height_px, fps, crf)
        streams = [_encoded_pictures(video, pictures)]
        if sound is not None:
            audio = sound_stream(output, sound)
            streams.append(encoded_sound(audio, sound))
        for _, packets in heapq.merge(*streams, key=lambda timed: timed[0]):
            output.mux(packets)


def with_other_sound(source: Path, path: Path, *, sound: MovieSound) -> None:
    """Write the pictures of a movie of ours, bit by bit the same, with another sound."""
    with av.open(str(source)) as given, atomic_file(path) as file, open_output(file) as output:
        stream = given.streams.video[0]
        video = output.add_stream_from_template(stream)
        audio = sound_stream(output, sound)
        streams = [_copied_packets(given, stream, video), encoded_sound(audio, sound)]
        for _, packets in heapq.merge(*streams, key=lambda timed: timed[0]):
            output.mux(packets)


def open_output(file: Any, container: str = "mp4") -> OutputContainer:
    """A movie to write to an open file.

    Args:
        file: Open for writing.
        container: FFmpeg's name of the form.
    """
    # edit lists count in this clock; by default in milliseconds
    options = {"movie_timescale": str(_CLOCK.denominator)} if container in ("mp4", "mov") else {}
    output = av.open(file, "w", format=container, options=options)
    assert isinstance(output, OutputContainer)
    return output


def _video_stream(
    output: OutputContainer, width_px: int, height_px: int, fps: float, crf: int
) -> VideoStream:
    rate = Fraction(fps if 1 <= fps <= 240 else 30).limit_denominator(1001)
    video = output.add_stream("libx264", rate=rate)
    assert isinstance(video, VideoStream)
    video.width, video.height, video.pix_fmt = width_px, height_px, "yuv420p"
    video.options = {"crf": str(crf), "preset": "veryfast"}
    context = video.codec_context
    context.time_base = _CLOCK
    context.thread_count = min(available_cores(), _MOST_THREADS)
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return video


def sound_stream(output: OutputContainer, sound: MovieSound) -> AudioStream:
    """A new stream for a sound, AAC."""
    rate = aac_rate_hz(sound.sample_rate_hz)
    audio = output.add_stream("aac", rate=rate, layout="stereo")
    assert isinstance(audio, AudioStream)
    audio.bit_rate = _AAC_BITS_PER_S
    return audio


def _encoded_pictures(
    video: VideoStream, pictures: Iterable[ShownPicture]
) -> Iterator[TimedPackets]:
    last = -1
    for picture in pictures:
        frame = av.VideoFrame.from_ndarray(picture.pixels, format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
            interpolation="BILINEAR",
            threads=1,
        )
        frame.time_base = _CLOCK
        frame.pts = last = max(round(picture.start_s / _CLOCK), last + 1)
        frame.duration = max(round(picture.end_s / _CLOCK) - frame.pts, 1)
        yield picture.start_s, video.encode(frame)
    yield float("inf"), video.encode(None)


def encoded_sound(audio: AudioStream, sound: MovieSound) -> Iterator[TimedPackets]:
    """Packets of a sound; it is taken as they are asked for."""
    at, rate = 0, aac_rate_hz(sound.sample_rate_hz)
    for whole in resampled(sound.blocks, sound.sample_rate_hz, rate):
        for first in range(0, whole.shape[1], _BLOCK_SAMPLES):
            block = np.ascontiguousarray(whole[:, first : first + _BLOCK_SAMPLES], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at
            yield at / rate, audio.encode(frame)
            at += block.shape[1]
    yield float("inf"), audio.encode(None)


def resampled(blocks: Iterable[np.ndarray], given_hz: int, wanted_hz: int) -> Iterator[np.ndarray]:
    """Stereo sound at another rate: blocks float32 (2, n) of other lengths, as long in all."""
    if given_hz == wanted_hz:
        yield from blocks
        return
    resampler = av.AudioResampler("fltp", "stereo", wanted_hz)
    for block in blocks:
        planes = np.ascontiguousarray(block, np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = given_hz
        for part in resampler.resample(frame):
            yield part.to_ndarray()
    for part in resampler.resample(None):
        yield part.to_ndarray()


def _copied_packets(given: Any, stream: VideoStream, video: VideoStream) -> Iterator[TimedPackets]:
    for packet in given.demux(stream):
        if packet.size:
            assert packet.dts is not None and packet.time_base is not None
            time_s = float(packet.dts * packet.time_base)
            packet.stream = video
            yield time_s, [packet]
