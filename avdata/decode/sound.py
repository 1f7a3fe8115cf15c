"""Decoded audio frames -> one waveform on the media clock -> the stored channels and rate."""

from dataclasses import dataclass

import av
import numpy as np

from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec

GAP_TOLERANCE_S = 0.02
"""Frame times that drift less than this from the sample count are rounding, not gaps."""

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

    def __init__(self) -> None:
        self._chunks: list[np.ndarray] = []
        self._num_samples = 0
        self._start_s: float | None = None
        self._rate = 0
        self._names: tuple[str, ...] = ()
        self.num_refused = 0
        """Frames whose rate or channels differ from the first one's; silence stands for them."""

    def add(self, frame: av.AudioFrame) -> None:
        """Append one decoded frame."""
        chunk = _float_samples(frame)
        if not chunk.size or frame.sample_rate <= 0:
            return
        names = tuple(channel.name for channel in frame.layout.channels)
        time_s = _time_s(frame)
        if self._start_s is None:
            self._start_s = time_s or 0.0
            self._rate, self._names = frame.sample_rate, names
        if frame.sample_rate != self._rate or len(names) != len(self._names):
            self.num_refused += 1
            return
        if time_s is not None:
            drift = round((time_s - self._start_s) * self._rate) - self._num_samples
            if drift > GAP_TOLERANCE_S * self._rate:
                self._append(np.zeros((drift, chunk.shape[1]), np.float32))
            elif drift < -GAP_TOLERANCE_S * self._rate:
                chunk = chunk[-drift:]
        self._append(chunk)

    def _append(self, chunk: np.ndarray) -> None:
        self._chunks.append(chunk)
        self._num_samples += len(chunk)

    def finish(self) -> Waveform | None:
        """All sound so far; None when there was none."""
        if self._start_s is None:
            return None
        return Waveform(
            samples=np.concatenate(self._chunks),
            channel_names=self._names,
            sample_rate_hz=self._rate,
            start_s=self._start_s,
        )


def _float_samples(frame: av.AudioFrame) -> np.ndarray:
    """float32 (n, c) of a frame of any sample format."""
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, len(frame.layout.channels))
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    if array.dtype.kind == "i":
        return array.astype(np.float32) / float(2 ** (8 * array.itemsize - 1))
    return np.nan_to_num(array.astype(np.float32, copy=False), posinf=1.0, neginf=-1.0)


def mix(samples: np.ndarray, channel_names: tuple[str, ...], layout: str) -> np.ndarray:
    """float32 (n, c) in `layout`, never louder than the loudest input.

    Mono of ambisonics is its W channel; loudspeakers are weighted as left, right or center, and
    LFE is left out.

    Raises:
        MediaError: The channels do not hold what `layout` needs.
    """
    num_channels = samples.shape[1]
    ambisonic = channel_names[0].startswith("AMBI")
    if layout == "foa":
        if num_channels != 4:
            raise MediaError(
                FailureReason.UNSUPPORTED_AUDIO_LAYOUT,
                f"{num_channels} channels ({' '.join(channel_names)}) are no first-order "
                "ambisonics; audio.layout='foa' needs 4, use 'mono' or 'stereo'",
            )
        return samples
    if ambisonic:
        return np.repeat(samples[:, :1], 1 if layout == "mono" else 2, axis=1)
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
    mixed = mix(wave.samples[max(first, 0) : first + count], wave.channel_names, spec.layout)
    out = _resample(np.ascontiguousarray(mixed), wave.sample_rate_hz, spec)[:num_samples]
    missing = num_samples - len(out)
    return np.ascontiguousarray(np.pad(out, ((0, missing), (0, 0))).T)


def _resample(samples: np.ndarray, rate_hz: int, spec: AudioSpec) -> np.ndarray:
    """int16 (n, c) at the stored rate, by libswresample in one call; saturates."""
    layout = {1: "mono", 2: "stereo", 4: "4.0"}[spec.num_channels]
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = rate_hz
    resampler = av.AudioResampler("s16", layout, spec.sample_rate_hz)
    parts = [
        part.to_ndarray().reshape(-1, spec.num_channels)
        for part in (*resampler.resample(frame), *resampler.resample(None))
    ]
    return np.concatenate(parts) if parts else np.zeros((0, spec.num_channels), np.int16)


def _time_s(frame: av.AudioFrame) -> float | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base)
