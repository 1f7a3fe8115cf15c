"""Sounds made of what the network says of a mixture.

Letters: b mixtures, n audio samples, s spectrogram frames, f bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from avtrain.methods.separation_inputs import SpectrogramConfig, spectrum_frames
from avtrain.models.stft import istft, stft

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

SoundForm = Literal["shared-masks", "ratio-masks", "predicted-phase"]

_MAGNITUDE_FLOOR = 1e-8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeparatedSound:
    """The two parts of a mixture, float32 (b, 2, n), at its level."""

    on: Tensor
    """What belongs to the picture."""
    off: Tensor
    """The rest."""

    def __repr__(self) -> str:
        return f"SeparatedSound({tuple(self.on.shape)})"


def sound_of(
    mixture: Float[Tensor, "b 2 n"],
    on: Complex[Tensor, "b s f"],
    off: Complex[Tensor, "b s f"],
    *,
    spectrogram: SpectrogramConfig,
    form: SoundForm,
) -> SeparatedSound:
    """Sounds of the two predicted spectra of a mixture, as long as it is.

    Frames that hang over an end of the sound, which the network does not see, get the mask of the
    nearest frame that it does see.

    Args:
        mixture: At the level that the network saw.
        on: Predicted spectrum of the one source.
        off: That of the other.
        spectrogram: How the mixture's, that the network saw, was made.
        form: `shared-masks` gives each channel of the mixture, with its own phases, to the two in
            the proportion of their magnitudes, so that they add up to it; `ratio-masks` scales it
            by predicted over mixed magnitude, at most 1; `predicted-phase` is as published: both
            channels are the sound of the predicted spectrum.
    """
    spec, num_samples = spectrogram.stft, mixture.shape[-1]
    on_magnitude, off_magnitude = on[..., :-1].abs(), off[..., :-1].abs()
    if form == "shared-masks":
        total = (on_magnitude + off_magnitude).clamp(min=_MAGNITUDE_FLOOR)
        masks = (on_magnitude / total, off_magnitude / total)
    else:
        mixed = spectrum_frames(mixture.mean(dim=1), spectrogram)[..., :-1].abs()
        mixed = mixed.clamp(min=_MAGNITUDE_FLOOR)
        masks = ((on_magnitude / mixed).clamp(max=1), (off_magnitude / mixed).clamp(max=1))
    everywhere = [_over_all_frames(mask, spectrogram, num_samples) for mask in masks]
    if form == "predicted-phase":
        mixed = stft(mixture.mean(dim=1), spec)
        spectra = [
            _with_frames(mixed * mask, found, first=spec.first_whole)[:, None].expand(-1, 2, -1, -1)
            for mask, found in zip(everywhere, (on, off), strict=True)
        ]
    else:
        mixed = stft(mixture, spec)
        spectra = [mixed * mask[:, None] for mask in everywhere]
    sounds = [istft(spectrum, spec, num_samples=num_samples) for spectrum in spectra]
    return SeparatedSound(on=sounds[0], off=sounds[1])


def _over_all_frames(
    mask: Float[Tensor, "b s f-1"], spectrogram: SpectrogramConfig, num_samples: int
) -> Float[Tensor, "b s f"]:
    """The mask with its first and last frames repeated, and its last bin repeated."""
    spec = spectrogram.stft
    frame = torch.arange(spec.num_frames(num_samples), device=mask.device) - spec.first_whole
    mask = mask[:, frame.clamp(min=0, max=mask.shape[1] - 1)]
    return torch.cat([mask, mask[..., -1:]], dim=-1)


def _with_frames(
    spectrum: Complex[Tensor, "b s f"], found: Complex[Tensor, "b s f"], *, first: int
) -> Complex[Tensor, "b s f"]:
    """The spectrum with the frames from `first` on replaced by those that were found."""
    after = spectrum[:, first + found.shape[1] :]
    return torch.cat([spectrum[:, :first], found, after], dim=1)
