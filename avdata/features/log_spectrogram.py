"""The log power spectrogram of the published audio-visual instance discrimination models.

Letters: b batch, n audio samples, s spectrogram frames, f frequency bins.
"""

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor

from avdata.schema import Spec


class LogSpectrogramSpec(Spec):
    """How a waveform becomes a log power spectrogram; the defaults are the published full models.

    Reference: Morgado et al. 2021, section 4.1, and the released configurations.
    """

    sample_rate_hz: int = Field(default=24000, ge=4000, le=192000)
    n_fft: int = Field(default=1024, ge=4, multiple_of=4)
    """Length of the FFT and of its periodic Hann window; 512 for the published small models."""
    hop_samples: int = Field(default=240, ge=1)
    """Distance between frames; frame 0 is centered on sample 0, edges are reflected."""
    num_frames: int = Field(default=200, ge=1)
    """Frames that are kept, from the first on."""
    power_floor: float = Field(default=1e-10, gt=0)
    dynamic_range_db: float = Field(default=100.0, gt=0)
    """Lower values are raised to this far below the loudest of the clip."""

    @model_validator(mode="after")
    def _consistent(self) -> "LogSpectrogramSpec":
        if self.hop_samples * self.num_frames <= self.n_fft // 2:
            raise ValueError(
                f"hop_samples={self.hop_samples} times num_frames={self.num_frames} must exceed "
                f"half of n_fft={self.n_fft}: edges are reflected"
            )
        return self

    @property
    def num_bins(self) -> int:
        """Frequency bins: bin 0, and the means of the pairs (1, 2), (3, 4) ..."""
        return self.n_fft // 4 + 1

    @property
    def num_samples(self) -> int:
        """Length of the waveform of one clip."""
        return self.hop_samples * self.num_frames


def log_spectrogram(waveform: Tensor, *, spec: LogSpectrogramSpec) -> Tensor:
    """Power in decibels, clipped from below for each clip.

    Args:
        waveform: float (b, n) in [-1, 1] at `spec.sample_rate_hz`, n == spec.num_samples.

    Returns:
        float32 (b, s, f) with s = spec.num_frames, f = spec.num_bins.

    Raises:
        ValueError: The waveform has another length.
    """
    if waveform.ndim != 2 or waveform.shape[1] != spec.num_samples:
        raise ValueError(
            f"waveform is {tuple(waveform.shape)}, expected (b, {spec.num_samples}): "
            f"{spec.num_frames} frames of {spec.hop_samples} samples"
        )
    window = torch.hann_window(spec.n_fft, device=waveform.device)
    spectrum = torch.stft(
        waveform.float(),
        spec.n_fft,
        hop_length=spec.hop_samples,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )[:, :, : spec.num_frames]
    power = torch.view_as_real(spectrum).square().sum(dim=-1).transpose(1, 2)  # (b, s, f')
    pairs = (power[:, :, 1::2] + power[:, :, 2::2]) / 2
    power = torch.cat([power[:, :, :1], pairs], dim=2)
    decibels = 10 * torch.log10(power.clamp(min=spec.power_floor))
    return _raise_to_range(decibels, spec.dynamic_range_db)


def limit_range(logmel: Tensor, *, dynamic_range_db: float = 100.0) -> Tensor:
    """Windows of a stored log-mel (b, s, f) with the floor that depends on the window.

    With this, a window of a set that was built with `logmel.preset=avid` is `log_spectrogram` of
    that window in natural logarithms (times 10 / ln 10: in decibels), but for what is stored in
    float16 and for the frames whose FFT reaches over the window's edges: they hold the sound
    beyond, not a reflection.
    """
    return _raise_to_range(logmel.float(), dynamic_range_db * math.log(10) / 10)


def _raise_to_range(log: Tensor, dynamic_range: float) -> Tensor:
    loudest = log.amax(dim=(1, 2), keepdim=True)
    return torch.maximum(log, loudest - dynamic_range)
