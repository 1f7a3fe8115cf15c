"""Arrays to a movie file: exact frame times, exact start of the sound, any common container."""

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

AUDIO_BLOCK_SAMPLES = 1024
FINE_TIME_BASE = Fraction(1, 90000)
"""Clock of videos whose frame times are given one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """How a file suffix is written."""

    format: str
    video_codec: str
    audio_codec: str
    pixel_format: str = "yuv420p"


CONTAINERS: dict[str, Container] = {
    ".mp4": Container(format="mp4", video_codec="libx264", audio_codec="aac"),
    ".mov": Container(format="mov", video_codec="libx264", audio_codec="aac"),
    ".mkv": Container(format="matroska", video_codec="libx264", audio_codec="aac"),
    ".webm": Container(format="webm", video_codec="libvpx-vp9", audio_codec="libopus"),
    ".avi": Container(format="avi", video_codec="mpeg4", audio_codec="pcm_s16le"),
    ".ts": Container(format="mpegts", video_codec="libx264", audio_codec="aac"),
}


def write_movie(
    path: Path,
    *,
    frames: Iterable[NDArray[np.uint8]],
    frame_times_s: Sequence[float] | None,
    fps: Fraction,
    sound: NDArray[np.float32] | None,
    sample_rate_hz: int,
    audio_start_s: float = 0.0,
    bframes: int = 2,
    crf: int = 20,
    preset: str = "veryfast",
) -> None:
    """Write a movie at `path`, which appears only when it is complete.

    ::

        video   frames[i] is shown from frame_times_s[i], or from i / fps
        audio   sound[n] is heard at audio_start_s + n / sample_rate_hz

    Args:
        path: The suffix chooses container and codecs, one of `CONTAINERS`.
        frames: RGB pictures (h, w, 3), all of one even size.
        frame_times_s: Strictly increasing times from 0 on, one a frame; None: constant rate.
        fps: Rate of the frames; with `frame_times_s` only a hint to the encoder.
        sound: Waveform (n, channels) in [-1, 1], one or two channels; None: no audio stream.
        sample_rate_hz: Rate of `sound`.
        audio_start_s: When the sound starts, >= 0. AVI cannot say so and gets silence before it.
        bframes: Most B-frames in a row; codecs other than H.264 ignore it.
        crf: Quality: lower is better.
        preset: Speed of x264.

    Raises:
        ValueError: An unknown suffix, odd picture size, AVI with frame times, or a bad waveform.
    """
    container = CONTAINERS.get(path.suffix)
    if container is None:
        raise ValueError(f"{path}: suffix {path.suffix!r} must be one of {sorted(CONTAINERS)}")
    if container.format == "avi" and frame_times_s is not None:
        raise ValueError(f"{path}: AVI has a constant frame rate; pass frame_times_s=None")
    if audio_start_s < 0:
        raise ValueError(f"{audio_start_s=} must be at least 0")
    options = _container_options(container)
    partial = path.with_name(path.name + ".partial")
    try:
        with av.open(str(partial), "w", format=container.format, options=options) as output:
            video = output.add_stream(container.video_codec, rate=fps)
            assert isinstance(video, VideoStream)
            video.pix_fmt = container.pixel_format
            video.options = _video_options(container.video_codec, bframes, crf, preset)
            video.codec_context.thread_count = 1  # one thread: the same bytes on every machine
            video.codec_context.time_base = 1 / fps if frame_times_s is None else FINE_TIME_BASE
            audio = None
            if sound is not None:
                audio = _audio_stream(output, container.audio_codec, sound, sample_rate_hz)
            video_packets = _encode_video(video, frames, frame_times_s)
            if audio is None or sound is None:
                for _, packets in video_packets:
                    output.mux(packets)
            else:
                if container.format == "avi":  # it has no way to say that a stream starts late
                    silence = np.zeros((round(audio_start_s * sample_rate_hz), sound.shape[1]))
                    sound, audio_start_s = np.concatenate([silence, sound]), 0.0
                audio_packets = _encode_audio(audio, sound, sample_rate_hz, audio_start_s)
                for _, packets in heapq.merge(video_packets, audio_packets, key=lambda p: p[0]):
                    output.mux(packets)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _container_options(container: Container) -> dict[str, str]:
    if container.format in ("mp4", "mov"):  # edit lists count in this clock; by default in ms
        return {"movie_timescale": str(FINE_TIME_BASE.denominator)}
    return {}


def _video_options(codec: str, bframes: int, crf: int, preset: str) -> dict[str, object]:
    if codec == "libx264":
        # with B-frames, mbtree reads memory that x264 has not written: bytes would differ by run
        params = f"bframes={bframes}" + (":mbtree=0" if bframes else "")
        return {"crf": str(crf), "preset": preset, "x264-params": params}
    if codec == "libvpx-vp9":
        return {"crf": str(crf), "b": "0", "deadline": "realtime", "cpu-used": "8"}
    return {"b": "4000000", "bf": "0"}


def _audio_stream(
    output: av.container.OutputContainer,
    codec: str,
    sound: NDArray[np.float32],
    sample_rate_hz: int,
) -> AudioStream:
    if sound.ndim != 2 or sound.shape[1] not in (1, 2):
        raise ValueError(f"sound has shape {sound.shape}; (n, 1) and (n, 2) are allowed")
    # Opus knows few rates; the resampler of PyAV takes the sound there
    rate = 48000 if codec == "libopus" else sample_rate_hz
    layout = "mono" if sound.shape[1] == 1 else "stereo"
    audio = output.add_stream(codec, rate=rate, layout=layout)
    assert isinstance(audio, AudioStream)
    if codec != "pcm_s16le":
        audio.bit_rate = 128_000
    return audio


TimedPackets = tuple[float, list[Packet]]
"""Packets, and the time of the frame whose encoding gave them: the order of muxing."""


def _encode_video(
    video: VideoStream,
    frames: Iterable[NDArray[np.uint8]],
    frame_times_s: Sequence[float] | None,
) -> Iterator[TimedPackets]:
    time_base = video.codec_context.time_base
    assert time_base is not None
    num_frames = 0
    for i, picture in enumerate(frames):
        if i == 0:
            video.height, video.width = picture.shape[:2]
            if video.height % 2 or video.width % 2:
                raise ValueError(f"picture size {video.width}x{video.height} must be even")
        if frame_times_s is not None and i >= len(frame_times_s):
            raise ValueError(f"more frames than the {len(frame_times_s)} frame_times_s")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = i if frame_times_s is None else round(frame_times_s[i] / time_base)
        frame.time_base = time_base
        yield float(frame.pts * time_base), video.encode(frame)
        num_frames += 1
    if num_frames == 0 or (frame_times_s is not None and num_frames != len(frame_times_s)):
        asked = "at least one" if frame_times_s is None else str(len(frame_times_s))
        raise ValueError(f"{num_frames} frames came, {asked} needed")
    yield float("inf"), video.encode(None)


def _encode_audio(
    audio: AudioStream, sound: NDArray[np.float32], sample_rate_hz: int, start_s: float
) -> Iterator[TimedPackets]:
    first = round(start_s * sample_rate_hz)
    planes = np.ascontiguousarray(sound.T, dtype=np.float32)
    layout = "mono" if len(planes) == 1 else "stereo"
    for at in range(0, planes.shape[1], AUDIO_BLOCK_SAMPLES):
        block = np.ascontiguousarray(planes[:, at : at + AUDIO_BLOCK_SAMPLES])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate = sample_rate_hz
        frame.time_base = Fraction(1, sample_rate_hz)
        frame.pts = first + at
        yield (first + at) / sample_rate_hz, audio.encode(frame)
    yield float("inf"), audio.encode(None)
