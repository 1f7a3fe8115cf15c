"""The sound of one strike."""

import numpy as np
from numpy.typing import NDArray

from avdata.synthetic.object_class import Timbre

LOWEST_PITCH_HZ = 220.0
PITCH_RANGE_OCTAVES = 2.0
STRIKE_RMS = 0.2
"""Level of the first 40 ms of a strike at full force."""
LONGEST_STRIKE_S = 0.8
GLIDE_S = 0.04
TICK_RMS = 0.6
"""Of the tick at its start, over that of the body: noise in a band that the brightness places."""
TICK_DECAY_S = 0.03
TICK_LOWEST_HZ = 800.0
TICK_RANGE_OCTAVES = 3.2


def pitch_of_size(size: float) -> float:
    """Pitch in Hz of an object of relative size 0 (smallest) to 1 (largest): bigger is lower."""
    return float(LOWEST_PITCH_HZ * 2.0 ** (PITCH_RANGE_OCTAVES * (1.0 - size)))


def strike_sound(
    timbre: Timbre, *, pitch_hz: float, brightness: float, hardness: float, sample_rate_hz: int
) -> NDArray[np.float32]:
    """Waveform of a strike at full force, shape (n,); sample 0 is the first that sounds.

    Args:
        timbre: What the class sounds like.
        pitch_hz: Pitch that the size gives, before the class transposes it.
        brightness: 0 dull to 1 bright: slope of the partials, and the band of the tick that every
            strike starts with.
        hardness: 0 soft to 1 hard: softer bodies start slower and ring shorter.
        sample_rate_hz: Rate of the result.
    """
    pitch_hz = pitch_hz * timbre.transpose
    ring = 2.0 ** (1.2 * (hardness - 0.5))
    slowest_s = max(timbre.decay_s, timbre.noise_decay_s)
    longest_s = timbre.hold_s + 7.0 * max(ring * slowest_s, TICK_DECAY_S)
    n = int(min(LONGEST_STRIKE_S, longest_s) * sample_rate_hz)
    times_s = np.arange(n) / sample_rate_hz
    sound = _partials(timbre, times_s, pitch_hz, brightness, ring)
    sound /= np.sqrt(np.mean(sound[: sample_rate_hz // 25] ** 2)) + 1e-9
    if timbre.noise:
        center_hz = min(timbre.noise_ratio * pitch_hz, 9000.0)
        noise = band_noise(n, center_hz, sample_rate_hz)
        decay_s = timbre.noise_decay_s * ring
        sound = sound * min(1.0, 1 / timbre.noise) + min(1.0, timbre.noise) * noise * np.exp(
            -times_s / decay_s
        )
    tick_hz = TICK_LOWEST_HZ * 2.0 ** (TICK_RANGE_OCTAVES * brightness)
    tick = band_noise(n, tick_hz, sample_rate_hz, width_octaves=0.25)
    sound += TICK_RMS * tick * np.exp(-times_s / TICK_DECAY_S)
    if timbre.tremolo_hz:
        sound *= 0.55 + 0.45 * np.cos(2 * np.pi * timbre.tremolo_hz * times_s)
    attack = max(1, int((0.0005 + 0.003 * (1.0 - hardness)) * sample_rate_hz))
    sound[:attack] *= np.arange(1, attack + 1) / attack
    fade = max(1, n // 10)
    sound[n - fade :] *= np.linspace(1.0, 0.0, fade)
    level = np.sqrt(np.mean(sound[: sample_rate_hz // 25] ** 2)) + 1e-9
    return np.asarray(sound * (STRIKE_RMS / level), dtype=np.float32)


def _partials(
    timbre: Timbre, times_s: NDArray[np.float64], pitch_hz: float, brightness: float, ring: float
) -> NDArray[np.float64]:
    turns = times_s + timbre.glide * GLIDE_S * (1.0 - np.exp(-times_s / GLIDE_S))
    after_hold_s = np.maximum(times_s - timbre.hold_s, 0.0)
    sound = np.zeros_like(times_s)
    highest_hz = 0.22 / (times_s[1] - times_s[0])  # glides reach 1.6 times the pitch
    for k, (ratio, amplitude) in enumerate(zip(timbre.ratios, timbre.amplitudes, strict=True)):
        if ratio * pitch_hz > highest_hz:
            continue
        tilt = ratio ** (1.2 - 2.0 * brightness)  # brightness 1 lifts high partials, 0 buries them
        decay_s = timbre.decay_s * ring / ratio**timbre.damping
        wave = np.sin(2 * np.pi * ratio * pitch_hz * turns + 1.0 + 1.7 * k)
        sound += (amplitude / tilt) * wave * np.exp(-after_hold_s / decay_s)
    return sound


def band_noise(
    num_samples: int, center_hz: float, sample_rate_hz: int, *, width_octaves: float = 0.5
) -> NDArray[np.float64]:
    """Noise of unit RMS, Gaussian in octaves around `center_hz`; always the same noise."""
    spectrum = np.fft.rfft(np.random.default_rng(7).standard_normal(num_samples))
    hz = np.fft.rfftfreq(num_samples, 1 / sample_rate_hz)
    octaves = np.log2(np.maximum(hz, 1.0) / center_hz)
    noise = np.fft.irfft(spectrum * np.exp(-0.5 * (octaves / width_octaves) ** 2), num_samples)
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-12))
