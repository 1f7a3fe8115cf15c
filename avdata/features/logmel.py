"""The stored log-mel: one definition for the builder on CPU and the trainer on the device."""

from functools import lru_cache

import numpy as np
import torch
import torchaudio
from torch import Tensor

from avdata.schema import LogMelSpec


def log_mel(waveform: Tensor, spec: LogMelSpec) -> Tensor:
    """Natural logarithm of mel power, (..., t, f) float32, of a waveform (..., n) in [-1, 1].

    Column t is centered on sample t * hop_samples; edges are reflected; t = n // hop + 1.

    Raises:
        ValueError: The waveform is too short to reflect.
    """
    if waveform.shape[-1] <= spec.n_fft // 2:
        raise ValueError(
            f"waveform of {waveform.shape[-1]} samples; n_fft={spec.n_fft} needs more than "
            f"{spec.n_fft // 2} to reflect at its edges"
        )
    mel: Tensor = _transform(spec, waveform.device.type)(waveform.float())
    log: Tensor = mel.clamp_min(spec.log_floor).log()
    return log.transpose(-1, -2)


def stored_log_mel(samples: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Log-mel as it is stored, float16 (c, t, f), of stored sound: int16 (c, n)."""
    waveform = torch.from_numpy(samples.astype(np.float32) / 32768)
    return log_mel(waveform, spec).to(torch.float16).numpy()


def use_one_thread() -> None:
    """Keep torch to one thread in this process: two change the last bits of stored values."""
    torch.set_num_threads(1)


@lru_cache(maxsize=8)
def _transform(spec: LogMelSpec, device: str) -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        win_length=spec.win_samples,
        hop_length=spec.hop_samples,
        f_min=spec.fmin_hz,
        f_max=spec.fmax_hz,
        n_mels=spec.num_mels,
        window_fn=torch.hann_window,
        power=2.0,
        center=True,
        pad_mode="reflect",
        norm=None,
        mel_scale=spec.mel_scale,
    ).to(device)
