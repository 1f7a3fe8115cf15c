"""The published log spectrogram against a naive one in float64, and known answers."""

import numpy as np
import pytest
import torch

from avdata.features.log_spectrogram import LogSpectrogramSpec, log_spectrogram


def naive(waveform: np.ndarray, spec: LogSpectrogramSpec) -> np.ndarray:
    """One clip (n,), frame by frame and bin by bin, in float64."""
    half = spec.n_fft // 2
    padded = np.pad(waveform.astype(np.float64), half, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.n_fft) / spec.n_fft)
    rows = []
    for frame in range(spec.num_frames):
        start = frame * spec.hop_samples
        power = np.abs(np.fft.rfft(padded[start : start + spec.n_fft] * window)) ** 2
        bins = [power[0]]
        bins += [(power[i] + power[i + 1]) / 2 for i in range(1, half, 2)]
        rows.append(bins)
    decibels = 10 * np.log10(np.maximum(rows, spec.power_floor))
    return np.maximum(decibels, decibels.max() - spec.dynamic_range_db)


@pytest.mark.parametrize(("n_fft", "hop", "num_frames"), [(1024, 240, 200), (512, 480, 100)])
def test_equals_the_naive_one(n_fft: int, hop: int, num_frames: int) -> None:
    spec = LogSpectrogramSpec(n_fft=n_fft, hop_samples=hop, num_frames=num_frames)
    rng = np.random.default_rng(0)
    loud = rng.normal(0, 0.2, spec.num_samples)
    fading = np.sin(np.arange(spec.num_samples) * 0.3) * np.linspace(1, 0, spec.num_samples) ** 8
    got = log_spectrogram(torch.tensor(np.stack([loud, fading])), spec=spec)
    assert got.shape == (2, num_frames, spec.num_bins)
    assert got.dtype == torch.float32
    want = np.stack([naive(loud, spec), naive(fading, spec)])
    # float32 FFT: its rounding shows in bins that are 90 dB below their frame's loudest
    audible = want > want.max(axis=2, keepdims=True) - 80
    np.testing.assert_allclose(got.numpy()[audible], want[audible], atol=0.02)
    assert audible.mean() > 0.5


def test_the_published_models_see_257_and_129_bins() -> None:
    assert LogSpectrogramSpec().num_bins == 257
    assert LogSpectrogramSpec().num_samples == 48000
    assert LogSpectrogramSpec(n_fft=512, hop_samples=480, num_frames=100).num_bins == 129


def test_a_tone_peaks_in_its_bin_and_silence_is_flat() -> None:
    spec = LogSpectrogramSpec()
    time = torch.arange(spec.num_samples) / spec.sample_rate_hz
    tone = torch.sin(2 * torch.pi * 3000 * time)  # FFT bin 128: second of the pair (127, 128)
    clips = log_spectrogram(torch.stack([tone, torch.zeros_like(tone)]), spec=spec)
    assert (clips[0, 3:-3].argmax(dim=1) == 64).all()  # the reflected edges hold a kink
    assert clips[0].max() - clips[0].min() <= 100.001
    assert (clips[1] == -100).all()


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"waveform is \(1, 100\), expected \(b, 48000\)"):
        log_spectrogram(torch.zeros(1, 100), spec=LogSpectrogramSpec())


def test_windows_longer_than_the_clip_are_refused() -> None:
    with pytest.raises(ValueError, match="must exceed half of n_fft"):
        LogSpectrogramSpec(num_frames=2)
