"""A scene as stereo sound."""

import numpy as np
from numpy.typing import NDArray

from avdata.synthetic.scene import Scene, SceneObject, Strike
from avdata.synthetic.timbre import pitch_of_size, strike_sound

FORCE_EXPONENT = 1.3
"""Amplitude is ``force ** FORCE_EXPONENT``."""
PEAK = 0.95


def render_sound(scene: Scene) -> NDArray[np.float32]:
    """Waveform of the scene, shape (n, 2), left before right, within +-`PEAK`.

    A strike starts at sample ``time_s * sample_rate_hz`` and is panned with equal power by the
    place of its object at that instant. A clip whose peaks are too high is turned down as a whole.
    """
    config = scene.config
    sound = np.zeros((config.num_samples, 2), dtype=np.float32)
    if scene.noise_rms > 0:
        rng = np.random.default_rng(scene.noise_seed)
        sound += _pink_noise(rng, config.num_samples) * np.float32(scene.noise_rms)
    for thing in scene.objects:
        if thing.silent:
            continue
        once = _voice(scene, thing)
        for strike in thing.strikes:
            first = round(strike.time_s * config.sample_rate_hz)
            part = once[: config.num_samples - first, None] * np.float32(gain(strike))
            sound[first : first + len(part)] += part * pan(strike.x_px / config.frame_width_px)
    peak = float(np.abs(sound).max(initial=0.0))
    return sound if peak <= PEAK else np.asarray(sound * np.float32(PEAK / peak))


def gain(strike: Strike) -> float:
    """Factor on the strike's amplitude."""
    return float(strike.force**FORCE_EXPONENT)


def pan(place: float) -> NDArray[np.float32]:
    """Gains (left, right) for a place from 0 (left edge) to 1 (right edge): their squares add to 1.

    Places beyond the edges sound like the edge.
    """
    angle = np.clip(place, 0.0, 1.0) * (np.pi / 2)
    return np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def _voice(scene: Scene, thing: SceneObject) -> NDArray[np.float32]:
    return strike_sound(
        thing.object_class.timbre,
        pitch_hz=pitch_of_size(thing.size),
        brightness=thing.brightness,
        hardness=thing.hardness,
        sample_rate_hz=scene.config.sample_rate_hz,
    )


def _pink_noise(rng: np.random.Generator, num_samples: int) -> NDArray[np.float32]:
    """Two channels of unit RMS whose power falls with frequency, repeated every 2**17 samples."""
    period = 2**17
    white = rng.standard_normal((2, period // 2 + 1, 2)) @ np.array([1, 1j])
    pink = np.fft.irfft(white / np.sqrt(np.maximum(np.arange(period // 2 + 1), 20)), axis=1)
    pink /= np.sqrt(np.mean(pink**2))
    return np.asarray(np.resize(pink.T, (num_samples, 2)), dtype=np.float32)
