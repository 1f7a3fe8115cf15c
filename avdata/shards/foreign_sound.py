"""Sound as others store it -> the channels and rate that a shard set promises.

::

    member's clock   0 ......... start_s ................................
    clip clock                   0 .......... start .......... stop         at the set's rate
    decoded                            |--margin--[================]--margin--|

Any window of a clip comes out the same, but for rounding, as out of the whole: resampling starts
at a native sample that falls on a sample of the set's rate.
"""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from avdata.schema import AudioSpec
from avdata.shards.codec import decode_array
from avdata.shards.container_form import container_form

NPY_MAGIC = b"\x93NUMPY"
MARGIN_SAMPLES = 256
"""Native samples on either side, for the resampler's filter."""
PREROLL_S = 1.0
"""Decode this much before a window, so that the decoder has settled."""
SEEK_BEYOND_S = 5.0
LAYOUTS = {1: "mono", 2: "stereo", 4: "4.0"}
"""FFmpeg's names of the layouts that sets have, by channels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Window:
    """Native samples [first, first + n) of a member."""

    samples: np.ndarray
    """float32 (n, c)."""
    layout: str


def pick_audio(container: InputContainer) -> AudioStream | None:
    """The stream that a player would play: flagged default, else the first."""
    streams = list(container.streams.audio)
    flagged = [s for s in streams if int(s.disposition) & 0x1]
    chosen = (flagged or streams)[:1]
    if not chosen or chosen[0].codec_context is None:
        return None
    chosen[0].codec_context.thread_type = "NONE"
    chosen[0].codec_context.thread_count = 1
    return chosen[0]


def read_foreign_sound(
    data: bytes,
    spec: AudioSpec,
    start: int,
    stop: int,
    *,
    start_s: float,
    npy_rate_hz: int,
) -> np.ndarray:
    """Samples [start, stop) of the clip at the set's rate, int16 (c, n); silence where none are.

    Args:
        data: The member: any container of `container_form`, or an `.npy` array.
        spec: The set's rate and channels.
        start: First sample, counted from `start_s`.
        stop: Behind the last one.
        start_s: Where the clip starts on the member's clock.
        npy_rate_hz: Rate of an `.npy` array, which does not say.

    Raises:
        ValueError: The sound cannot be decoded.
    """
    if data[: len(NPY_MAGIC)] == NPY_MAGIC:
        array = npy_samples(data)
        return _cut(
            lambda first, last: _array_window(array, first, last),
            spec,
            npy_rate_hz,
            start,
            stop,
            start_s,
        )
    form = container_form(data)
    if form is None:
        raise ValueError("it is neither an .npy array nor a container of a known form")
    try:
        with av.open(io.BytesIO(data), "r", format=form.demuxer) as container:
            stream = pick_audio(container)
            if stream is None:
                raise ValueError("it has no sound that can be decoded")
            opened, seekable = stream, form.seekable

            def window(first: int, last: int) -> _Window:
                return _decoded_window(container, opened, first, last, seekable=seekable)

            return _cut(window, spec, stream.rate, start, stop, start_s)
    except (av.FFmpegError, OSError, EOFError) as error:
        raise ValueError(str(error)) from None


def npy_samples(data: bytes) -> np.ndarray:
    """float32 (n, c) of an `.npy` sound: (n,), (c, n) or (n, c), integers or in [-1, 1].

    Raises:
        ValueError: It is no such array.
    """
    array = decode_array(data)
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2) or not array.size:
        raise ValueError(f"an array of {array.dtype} with shape {array.shape} is no sound")
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] < array.shape[1]:
        array = array.T
    if array.shape[1] > 16:
        raise ValueError(f"an array of shape {array.shape} has too many channels to be sound")
    if array.dtype.kind == "f":
        return np.nan_to_num(array.astype(np.float32), posinf=1.0, neginf=-1.0)
    scale = 2.0 ** (8 * array.dtype.itemsize - 1)
    middle = scale if array.dtype.kind == "u" else 0.0
    return ((array.astype(np.float64) - middle) / scale).astype(np.float32)


def _array_window(array: np.ndarray, first: int, last: int) -> _Window:
    out = np.zeros((last - first, array.shape[1]), np.float32)
    a, b = min(max(first, 0), len(array)), min(max(last, 0), len(array))
    out[a - first : a - first + b - a] = array[a:b]
    return _Window(samples=out, layout=f"{array.shape[1]} channels")


def _decoded_window(
    container: InputContainer, stream: AudioStream, first: int, last: int, *, seekable: bool
) -> _Window:
    rate = stream.rate
    begin_s = first / rate - PREROLL_S
    if seekable and begin_s > SEEK_BEYOND_S and stream.time_base:
        container.seek(int(begin_s / stream.time_base), stream=stream, backward=True)
    out: np.ndarray | None = None
    for frame in _frames(container, stream):
        if frame.sample_rate != rate or frame.pts is None or frame.time_base is None:
            continue
        chunk = _float_samples(frame)
        if out is None:
            out = np.zeros((last - first, chunk.shape[1]), np.float32)
        if chunk.shape[1] != out.shape[1]:
            continue
        at = round(frame.pts * frame.time_base * rate) - first
        if at >= len(out):
            break
        a, b = max(at, 0), min(at + len(chunk), len(out))
        if b > a:
            out[a:b] = chunk[a - at : b - at]
    if out is None:
        raise ValueError("no sound decodes in it")
    return _Window(samples=out, layout=stream.layout.name)


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    num_bad = num_good = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            num_bad += 1
            if num_bad > num_good + 20:
                raise
            continue  # a gap: silence stands for it
        num_good += 1
        yield from frames


def _float_samples(frame: AudioFrame) -> np.ndarray:
    """float32 (n, c) of a frame of any sample format."""
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, len(frame.layout.channels))
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    if array.dtype.kind == "i":
        return array.astype(np.float32) / float(2 ** (8 * array.itemsize - 1))
    return np.nan_to_num(array.astype(np.float32, copy=False), posinf=1.0, neginf=-1.0)


def _cut(
    window: Callable[[int, int], _Window],
    spec: AudioSpec,
    rate: int,
    start: int,
    stop: int,
    start_s: float,
) -> np.ndarray:
    """int16 (c, stop - start): native samples around the window, resampled, cut."""
    wanted = spec.sample_rate_hz
    shift = round(start_s * wanted)
    step = rate // math.gcd(rate, wanted)  # native samples between those that fall together
    margin = MARGIN_SAMPLES * max(1, -(-rate // wanted))
    first = ((start + shift) * rate // wanted - margin) // step * step
    last = -(-(stop + shift) * rate // wanted) + margin
    native = window(first, last)
    out = _resample(native, rate, spec)
    skip = start + shift - first * wanted // rate
    cut = out[skip : skip + stop - start]
    padded = np.zeros((spec.num_channels, stop - start), np.int16)
    padded[:, : len(cut)] = cut.T
    return padded


def _resample(native: _Window, rate: int, spec: AudioSpec) -> np.ndarray:
    """int16 (n, c) by libswresample, which mixes the channels too; saturates."""
    samples, layout = native.samples, native.layout
    if layout.startswith("ambisonic") and spec.num_channels < 4:
        samples, layout = samples[:, :1], "mono"  # W
    elif samples.shape[1] == 4 and spec.num_channels == 4:
        layout = LAYOUTS[4]
    elif "channels" in layout and samples.shape[1] <= 2:  # WAV states no more than a number
        layout = LAYOUTS[samples.shape[1]]
    elif "channels" in layout:  # unnamed: all count alike
        samples, layout = samples.mean(axis=1, keepdims=True), "mono"
    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout=layout
    )
    frame.sample_rate = rate
    resampler = av.AudioResampler("s16", LAYOUTS[spec.num_channels], spec.sample_rate_hz)
    parts = [
        part.to_ndarray().reshape(-1, spec.num_channels)
        for part in (*resampler.resample(frame), *resampler.resample(None))
    ]
    return np.concatenate(parts)
