"""Verdicts on sound: known answers."""

import numpy as np
import pytest

from avdata.decode.sound import Waveform
from avdata.decode.verdicts import silence_fraction, silent_windows, sound_verdicts


def wave(*channels: np.ndarray, start_s: float = 0.0) -> Waveform:
    return Waveform(
        samples=np.stack(channels, axis=1).astype(np.float32),
        channel_names=("FL", "FR", "FC")[: len(channels)],
        sample_rate_hz=1000,
        start_s=start_s,
    )


def tone(num_samples: int = 40_000, peak: float = 0.5) -> np.ndarray:
    return peak * np.sin(np.arange(num_samples) * 0.1)


def test_clipping_is_the_share_of_all_native_samples_at_full_scale() -> None:
    left, right = tone(), tone()
    left[:3000] = 1.0
    left[3000:5000] = -1.2
    right[7] = 0.9990001
    right[8] = 0.9989
    got = sound_verdicts(wave(left, right), 0.0, 40.0)
    assert got.clipping_fraction == 5001 / 80_000
    assert sound_verdicts(wave(tone(), tone()), 0.0, 40.0).clipping_fraction == 0


def test_only_the_span_counts() -> None:
    left = tone()
    left[10_000:11_000] = 1.0
    sound = wave(left, tone(), start_s=5.0)
    assert sound_verdicts(sound, 15.0, 16.0).clipping_fraction == 0.5
    assert sound_verdicts(sound, 14.0, 15.0).clipping_fraction == 0
    assert sound_verdicts(sound, 0.0, 15.5).clipping_fraction == 500 / 21_000
    nothing = sound_verdicts(sound, 0.0, 4.0)
    assert (nothing.clipping_fraction, nothing.dual_mono) == (0.0, False)


@pytest.mark.parametrize(
    ("difference", "dual"), [(0.0, True), (1.9 / 32768, True), (2.1 / 32768, False), (0.1, False)]
)
def test_dual_mono_is_two_equal_channels_up_to_rounding(difference: float, dual: bool) -> None:
    left, right = tone(), tone()
    right[39_999] += difference  # in the last block
    got = sound_verdicts(wave(left, right), 0.0, 40.0).dual_mono
    assert got is dual
    assert sound_verdicts(wave(right, left), 0.0, 40.0).dual_mono is dual


def test_silence_is_not_dual_mono() -> None:
    silence = np.zeros(40_000)
    assert sound_verdicts(wave(silence, silence), 0.0, 40.0).dual_mono is False
    at_60_db = tone(peak=32 / 32768)
    assert sound_verdicts(wave(at_60_db, at_60_db), 0.0, 40.0).dual_mono is False
    once = silence.copy()
    once[30_000] = -0.01
    assert sound_verdicts(wave(once, once), 0.0, 40.0).dual_mono is True


def test_other_numbers_of_channels_have_no_dual_mono() -> None:
    assert sound_verdicts(wave(tone()), 0.0, 40.0).dual_mono is None
    assert sound_verdicts(wave(tone(), tone(), tone()), 0.0, 40.0).dual_mono is None


def test_silence_is_counted_in_windows_of_twenty_milliseconds() -> None:
    samples = np.zeros((2, 24_000), np.int16)  # 50 windows of 480
    samples[0, 480 * 10 : 480 * 20] = 32  # -60 dB: silent
    samples[1, 480 * 20] = 33
    samples[0, 480 * 30 - 1] = -33
    samples[0, 480 * 40] = -32768
    silent = silent_windows(samples, 24_000)
    assert np.flatnonzero(~silent).tolist() == [20, 29, 40]
    assert silence_fraction(samples, 24_000) == 47 / 50


def test_the_last_window_holds_what_is_left() -> None:
    samples = np.zeros((1, 961), np.int16)
    samples[0, 960] = 1000
    assert silent_windows(samples, 24_000).tolist() == [True, True, False]


def test_no_sound_is_all_silence() -> None:
    assert silence_fraction(np.zeros((1, 0), np.int16), 24_000) == 1
    assert silence_fraction(np.zeros((4, 5000), np.int16), 24_000) == 1
    assert silence_fraction(np.full((4, 5000), 100, np.int16), 24_000) == 0
