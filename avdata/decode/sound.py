"""Decoded audio frames -> one waveform on the media clock -> the stored channels and rate."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np

from avdata.decode.ambisonics import foa_form, stated_form, to_acn_sn3d
from avdata.decode.audio_layout import placed_frames
from avdata.schema import AudioSpec

_FIRST_CAPACITY = 2**19
"""Samples that are laid out for at first, ten seconds and more; pages are taken when written."""
_RESAMPLED_AT_ONCE = 2**16
"""Native samples given to the resampler at a time: small enough that their memory is used again.
The samples that come out do not depend on it."""

MAX_LOSS_DB = 100.0
"""Largest loss that is stated, for channels that cancel each other."""
_CANCELLED = 0.01
_SILENT_POWER = 1e-6
"""-60 dB of full scale."""

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
    """Contiguous audio of one sample rate and channel layout, as decoded."""

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

    def part(self, start_s: float, end_s: float) -> np.ndarray:
        """Samples (n, c) in [start_s, end_s) of the media clock; none where it holds none."""
        first = round((start_s - self.start_s) * self.sample_rate_hz)
        stop = round((end_s - self.start_s) * self.sample_rate_hz)
        return self.samples[max(first, 0) : max(stop, 0)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sound:
    """All audio of a span: runs of one rate and layout, each behind the other."""

    runs: tuple[Waveform, ...]
    """At least one."""
    gaps_s: tuple[tuple[float, float], ...]
    """[start, end) on the media clock of what is missing inside: silence stands for it."""
    loudspeakers: bool = False
    """The stream states that its channels are loudspeakers: see `states_loudspeakers`."""

    @property
    def start_s(self) -> float:
        return self.runs[0].start_s

    @property
    def end_s(self) -> float:
        return self.runs[-1].end_s

    def within(self, start_s: float, end_s: float) -> tuple[Waveform, ...]:
        """Runs with samples in [start_s, end_s); the first one where there are none."""
        inside = [run for run in self.runs if run.end_s > start_s and run.start_s < end_s]
        return tuple(inside) or self.runs[:1]


def frame_times(time_base: Fraction | None) -> Callable[[av.AudioFrame], float | None]:
    """Return what gives a frame's time in seconds, None where it has none.

    Args:
        time_base: Of all frames, as their stream states it; asking each frame for its own takes
            longer than laying it out. None asks.
    """
    known = time_base and (time_base.numerator, time_base.denominator)

    def time_s(frame: av.AudioFrame) -> float | None:
        pts = frame.pts
        if pts is None:
            return None
        if known:
            ticks, ticks_per_s = known
            return pts * ticks / ticks_per_s
        base = frame.time_base
        return None if base is None else pts * base.numerator / base.denominator

    return time_s


def laid_out(
    frames: Iterable[av.AudioFrame],
    time_base: Fraction | None = None,
    *,
    loudspeakers: bool = False,
) -> Sound | None:
    """Decoded frames laid out by their times: gaps become silence, overlaps are cut.

    None when there are none.

    Args:
        time_base: See `frame_times`.
        loudspeakers: See `Sound`.

    Raises:
        MediaError: CLOCK_RESTARTS.
    """
    runs: list[RunBuilder] = []
    gaps_s: list[tuple[float, float]] = []
    for placed in placed_frames(frames, frame_times(time_base)):
        if placed.starts_run:
            runs.append(RunBuilder(placed.frame, placed.start_s))
        if placed.gap_samples:
            runs[-1].add_silence(placed.gap_samples)
            gap_s = placed.gap_samples / placed.frame.sample_rate
            gaps_s.append((placed.start_s, placed.start_s + gap_s))
        runs[-1].write(placed.frame, placed.skip)
    if not runs:
        return None
    return Sound(
        runs=tuple(run.waveform() for run in runs),
        gaps_s=tuple(gaps_s),
        loudspeakers=loudspeakers,
    )


class RunBuilder:
    """Collects samples of one rate and channel layout, in memory that grows."""

    def __init__(self, frame: av.AudioFrame, start_s: float) -> None:
        """Start with nothing, in the form of `frame`."""
        self.sample_rate_hz = frame.sample_rate
        self.num_samples = 0
        self._start_s = start_s
        self._names = tuple(channel.name for channel in frame.layout.channels)
        self._samples = np.empty((len(self._names), _FIRST_CAPACITY), np.float32)  # (c, capacity)

    def write(self, frame: av.AudioFrame, skip: int) -> None:
        """Append a frame from sample `skip` on."""
        _write_samples(frame, self._grow(frame.samples - skip), skip)

    def add_silence(self, num_samples: int) -> None:
        """Append zeros."""
        self._grow(num_samples)[:] = 0

    def waveform(self) -> Waveform:
        """All samples so far, finite."""
        samples = self._samples[:, : self.num_samples]
        with np.errstate(invalid="ignore", over="ignore"):
            finite = np.isfinite(samples.sum())
        if not finite:
            np.nan_to_num(samples, copy=False, posinf=1.0, neginf=-1.0)
        return Waveform(
            samples=samples.T,
            channel_names=self._names,
            sample_rate_hz=self.sample_rate_hz,
            start_s=self._start_s,
        )

    def _grow(self, count: int) -> np.ndarray:
        """The next `count` samples of all channels, to be written."""
        start, self.num_samples = self.num_samples, self.num_samples + count
        if self.num_samples > self._samples.shape[1]:
            capacity = max(2 * self._samples.shape[1], self.num_samples)
            larger = np.empty((len(self._samples), capacity), np.float32)
            larger[:, :start] = self._samples[:, :start]
            self._samples = larger
        return self._samples[:, start : self.num_samples]


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
    samples: np.ndarray,
    channel_names: tuple[str, ...],
    layout: str,
    form: str | None = None,
    *,
    mono: Literal["mix", "louder"] = "mix",
) -> np.ndarray:
    """float32 (n, c) in `layout`.

    Args:
        form: Which of the forms of ambisonics it is; None for loudspeakers. Mono of ambisonics
            is W, stereo is two cardioids to the left and the right: (W + Y) / 2 and (W - Y) / 2.
            Loudspeakers are weighted as left, right or center, never louder than the loudest of
            them, and LFE is left out; they cannot give layout ``foa``.
        mono: How loudspeakers become one channel: mixed, or the one with the most energy.
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
    if layout == "mono" and mono == "louder":
        return _loudest(samples, channel_names)
    weights = np.array([_stereo_weights(name) for name in channel_names], np.float32)
    if not weights.any():  # unnamed or odd channels: all count alike
        weights[:] = 1.0
    if layout == "mono":
        weights = weights.sum(1, keepdims=True)
    weights /= np.maximum(weights.sum(0, keepdims=True), 1e-9)
    # no BLAS: its thread count would change the last bits
    return np.asarray(np.einsum("nc,cd->nd", samples, weights), np.float32)


def _loudest(samples: np.ndarray, channel_names: tuple[str, ...]) -> np.ndarray:
    """float32 (n, 1): the channel with the most energy, the first one of several; no LFE."""
    heard = [i for i, name in enumerate(channel_names) if not name.startswith("LFE")]
    energy = [_power(samples[:, i]) if len(samples) else 0.0 for i in heard]
    at = heard[int(np.argmax(energy))] if heard else 0
    return samples[:, at : at + 1]


def _stereo_weights(name: str) -> tuple[float, float]:
    if name.startswith("LFE"):
        return (0.0, 0.0)
    return _SIDES.get(name[-1:], (0.0, 0.0))


def to_stored(wave: Waveform, spec: AudioSpec, *, start_s: float, num_samples: int) -> np.ndarray:
    """int16 (c, num_samples) at the stored rate, sample 0 at `start_s` of the media clock.

    Raises:
        MediaError: The channels do not hold what the stored layout needs.
    """
    out = np.zeros((spec.num_channels, num_samples), np.int16)
    _store_run(wave, spec, out, start_s=start_s)
    return out


def stored_sound(sound: Sound, spec: AudioSpec, *, start_s: float, num_samples: int) -> np.ndarray:
    """`to_stored` of every run, each at its place.

    Raises:
        MediaError: The channels of a run do not hold what the stored layout needs.
    """
    out = np.zeros((spec.num_channels, num_samples), np.int16)
    for run in sound.within(start_s, start_s + num_samples / spec.sample_rate_hz):
        _store_run(run, spec, out, start_s=start_s, loudspeakers=sound.loudspeakers)
    return out


def ambisonic_form(
    sound: Sound, spec: AudioSpec, *, start_s: float, num_samples: int
) -> str | None:
    """Return the form of ambisonics that `stored_sound` is made of; None for loudspeakers.

    Runs of several forms are all named, as in "acn_sn3d, xyz0w0".

    Raises:
        MediaError: As for `stored_sound`.
    """
    forms = [
        _form(
            run,
            _wanted(run, spec, start_s=start_s, num_samples=num_samples),
            spec,
            loudspeakers=sound.loudspeakers,
        )
        for run in sound.within(start_s, start_s + num_samples / spec.sample_rate_hz)
    ]
    return ", ".join(dict.fromkeys(form for form in forms if form is not None)) or None


def _form(
    wave: Waveform, samples: np.ndarray, spec: AudioSpec, *, loudspeakers: bool
) -> str | None:
    names, order = wave.channel_names, spec.ambisonic_order
    if spec.layout == "foa":
        return foa_form(samples, names, order, loudspeakers=loudspeakers)
    return stated_form(names, order)


def _wanted(wave: Waveform, spec: AudioSpec, *, start_s: float, num_samples: int) -> np.ndarray:
    """The native samples (n, c) of `num_samples` stored ones from `start_s` of the media clock."""
    first = round((start_s - wave.start_s) * wave.sample_rate_hz)
    count = -(-num_samples * wave.sample_rate_hz // spec.sample_rate_hz)
    return wave.samples[max(first, 0) : max(first + count, 0)]


def _store_run(
    wave: Waveform,
    spec: AudioSpec,
    out: np.ndarray,
    *,
    start_s: float,
    loudspeakers: bool = False,
) -> None:
    num_samples = out.shape[1]
    samples = _wanted(wave, spec, start_s=start_s, num_samples=num_samples)
    form = _form(wave, samples, spec, loudspeakers=loudspeakers)
    # a clip that starts before the sound starts with silence
    at = min(round(max(wave.start_s - start_s, 0.0) * spec.sample_rate_hz), num_samples)
    mixed = mix(samples, wave.channel_names, spec.layout, form, mono=spec.mono)
    for part in _resampled(mixed, wave.sample_rate_hz, spec):
        part = part[:, : num_samples - at]
        out[:, at : at + part.shape[1]] = part
        at += part.shape[1]


def mono_loss_db(samples: np.ndarray, channel_names: tuple[str, ...]) -> float | None:
    """Level of the channels (n, c) above that of their mono mix, in dB; None for a single channel.

    0 for channels that are the same, 3 for two without relation, up to `MAX_LOSS_DB` where they
    cancel each other. LFE does not count.
    """
    heard = [i for i, name in enumerate(channel_names) if not name.startswith("LFE")]
    if len(heard) < 2 or channel_names[0].startswith("AMBI") or not len(samples):
        return None
    power = sum(_power(samples[:, i]) for i in heard) / len(heard)
    if power <= _SILENT_POWER:
        return 0.0
    if channel_names == ("FL", "FR"):
        cross = float(np.einsum("n,n->", samples[:, 0], samples[:, 1])) / len(samples)
        left = power / 2 + cross / 2
    else:
        left = 0.0
    if left < _CANCELLED * power:  # that sum is too coarse
        left = _power(mix(samples, channel_names, "mono")[:, 0])
    loss = 10 * math.log10(power / max(left, power * 10 ** (-MAX_LOSS_DB / 10)))
    return max(loss, 0.0)


def _power(channel: np.ndarray) -> float:
    return float(np.einsum("n,n->", channel, channel)) / len(channel)


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
