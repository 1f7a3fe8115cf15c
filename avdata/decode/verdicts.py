"""What the sound of a clip is worth: clipped, silent, one channel stored twice."""

from dataclasses import dataclass

import numpy as np

from avdata.decode.sound import Sound, Waveform, mono_loss_db

FULL_SCALE = 0.999
"""Native samples at or beyond this count as clipped."""
SILENT_PEAK = 32
"""-60 dB of full scale in 16 bits."""
SILENCE_WINDOW_S = 0.02
SAME = 2 / 32768
"""Two channels that never differ by more are the same, but for rounding to 16 bits."""

_BLOCK = 16384
"""Samples at a time: blocks stay in the processor's cache, and most clips are decided by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundVerdicts:
    """Facts about native sound, as `ManifestRow` holds them."""

    clipping_fraction: float
    """Share of samples, of all channels, at full scale."""
    dual_mono: bool | None
    """Two channels that are the same and not silent; None for other numbers of channels."""
    mono_loss_db: float | None
    """See `avdata.decode.sound.mono_loss_db`."""


def verdicts_on(sound: Sound, start_s: float, end_s: float) -> SoundVerdicts:
    """Verdicts on the part of `sound` in [start_s, end_s) of the media clock, over all its runs.

    The loss is that of the run that loses most.
    """
    runs = sound.within(start_s, end_s)
    each = [sound_verdicts(run, start_s, end_s) for run in runs]
    sizes = [max(run.part(start_s, end_s).size, 1) for run in runs]
    same = [verdicts.dual_mono for verdicts in each if verdicts.dual_mono is not None]
    losses = [verdicts.mono_loss_db for verdicts in each if verdicts.mono_loss_db is not None]
    clipped = sum(v.clipping_fraction * n for v, n in zip(each, sizes, strict=True))
    return SoundVerdicts(
        clipping_fraction=clipped / sum(sizes),
        dual_mono=all(same) if len(same) == len(each) else None,
        mono_loss_db=max(losses, default=None),
    )


def sound_verdicts(wave: Waveform, start_s: float, end_s: float) -> SoundVerdicts:
    """Verdicts on the part of `wave` in [start_s, end_s) of the media clock."""
    samples = wave.part(start_s, end_s)
    return SoundVerdicts(
        clipping_fraction=_clipping_fraction(samples),
        dual_mono=_dual_mono(samples) if samples.shape[1] == 2 else None,
        mono_loss_db=mono_loss_db(samples, wave.channel_names),
    )


def silent_windows(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Which 20 ms windows of stored sound, int16 (c, n), peak below -60 dB; bool (windows,).

    The last window holds what is left, if only a sample.
    """
    size = max(round(SILENCE_WINDOW_S * sample_rate_hz), 1)
    starts = np.arange(0, samples.shape[1], size)
    if not len(starts):
        return np.zeros(0, np.bool_)
    highest = np.maximum.reduceat(samples, starts, axis=1).max(axis=0)
    lowest = np.minimum.reduceat(samples, starts, axis=1).min(axis=0)
    silent: np.ndarray = (highest <= SILENT_PEAK) & (lowest >= -SILENT_PEAK)
    return silent


def silence_fraction(samples: np.ndarray, sample_rate_hz: int) -> float:
    """Share of 20 ms windows of stored sound, int16 (c, n), that peak below -60 dB.

    1 when there is no sound at all.
    """
    silent = silent_windows(samples, sample_rate_hz)
    return float(silent.mean()) if len(silent) else 1.0


def _clipping_fraction(samples: np.ndarray) -> float:
    if not samples.size:
        return 0.0
    clipped = 0
    for channel in samples.T:
        if channel.max() >= FULL_SCALE or channel.min() <= -FULL_SCALE:
            clipped += int(np.count_nonzero((channel >= FULL_SCALE) | (channel <= -FULL_SCALE)))
    return clipped / samples.size


def _dual_mono(samples: np.ndarray) -> bool:
    heard = False
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK]
        difference = block[:, 0] - block[:, 1]
        if difference.max() > SAME or difference.min() < -SAME:
            return False
        left = block[:, 0]
        heard = heard or bool(max(left.max(), -left.min()) * 32768 > SILENT_PEAK)
    return heard
