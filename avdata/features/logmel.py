"""The stored log-mel: stored sound to float16 log power, without torch.

`device_logmel` is the same feature for tensors; a test holds the two to one step of float16.
No BLAS: values do not depend on the number of threads.
"""

from functools import lru_cache

import numpy as np
from scipy import fft, sparse  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from avdata.errors import ConfigError
from avdata.schema import LogMelSpec

_BLOCK_COLUMNS = 128
"""Columns at a time: what lies between waveform and result stays in the processor's cache."""
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_CORNER_HZ = 1000.0
_SLANEY_MELS_PER_E = 27 / np.log(6.4)

MAX_EMPTY_SHARE = 0.1
"""Part of the mel bands that may hold no FFT bin."""
_LEAST_WEIGHT = 1e-6
"""A bin that counts less than this in a band is at its corner, but for rounding."""
_MAX_DOUBLINGS = 6
"""Lengths of the FFT that are tried for a hint."""


def stored_log_mel(samples: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Natural logarithm of power, float16 (c, t, f), of stored sound: int16 (c, n).

    Column t is centered on sample t * hop_samples; edges are reflected; t = n // hop + 1. What
    the f bins are is `spec.filterbank`'s choice. ``avid`` is the published log power spectrogram
    but for its floor 100 dB below the loudest of a window: that depends on the window, and the
    trainer applies it (`log_spectrogram.limit_range`).

    Raises:
        ValueError: The sound is too short to reflect.
    """
    num_samples, half = samples.shape[1], spec.n_fft // 2
    if num_samples <= half:
        raise ValueError(
            f"waveform of {num_samples} samples; n_fft={spec.n_fft} needs more than {half} to "
            "reflect at its edges"
        )
    window = _window(spec)
    out = np.empty((len(samples), spec.num_columns(num_samples), spec.num_mels), np.float16)
    for channel, log in zip(samples, out, strict=True):
        waveform = channel.astype(np.float32) / np.float32(32768)
        padded = np.pad(waveform, half, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)
        frames = frames[:: spec.hop_samples]
        for start in range(0, len(log), _BLOCK_COLUMNS):
            block = slice(start, start + _BLOCK_COLUMNS)
            spectrum = fft.rfft(frames[block] * window, axis=1, workers=1)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            bins = _bins(power, spec)
            np.maximum(bins, np.float32(spec.log_floor), out=bins)
            log[block] = np.log(bins, out=bins)
    return out


def use_one_thread() -> None:
    """Keep BLAS and OpenMP to one thread in this process: a build has a process a core."""
    threadpool_limits(limits=1)


def _bins(power: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """float32 (t, f) of the power of all FFT bins."""
    if spec.filterbank == "linear":
        return power
    if spec.filterbank == "avid":
        pairs = (power[:, 1::2] + power[:, 2::2]) / 2
        return np.concatenate([power[:, :1], pairs], axis=1)
    return np.asarray((_mel_filters(spec) @ np.ascontiguousarray(power.T)).T)


@lru_cache(maxsize=8)
def _window(spec: LogMelSpec) -> np.ndarray:
    """Periodic Hann window, float32 (n_fft,): zeros around `win_samples`, as torch.stft does."""
    window = np.zeros(spec.n_fft)
    left = (spec.n_fft - spec.win_samples) // 2
    phase = 2 * np.pi * np.arange(spec.win_samples) / spec.win_samples
    window[left : left + spec.win_samples] = 0.5 - 0.5 * np.cos(phase)
    return window.astype(np.float32)


@lru_cache(maxsize=8)
def _mel_filters(spec: LogMelSpec) -> sparse.csr_array:
    """Triangles of height 1 over the FFT bins, float32 (mels, n_fft / 2 + 1).

    Reference: torchaudio.functional.melscale_fbanks with norm=None; the Slaney scale is that of
    Slaney, Auditory Toolbox, 1998.
    """
    bins_hz, corners_hz = _bins_hz(spec), _corners_hz(spec)
    distance = bins_hz[None, :] - corners_hz[:, None]
    width = np.diff(corners_hz)[:, None]
    rising, falling = distance[:-2] / width[:-1], -distance[2:] / width[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return sparse.csr_array(triangles.astype(np.float32))


def _bins_hz(spec: LogMelSpec) -> np.ndarray:
    """Frequencies of the FFT bins, float64 (n_fft / 2 + 1,)."""
    return np.linspace(0, spec.sample_rate_hz // 2, spec.n_fft // 2 + 1)


def _corners_hz(spec: LogMelSpec) -> np.ndarray:
    """Corners of the triangles, float64 (mels + 2,): band k reaches from corner k to k + 2."""
    ends = _mel_of_hz(np.array([spec.fmin_hz, spec.fmax_hz]), spec.mel_scale)
    return _hz_of_mel(np.linspace(ends[0], ends[1], spec.num_mels + 2), spec.mel_scale)


def empty_mel_bands(spec: LogMelSpec) -> tuple[int, ...]:
    """Return the mel bands that hold no FFT bin: they are the floor in every clip.

    Low bands are narrow, and can lie between two bins. None where `filterbank` has no mel bands.
    """
    if spec.filterbank != "mel":
        return ()
    bins_hz, corners_hz = _bins_hz(spec), _corners_hz(spec)
    slack_hz = _LEAST_WEIGHT * np.diff(corners_hz)
    first = np.searchsorted(bins_hz, corners_hz[:-2] + slack_hz[:-1], side="left")
    stop = np.searchsorted(bins_hz, corners_hz[2:] - slack_hz[1:], side="right")
    return tuple(np.flatnonzero(stop <= first).tolist())


def empty_bands_note(spec: LogMelSpec) -> str | None:
    """Return a sentence about the mel bands without an FFT bin; None where there are none."""
    empty = empty_mel_bands(spec)
    if not empty:
        return None
    some = ", ".join(map(str, empty[:5])) + (" ..." if len(empty) > 5 else "")
    word, hold = ("band", "holds") if len(empty) == 1 else ("bands", "hold")
    return (
        f"{len(empty)} of {spec.num_mels} mel bands {hold} no bin of the FFT ({word} {some}) and "
        f"will be log_floor in every clip; {_without_empty_bands(spec)}"
    )


def check_mel_bands(spec: LogMelSpec) -> None:
    """Refuse settings that leave more than a tenth of the mel bands without an FFT bin.

    Raises:
        ConfigError: With the number of such bands, and settings that leave none empty.
    """
    if len(empty_mel_bands(spec)) > MAX_EMPTY_SHARE * spec.num_mels:
        raise ConfigError(
            f"logmel: {empty_bands_note(spec)}. At most {100 * MAX_EMPTY_SHARE:g} % of the bands "
            "may be empty"
        )


def _without_empty_bands(spec: LogMelSpec) -> str:
    """The nearest settings that leave no band empty, as far as there are such."""
    most = min(spec.num_mels - 1, spec.n_fft)  # a bin is in at most two bands
    fewer = next(
        (m for m in range(most, 0, -1) if not empty_mel_bands(_with(spec, num_mels=m))), None
    )
    doubled = [spec.n_fft * 2**k for k in range(1, _MAX_DOUBLINGS + 1)]
    longer = next((n for n in doubled if not empty_mel_bands(_with(spec, n_fft=n))), None)
    ways = [
        *([f"logmel.num_mels={fewer}"] if fewer else []),
        *([f"logmel.n_fft={longer}"] if longer else []),
    ]
    return f"{' or '.join(ways) or 'a wider range from fmin_hz to fmax_hz'} leaves none empty"


def _with(spec: LogMelSpec, **changes: int) -> LogMelSpec:
    return spec.model_copy(update=changes)


def _mel_of_hz(hz: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hz / 700))
    above = _SLANEY_CORNER_HZ / _SLANEY_HZ_PER_MEL + _SLANEY_MELS_PER_E * np.log(
        np.maximum(hz, _SLANEY_CORNER_HZ) / _SLANEY_CORNER_HZ
    )
    return np.where(hz < _SLANEY_CORNER_HZ, hz / _SLANEY_HZ_PER_MEL, above)


def _hz_of_mel(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    corner = _SLANEY_CORNER_HZ / _SLANEY_HZ_PER_MEL
    above = _SLANEY_CORNER_HZ * np.exp(np.maximum(mel - corner, 0) / _SLANEY_MELS_PER_E)
    return np.where(mel < corner, mel * _SLANEY_HZ_PER_MEL, above)
