"""Decoded audio frames -> one waveform on the media clock -> the stored channels and rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from avdata.decode.ambisonics import foa_form, stated_form, to_acn_sn3d
from avdata.schema import AudioSpec

GAP_TOLERANCE_S = 0.02
"""Frame times that drift less than this from the sample count are rounding, not gaps."""

_FIRST_CAPACITY = 2**19
"""Samples that are laid out for at first, ten seconds and more; pages are taken when written."""
_RESAMPLED_AT_ONCE = 2**16
"""Native samples given to the resampler at a time: small enough that their memory is used again.
The samples that come out do not depend on it."""

_DTYPES: dict[str, np.dtype] = {
    "u8": np.dtype(np.uint8),
    "s16": np.dtype(np.int16),
    "s32": np.dtype(np.int32),
    "s64": np.dtype(np.int64),
    "flt": np.dtype(np.float32),
    "dbl": np.dtype(np.float64),
}
"""FFmpeg's sample formats, but for the p of the planar ones."""

_SIDES = {"L": (1.0, 0.0), "R": (0.0, 1.0), "C": (0.5**0.5, 0.5**0.5)}
"""Weight of a left, right or center loudspeaker in the two channels of a stereo mix."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Waveform:
    """Sound of a span, as decoded."""

    samples: np.ndarray
    """float32 (n, c), nominal range [-1, 1]."""
    channel_names: tuple[str, ...]
    """FFmpeg's names (FL, FR, ...); AMBI0.. for ambisonics."""
    sample_rate_hz: int
    start_s: float
    """Media clock of sample 0."""

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples) / self.sample_rate_hz


class WaveformBuilder:
    """Lays decoded frames out by their times: gaps become silence, overlaps are cut."""

    def __init__(self, time_base: Fraction | None = None) -> None:
        """Start with nothing.

        Args:
            time_base: Of all frames, as their stream states it; asking each frame for its own
                takes longer than laying it out. None asks.
        """
        self._time_base = time_base and (time_base.numerator, time_base.denominator)
        self._samples = np.empty((0, 0), np.float32)  # (c, capacity)
        self._num_samples = 0
        self._start_s: float | None = None
        self._rate = 0
        self._names: tuple[str, ...] = ()
        self.num_refused = 0
        """Frames whose rate or channels differ from the first one's; silence stands for them."""

    def add(self, frame: av.AudioFrame) -> None:
        """Append one decoded frame."""
        count, num_channels = frame.samples, frame.layout.nb_channels
        if count <= 0 or num_channels <= 0 or frame.sample_rate <= 0:
            return
        time_s = self._time_s(frame)
        if self._start_s is None:
            self._start_s = time_s or 0.0
            self._rate = frame.sample_rate
            self._names = tuple(channel.name for channel in frame.layout.channels)
            self._samples = np.empty((num_channels, _FIRST_CAPACITY), np.float32)
        if frame.sample_rate != self._rate or num_channels != len(self._names):
            self.num_refused += 1
            return
        skip = 0
        if time_s is not None:
            drift = round((time_s - self._start_s) * self._rate) - self._num_samples
            if drift > GAP_TOLERANCE_S * self._rate:
                self._grow(drift)[:] = 0
            elif drift < -GAP_TOLERANCE_S * self._rate:
                skip = min(-drift, count)
        _write_samples(frame, self._grow(count - skip), skip)

    def _time_s(self, frame: av.AudioFrame) -> float | None:
        pts = frame.pts
        if pts is None:
            return None
        if self._time_base:
            ticks, ticks_per_s = self._time_base
            return pts * ticks / ticks_per_s
        base = frame.time_base
        return None if base is None else pts * base.numerator / base.denominator

    def _grow(self, count: int) -> np.ndarray:
        """The next `count` samples of all channels, to be written."""
        start, self._num_samples = self._num_samples, self._num_samples + count
        if self._num_samples > self._samples.shape[1]:
            capacity = max(2 * self._samples.shape[1], self._num_samples)
            larger = np.empty((len(self._samples), capacity), np.float32)
            larger[:, :start] = self._samples[:, :start]
            self._samples = larger
        return self._samples[:, start : self._num_samples]

    def finish(self) -> Waveform | None:
        """All sound so far; None when there was none."""
        if self._start_s is None:
            return None
        samples = self._samples[:, : self._num_samples]
        with np.errstate(invalid="ignore", over="ignore"):
            finite = np.isfinite(samples.sum())
        if not finite:
            np.nan_to_num(samples, copy=False, posinf=1.0, neginf=-1.0)
        return Waveform(
            samples=samples.T,
            channel_names=self._names,
            sample_rate_hz=self._rate,
            start_s=self._start_s,
        )


def _write_samples(frame: av.AudioFrame, out: np.ndarray, skip: int) -> None:
    """Write a frame from sample `skip` on, of any sample format, as floats into (c, n)."""
    dtype = _DTYPES[frame.format.name.removesuffix("p")]
    if frame.format.is_planar:
        # beyond 8 channels PyAV may list planes that are none
        buffers = [memoryview(plane) for plane in frame.planes[: len(out)]]
        planes = [np.frombuffer(buffer, dtype, frame.samples) for buffer in buffers]
    else:
        count = frame.samples * len(out)
        packed = np.frombuffer(memoryview(frame.planes[0]), dtype, count)
        planes = list(packed.reshape(-1, len(out)).T)
    for row, plane in zip(out, planes, strict=True):
        row[:] = _as_float(plane[skip:])


def _as_float(samples: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] of samples as decoders give them; exact where 24 bits are enough."""
    kind, bits = samples.dtype.kind, 8 * samples.dtype.itemsize
    if kind == "f":
        if bits == 32:
            return samples
        with np.errstate(over="ignore"):  # becomes infinite: see finish
            return samples.astype(np.float32)
    if kind == "u":
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / np.float32(2 ** (bits - 1))


def mix(
    samples: np.ndarray, channel_names: tuple[str, ...], layout: str, form: str | None = None
) -> np.ndarray:
    """float32 (n, c) in `layout`.

    Args:
        form: Which of the forms of ambisonics it is; None for loudspeakers. Mono of ambisonics
            is W, stereo is two cardioids to the left and the right: (W + Y) / 2 and (W - Y) / 2.
            Loudspeakers are weighted as left, right or center, never louder than the loudest of
            them, and LFE is left out; they cannot give layout ``foa``.
    """
    if form is not None:
        foa = to_acn_sn3d(samples, form)
        if layout == "stereo":
            halves = foa[:, :2] / 2
            return np.stack([halves[:, 0] + halves[:, 1], halves[:, 0] - halves[:, 1]], axis=1)
        return foa if layout == "foa" else foa[:, :1]
    assert layout != "foa", "ambisonics are made of ambisonics"
    num_channels = samples.shape[1]
    if num_channels == 1:
        return samples if layout == "mono" else np.repeat(samples, 2, axis=1)
    if num_channels == 2 and layout == "stereo":
        return samples
    weights = np.array([_stereo_weights(name) for name in channel_names], np.float32)
    if not weights.any():  # unnamed or odd channels: all count alike
        weights[:] = 1.0
    if layout == "mono":
        weights = weights.sum(1, keepdims=True)
    weights /= np.maximum(weights.sum(0, keepdims=True), 1e-9)
    # no BLAS: its thread count would change the last bits
    return np.asarray(np.einsum("nc,cd->nd", samples, weights), np.float32)


def _stereo_weights(name: str) -> tuple[float, float]:
    if name.startswith("LFE"):
        return (0.0, 0.0)
    return _SIDES.get(name[-1:], (0.0, 0.0))


def to_stored(wave: Waveform, spec: AudioSpec, *, start_s: float, num_samples: int) -> np.ndarray:
    """int16 (c, num_samples) at the stored rate, sample 0 at `start_s` of the media clock.

    Raises:
        MediaError: The channels do not hold what the stored layout needs.
    """
    first = round((start_s - wave.start_s) * wave.sample_rate_hz)
    count = -(-num_samples * wave.sample_rate_hz // spec.sample_rate_hz)
    samples, names = wave.samples[max(first, 0) : max(first + count, 0)], wave.channel_names
    form = (
        foa_form(samples, names, spec.ambisonic_order)
        if spec.layout == "foa"
        else stated_form(names, spec.ambisonic_order)
    )
    out = np.zeros((spec.num_channels, num_samples), np.int16)
    # a clip that starts before the sound starts with silence
    at = min(round(max(wave.start_s - start_s, 0.0) * spec.sample_rate_hz), num_samples)
    for part in _resampled(mix(samples, names, spec.layout, form), wave.sample_rate_hz, spec):
        part = part[:, : num_samples - at]
        out[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return out


def _resampled(samples: np.ndarray, rate_hz: int, spec: AudioSpec) -> Iterator[np.ndarray]:
    """int16 (c, n) at the stored rate, by one libswresample in order; saturates."""
    layout = {1: "mono", 2: "stereo", 4: "4.0"}[spec.num_channels]
    resampler = av.AudioResampler("s16", layout, spec.sample_rate_hz)
    for start in range(0, len(samples), _RESAMPLED_AT_ONCE):
        block = np.ascontiguousarray(samples[start : start + _RESAMPLED_AT_ONCE])
        frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate_hz
        for part in resampler.resample(frame):
            yield part.to_ndarray().reshape(-1, spec.num_channels).T
    if len(samples):
        for part in resampler.resample(None):
            yield part.to_ndarray().reshape(-1, spec.num_channels).T
