"""Settings of the two parts of a pair view."""

from typing import Literal

from pydantic import Field

from avdata import Spec


class ColorJitterConfig(Spec):
    """Ranges of the color jitter: factors in [max(0, 1 - x), 1 + x], hue shift in [-x, x]."""

    brightness: float = Field(default=0.4, ge=0)
    contrast: float = Field(default=0.4, ge=0)
    saturation: float = Field(default=0.4, ge=0)
    hue: float = Field(default=0.2, ge=0, le=0.5)
    """In turns of the color circle; 0 skips the conversion, the costliest of the four on a CPU."""

    @property
    def reaches(self) -> tuple[float, float, float, float]:
        """In the order of COLOR_OPERATIONS."""
        return self.brightness, self.contrast, self.saturation, self.hue


class VideoViewConfig(Spec):
    """Video clip; the defaults are the paper's (Morgado et al. 2021, section 4.1)."""

    clip_frames: int = Field(default=8, ge=1)
    fps: float = Field(default=16.0, gt=0)
    """Frames are the stored ones nearest to this rate."""
    crop_px: int = Field(default=224, ge=16)
    min_area: float = Field(default=0.08, gt=0, le=1)
    """Smallest share of the picture that a random resized crop shows."""
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    jitter: ColorJitterConfig = ColorJitterConfig()
    max_offset_s: float = Field(default=0.5, ge=0)
    """How far the video clip may lie outside the audio window."""
    crop_on: Literal["auto", "loader", "device"] = "auto"
    """Who crops and resizes: the loader's threads, or the device, which then gets whole frames.
    `auto` is the device on CUDA, unless frames of many sizes would mostly carry padding there."""
    jpeg_decoder: Literal["auto", "cpu", "device"] = "auto"
    """Who decodes JPEGs, where the device crops: `auto` measures both on CUDA when training starts,
    and is the CPU elsewhere. The device's pixels differ a little from the CPU's."""

    @property
    def clip_s(self) -> float:
        return self.clip_frames / self.fps


class SpectrumMaskConfig(Spec):
    """Stretches of time and bands of frequency that are taken out of a spectrogram: SpecAugment.

    Each is as wide as a whole number uniform in [0, max], at a uniform place, and set to the mean.

    Reference: Park et al. 2019, section 2. Its time warping is left out.
    """

    num_time_masks: int = Field(default=0, ge=0)
    max_time_frames: int = Field(default=40, ge=1)
    num_band_masks: int = Field(default=0, ge=0)
    max_band_bins: int = Field(default=27, ge=1)


class AudioViewConfig(Spec):
    """Audio window; the defaults are the paper's (Morgado et al. 2021, section 4.1)."""

    input: Literal["logmel", "spectrogram"] = "logmel"
    """The stored log-mel, or the published log spectrogram made on the device of the sound."""
    window_s: float = Field(default=2.0, gt=0)
    frame_rate_hz: int = Field(default=100, ge=1)
    """Spectrogram frames per second; the published small models take 50."""
    num_bins: Literal[129, 257] = 257
    """Frequency bins of the log spectrogram; the published small models take 129."""
    volume_jitter: float = Field(default=0.1, ge=0, lt=1)
    """Amplitude factor in [1 - x, 1 + x]."""
    masks: SpectrumMaskConfig = SpectrumMaskConfig()
    """None by default: the papers have none."""

    @property
    def num_frames(self) -> int:
        return round(self.window_s * self.frame_rate_hz)
