"""The transform and its inverse against scipy, the published framing and known sounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avtrain.models.stft import (
    StftSpec,
    istft,
    magnitude_of,
    network_form,
    normalized_magnitude,
    spectrum_of,
    stft,
)

PUBLISHED = StftSpec()
SMALL = StftSpec(window_samples=64, hop_samples=16, fft_samples=128)


@pytest.mark.parametrize("num_samples", [1, 2, 335, 336, 337, 1343, 1344, 44_016, 44_144, 87_588])
def test_round_trip_for_any_length(num_samples: int) -> None:
    sound = torch.randn(2, num_samples, generator=torch.Generator().manual_seed(num_samples))
    back = istft(stft(sound, PUBLISHED), PUBLISHED, num_samples=num_samples)
    assert back.shape == sound.shape
    assert (back - sound).abs().max() < 1e-5


@settings(max_examples=30, deadline=None)
@given(half=st.integers(1, 60), part=st.floats(0.02, 1), num_samples=st.integers(1, 500))
def test_round_trip_for_any_window(half: int, part: float, num_samples: int) -> None:
    spec = StftSpec(
        window_samples=2 * half, hop_samples=max(1, int(part * half)), fft_samples=4 * half
    )
    sound = torch.randn(num_samples, generator=torch.Generator().manual_seed(1)).double()
    back = istft(stft(sound, spec), spec, num_samples=num_samples)
    assert (back - sound).abs().max() < 1e-9


def test_equals_scipy() -> None:
    sound = np.random.default_rng(0).normal(size=4000)
    ours = stft(torch.from_numpy(sound), PUBLISHED).numpy()
    window = scipy.signal.get_window("hann", 1344)  # periodic
    for frame in (0, 1, 5, len(ours) - 1):
        start = frame * 336 - 672
        cut = np.array([sound[i] if 0 <= i < 4000 else 0.0 for i in range(start, start + 1344)])
        np.testing.assert_allclose(ours[frame], np.fft.rfft(cut * window, 2048), atol=1e-10)


def test_published_clip() -> None:
    """Section 4.2 of the specification: 128 frames of 1025 bins of a clip of 44,144 samples."""
    assert PUBLISHED.num_whole_frames(44_144) == 128
    assert PUBLISHED.num_samples(128) == 44_016
    assert PUBLISHED.num_bins == 1025
    assert PUBLISHED.num_whole_frames(100) == 0
    # the large model: 40 ms windows every 16 ms, 256 frames in 4.1 s
    large = StftSpec(window_samples=840, hop_samples=336, fft_samples=1024)
    assert (large.num_bins, large.num_whole_frames(round(21_000 * 4.1))) == (513, 254)
    sound = torch.randn(44_144, generator=torch.Generator().manual_seed(0))
    whole = stft(sound, PUBLISHED)[PUBLISHED.first_whole :][:128]
    # the published transform: frames from the first sample on, no padding
    frames = sound.unfold(0, 1344, 336)
    assert len(frames) == 128
    expected = torch.fft.rfft(frames * torch.hann_window(1344), n=2048)
    torch.testing.assert_close(whole, expected)


def test_legacy_gain_is_one_and_a_half() -> None:
    sound = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    loud = istft(stft(sound, PUBLISHED), PUBLISHED, num_samples=10_000, dual_window=False)
    inside = slice(1344, -1344)
    torch.testing.assert_close(loud[inside], 1.5 * sound[inside], rtol=0, atol=1e-5)
    assert loud[0].abs() < 1.3 * sound[0].abs()  # the ends are tapered


def test_the_inverse_is_the_nearest_sound() -> None:
    """Least squares: no small change of the sound brings its spectrum nearer."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn((20, 64), generator=generator)  # of no sound: they contradict each other
    spectrum = torch.fft.rfft(frames, n=128)
    assert spectrum.shape == stft(torch.zeros(300), SMALL).shape
    best = istft(spectrum, SMALL, num_samples=300)

    def distance(sound: torch.Tensor) -> float:
        return float(torch.fft.irfft(stft(sound, SMALL) - spectrum, n=128).square().sum())

    for seed in range(5):
        step = torch.randn(300, generator=torch.Generator().manual_seed(seed))
        assert distance(best) < distance(best + 0.01 * step)
        assert distance(best) < distance(best - 0.01 * step)


def test_decibels() -> None:
    magnitude = torch.tensor([0.0, 1e-6, 1e-5, 1.0, 1e4], dtype=torch.float64)
    expected = [-1.0, -1.0, -1.0, 2 * 100 / 180 - 1, 1.0]
    normalized = normalized_magnitude(magnitude)
    torch.testing.assert_close(normalized, torch.tensor(expected, dtype=torch.float64))
    back = magnitude_of(normalized)
    torch.testing.assert_close(back, magnitude.clamp(min=1e-5), rtol=1e-9, atol=0)


def test_network_form_and_back() -> None:
    sound = torch.randn(2, 3, 2000, generator=torch.Generator().manual_seed(0)).double()
    spectrum = stft(sound, SMALL)
    form = network_form(spectrum)
    assert form.shape == (2, 3, 2, SMALL.num_frames(2000), 64)
    assert form.abs().max() <= 1
    back = spectrum_of(form, last_bin_phase=spectrum[..., -1].angle())
    assert back.shape == spectrum.shape
    torch.testing.assert_close(back[..., :-1], spectrum[..., :-1])
    torch.testing.assert_close(
        20 * back[..., -1].abs().log10(), torch.full(back.shape[:-1], -100.0).double()
    )


def test_a_tone_has_its_level_and_phase() -> None:
    """A sine of amplitude a under a Hann window of length w is a peak of a * w / 4."""
    rate, bin_number = 21_000, 64
    times = torch.arange(20_000).double() / rate
    tone = 0.5 * torch.cos(2 * math.pi * bin_number * rate / 2048 * times)
    frame = stft(tone, PUBLISHED)[10]
    assert frame.abs().argmax() == bin_number
    assert float(frame[bin_number].abs()) == pytest.approx(0.5 * 1344 / 4, rel=1e-3)
    first_sample = 10 * 336 - 672
    expected = 2 * math.pi * bin_number * first_sample / 2048
    difference = (float(frame[bin_number].angle()) - expected + math.pi) % (2 * math.pi) - math.pi
    assert abs(difference) < 1e-2


@pytest.mark.parametrize(
    ("settings_", "text"),
    [
        ({"window_samples": 1343}, "window_samples=1343 must be even and .*hop_samples=336"),
        ({"hop_samples": 673}, "hop_samples=673 at most its half"),
        ({"hop_samples": 0}, "hop_samples=0 at most its half"),
        ({"fft_samples": 1024}, r"fft_samples=1024 must be even and at least .*=1344"),
    ],
)
def test_wrong_lengths(settings_: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        StftSpec(**settings_)


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="at least one sample, got none"):
        stft(torch.zeros(2, 0), SMALL)
    with pytest.raises(ValueError, match=r"of \(8, 65\) frames and bins is not that of 300"):
        istft(stft(torch.zeros(100), SMALL), SMALL, num_samples=300)
