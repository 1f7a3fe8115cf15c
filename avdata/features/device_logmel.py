"""The stored log-mel for tensors on any device: what the trainer computes from stored sound."""

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor

from avdata.schema import LogMelSpec


def log_mel(waveform: Tensor, spec: LogMelSpec) -> Tensor:
    """Natural logarithm of power, (..., t, f) float32, of a waveform (..., n) in [-1, 1].

    Column t is centered on sample t * hop_samples; edges are reflected; t = n // hop + 1. Equals
    `logmel.stored_log_mel` before that is rounded to float16.

    Raises:
        ValueError: The waveform is too short to reflect.
    """
    if waveform.shape[-1] <= spec.n_fft // 2:
        raise ValueError(
            f"waveform of {waveform.shape[-1]} samples; n_fft={spec.n_fft} needs more than "
            f"{spec.n_fft // 2} to reflect at its edges"
        )
    power: Tensor = _spectrogram(spec, waveform.device.type)(waveform.float())  # (..., f', t)
    if spec.filterbank == "mel":
        power = _mel_scale(spec, waveform.device.type)(power)
    elif spec.filterbank == "avid":
        pairs = (power[..., 1::2, :] + power[..., 2::2, :]) / 2
        power = torch.cat([power[..., :1, :], pairs], dim=-2)
    return power.clamp_min(spec.log_floor).log().transpose(-1, -2)


@lru_cache(maxsize=8)
def _spectrogram(spec: LogMelSpec, device: str) -> torchaudio.transforms.Spectrogram:
    return torchaudio.transforms.Spectrogram(
        n_fft=spec.n_fft,
        win_length=spec.win_samples,
        hop_length=spec.hop_samples,
        window_fn=torch.hann_window,
        power=2.0,
        center=True,
        pad_mode="reflect",
    ).to(device)


@lru_cache(maxsize=8)
def _mel_scale(spec: LogMelSpec, device: str) -> torchaudio.transforms.MelScale:
    return torchaudio.transforms.MelScale(
        n_mels=spec.num_mels,
        sample_rate=spec.sample_rate_hz,
        f_min=spec.fmin_hz,
        f_max=spec.fmax_hz,
        n_stft=spec.n_fft // 2 + 1,
        norm=None,
        mel_scale=spec.mel_scale,
    ).to(device)
