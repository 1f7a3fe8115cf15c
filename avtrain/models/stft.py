"""Short-time Fourier transform with its exact inverse, and the form in which networks see it.

Letters: n audio samples, s spectrogram frames, f frequency bins.

The published frames are those that lie within the sound. A few more hang over its ends, where
silence continues it: so every sample is under windows that add up, and the inverse is exact to the
last one. Their number before the first published frame is `first_whole`::

    sound                0 |-----------------------------------------| n
    frame 0      |---- win ----|
    frame 1            |---- win ----|              hop from one frame to the next
    first_whole            |---- win ----|                               |---- win ----| last
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

_MAGNITUDE_FLOOR = 1e-5
_FLOOR_DB = -100.0
_RANGE_DB = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StftSpec:
    """Lengths in samples; the defaults are 64 ms, 16 ms and 2048 points at 21 kHz.

    Reference: Owens and Efros 2018, section 5, and the released code.
    """

    window_samples: int = 1344
    """Length of the periodic Hann window."""
    hop_samples: int = 336
    fft_samples: int = 2048
    """The windowed sound is followed by zeros up to this length."""

    def __post_init__(self) -> None:
        if self.window_samples % 2 or not 1 <= self.hop_samples <= self.window_samples // 2:
            raise ValueError(
                f"{self.window_samples=} must be even and {self.hop_samples=} at most its half: "
                "every sample is under two windows"
            )
        if self.fft_samples < self.window_samples or self.fft_samples % 2:
            raise ValueError(
                f"{self.fft_samples=} must be even and at least {self.window_samples=}"
            )

    @property
    def num_bins(self) -> int:
        """Frequencies from 0 to half the sample rate."""
        return self.fft_samples // 2 + 1

    @property
    def first_whole(self) -> int:
        """Number of the first frame that lies within the sound, at its very start."""
        return -(-self.window_samples // 2 // self.hop_samples)

    @property
    def lead_samples(self) -> int:
        """How far the first frame hangs over the start of the sound: half a window or more."""
        return self.first_whole * self.hop_samples

    def num_frames(self, num_samples: int) -> int:
        """Frames that `stft` makes of so many samples: until one is centered behind the last."""
        distance = num_samples + self.lead_samples - self.window_samples // 2
        return -(-distance // self.hop_samples) + 1

    def num_whole_frames(self, num_samples: int) -> int:
        """Of these, those that lie within the sound: what the published transform makes."""
        return max((num_samples - self.window_samples) // self.hop_samples + 1, 0)

    def num_samples(self, num_whole_frames: int) -> int:
        """The fewest samples with so many frames within."""
        return (num_whole_frames - 1) * self.hop_samples + self.window_samples

    def window(self, like: Tensor) -> Float[Tensor, " win"]:
        """Periodic Hann window, in the float type and on the device of `like`."""
        return torch.hann_window(
            self.window_samples, periodic=True, dtype=like.dtype, device=like.device
        )


def stft(sound: Float[Tensor, "... n"], spec: StftSpec) -> Complex[Tensor, "... s f"]:
    """Spectrum of every frame; phases are relative to the first sample of its window.

    Raises:
        ValueError: There are no samples.
    """
    num_samples = sound.shape[-1]
    if num_samples < 1:
        raise ValueError("the transform needs at least one sample, got none")
    length = (spec.num_frames(num_samples) - 1) * spec.hop_samples + spec.window_samples
    padded = F.pad(sound, (spec.lead_samples, length - spec.lead_samples - num_samples))
    frames = padded.unfold(-1, spec.window_samples, spec.hop_samples)
    spectrum: Tensor = torch.fft.rfft(frames * spec.window(sound), n=spec.fft_samples)
    return spectrum


def istft(
    spectrum: Complex[Tensor, "... s f"],
    spec: StftSpec,
    *,
    num_samples: int,
    dual_window: bool = True,
) -> Float[Tensor, "... n"]:
    """The sound of a spectrum: of all sounds the one whose transform is nearest to it.

    Args:
        spectrum: As `stft` gives it, of `num_samples` samples.
        spec: The same as there.
        num_samples: Length of the sound.
        dual_window: Divide by the sum of squared windows. The released code does not, and its
            sounds are 1.5 times as loud as they should be, with tapered ends.

    Raises:
        ValueError: The spectrum has another size than `stft` gives.

    Reference: Griffin and Lim 1984, eq. 6.
    """
    expected = (spec.num_frames(num_samples), spec.num_bins)
    if spectrum.shape[-2:] != expected:
        raise ValueError(
            f"a spectrum of {tuple(spectrum.shape[-2:])} frames and bins is not that of "
            f"{num_samples} samples, which has {expected}"
        )
    frames = torch.fft.irfft(spectrum, n=spec.fft_samples)[..., : spec.window_samples]
    window = spec.window(frames)
    sound = _overlap_add(frames * window, spec.hop_samples)
    if dual_window:
        squares = window.square().expand(expected[0], -1)
        sound = sound / _overlap_add(squares, spec.hop_samples).clamp(min=1e-8)
    return sound[..., spec.lead_samples : spec.lead_samples + num_samples]


def _overlap_add(frames: Float[Tensor, "... s win"], hop: int) -> Float[Tensor, "... n"]:
    """Sum of the frames, each `hop` samples after the one before, and up to a hop of zeros."""
    num_frames, length = frames.shape[-2:]
    pieces = -(-length // hop)
    padded = F.pad(frames, (0, pieces * hop - length))
    cut = padded.reshape(*padded.shape[:-1], pieces, hop)
    out = frames.new_zeros(*frames.shape[:-2], num_frames + pieces - 1, hop)
    for piece in range(pieces):
        out[..., piece : piece + num_frames, :] += cut[..., piece, :]
    return out.flatten(-2)


def normalized_magnitude(magnitude: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Decibels from -100 to 80 as numbers from -1 to 1; what is below 1e-5 is -1.

    Reference: released code of Owens and Efros 2018: 20 log10 max(1e-5, |X|), no reference level.
    """
    decibels = 20 * magnitude.clamp(min=_MAGNITUDE_FLOOR).log10()
    return 2 * (decibels - _FLOOR_DB) / _RANGE_DB - 1


def magnitude_of(normalized: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The inverse of `normalized_magnitude`."""
    decibels = (normalized + 1) / 2 * _RANGE_DB + _FLOOR_DB
    return torch.exp(decibels * (math.log(10) / 20))


def network_form(spectrum: Complex[Tensor, "... s f"]) -> Float[Tensor, "... 2 s f-1"]:
    """What the u-net takes and gives: normalized magnitude, and phase / pi.

    Both are in [-1, 1] for sounds up to 80 dB; the last bin is left out.
    """
    kept = spectrum[..., :-1]
    return torch.stack([normalized_magnitude(kept.abs()), kept.angle() / math.pi], dim=-3)


def spectrum_of(
    form: Float[Tensor, "... 2 s f-1"], *, last_bin_phase: Float[Tensor, "... s"]
) -> Complex[Tensor, "... s f"]:
    """The inverse of `network_form`; the last bin is -100 dB with a given phase, in radians.

    Reference: released code of Owens and Efros 2018.
    """
    magnitude, phase = form.unbind(dim=-3)
    kept = torch.polar(magnitude_of(magnitude), math.pi * phase)
    last = torch.polar(torch.full_like(last_bin_phase, _MAGNITUDE_FLOOR), last_bin_phase)
    return torch.cat([kept, last[..., None]], dim=-1)
