"""Mixtures of clips, made on the device.

Letters: b mixtures (or clips), t video frames, n audio samples, s spectrogram frames, f bins, h w
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from avdata import DatasetSpec, Spec
from avtrain.data.augment.device_crop import crop_frames
from avtrain.data.views.mixture_batch import MixtureBatch
from avtrain.data.views.mixture_config import MixtureViewConfig
from avtrain.errors import DataError
from avtrain.models import SeparationUnetConfig
from avtrain.models.stft import StftSpec, stft

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, UInt8

SOURCE_RMS = 0.1
MIXTURE_RMS = 0.02**0.5
"""Of two sources at `SOURCE_RMS` that have nothing to do with each other."""
GRAY = 128
"""Of parts of a picture that are hidden, as in the released code."""
HIDDEN = GRAY * 2 / 255 - 1
"""The same, as networks take it."""
_RMS_FLOOR = 1e-4
_INT16_MAX = 32767


class SpectrogramConfig(Spec):
    """Spectrogram that the network sees; the defaults are the published ones at 21 kHz."""

    window_samples: int = Field(default=1344, ge=2)
    """64 ms."""
    hop_samples: int = Field(default=336, ge=1)
    """16 ms."""
    fft_samples: int = Field(default=2048, ge=4)
    """The network sees half as many bins."""
    num_frames: int = Field(default=128, ge=1)
    """Frames that the network sees: so many that the u-net can halve them."""

    @property
    def stft(self) -> StftSpec:
        """The transform."""
        return StftSpec(
            window_samples=self.window_samples,
            hop_samples=self.hop_samples,
            fft_samples=self.fft_samples,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeparationInputs:
    """What the networks take, and what they should find."""

    pictures: Tensor
    """float32 (b, 3, t, h, w) in [-1, 1]: of the first source."""
    mixture: Tensor
    """float32 (b, 2, n): as it is heard beside the pictures."""
    spectrum: Tensor
    """complex64 (b, s, f): of the mean of the mixture's channels, frames within the sound."""
    on: Tensor
    """float32 (b, 2, n): the sound of the pictures, as it is in the mixture."""
    off: Tensor
    """float32 (b, 2, n): the other one."""


def waveform_of(sound: Tensor) -> Float[Tensor, "b 2 n"]:
    """Sound, int16 or float in [-1, 1], as float32 in [-1, 1]."""
    waves = sound.float()
    return waves if sound.is_floating_point() else waves / _INT16_MAX


def heard_sound(mixture: Float[Tensor, "b 2 n"], *, mono: bool) -> Float[Tensor, "b 2 n"]:
    """The mixture as the network hears it beside the pictures: with `mono` twice its mean."""
    return mixture.mean(dim=1, keepdim=True).expand_as(mixture) if mono else mixture


def pictures_of(frames: UInt8[Tensor, "b t h w 3"], *, static: bool) -> Float[Tensor, "b 3 t h w"]:
    """Frames as the network takes them, colors in [-1, 1].

    Args:
        frames: As they are stored.
        static: Every frame is the middle one.
    """
    return stand_still(frames.permute(0, 4, 1, 2, 3).float().mul_(2 / 255).sub_(1), static=static)


def cropped_pictures(batch: MixtureBatch, *, static: bool) -> Float[Tensor, "b 3 t h w"]:
    """The same of a batch on the device, which crops what the loader did not."""
    frames = batch.frames
    assert isinstance(frames, Tensor)
    if batch.crops is None:
        pictures = pictures_of(frames, static=static)
    else:
        cut = crop_frames(frames, batch.crops, side_px=batch.crop_px)  # in [0, 1]
        pictures = stand_still(cut.mul_(2).sub_(1).transpose(1, 2), static=static)
    return pictures if batch.part is None else squeezed(pictures, batch.part)


def squeezed(
    pictures: Float[Tensor, "b 3 t h w"], part: Float[Tensor, "b 4"]
) -> Float[Tensor, "b 3 t h w"]:
    """Pictures of the same size that show each clip in a part of them, and gray around it.

    Args:
        pictures: In [-1, 1].
        part: As in `MixtureBatch`.
    """
    left, top, right, bottom = part.unbind(dim=1)
    zero = torch.zeros_like(left)
    # from places in the new picture to those in the old one, both from -1 to 1
    wide, high = 1 / (right - left), 1 / (bottom - top)
    across = torch.stack([wide, zero, wide * (1 - left - right)], dim=1)
    down = torch.stack([zero, high, high * (1 - top - bottom)], dim=1)
    images = pictures.flatten(1, 2)  # of every frame and color
    grid = F.affine_grid(
        torch.stack([across, down], dim=1), list(images.shape), align_corners=False
    )
    # what lies outside is 0
    moved = F.grid_sample(images - HIDDEN, grid, align_corners=False) + HIDDEN
    return moved.view_as(pictures)


def stand_still(
    pictures: Float[Tensor, "b 3 t h w"], *, static: bool
) -> Float[Tensor, "b 3 t h w"]:
    """The pictures, or the middle one in the place of each."""
    if not static:
        return pictures
    middle = pictures.shape[2] // 2
    return pictures[:, :, middle : middle + 1].expand_as(pictures)


def level_factor(sound: Float[Tensor, "b c n"], *, rms: float) -> Float[Tensor, "b c 1"]:
    """What each channel is multiplied with to have the level `rms`; near-silence stays faint.

    Reference: released code of Owens and Efros 2018 (levels below 1e-4 count as 1e-4).
    """
    level = sound.square().mean(dim=-1, keepdim=True).sqrt()
    return rms / level.clamp(min=_RMS_FLOOR)


def spectrum_frames(
    sound: Float[Tensor, "b n"], spectrogram: SpectrogramConfig
) -> Complex[Tensor, "b s f"]:
    """Spectrum of the frames that the network sees: the first ones that lie within the sound."""
    spec = spectrogram.stft
    start = spec.first_whole
    return stft(sound, spec)[..., start : start + spectrogram.num_frames, :]


def sounds_to_mix(
    batch: MixtureBatch, *, both_ways: bool
) -> tuple[Float[Tensor, "b 2 n"], Float[Tensor, "b 2 n"]]:
    """Sounds of clips at equal level, and what is laid over them.

    That is the sound of the clip half a batch further on, or one without pictures where the batch
    has one. A clip that is alone in its batch, since others could not be read, is mixed with
    silence.

    Args:
        batch: On the device.
        both_ways: Each clip is the first source of one mixture. Otherwise only those of the first
            half are: without pictures it does not matter who is first.

    Reference: Owens and Efros 2018, section 5, and the released code.
    """
    sound = equal_level(batch.sound) * batch.gain[:, None, None]
    half = len(sound) // 2
    other = sound.roll(-half, dims=0) if half else torch.zeros_like(sound)
    if batch.other.shape[-1]:
        other = torch.where(batch.has_other[:, None, None], equal_level(batch.other), other)
    return (sound, other) if both_ways or not half else (sound[:half], other[:half])


def equal_level(sound: Tensor) -> Float[Tensor, "b 2 n"]:
    """Sound, int16 or float, as each channel has the level of a source."""
    waves = waveform_of(sound)
    return waves * level_factor(waves, rms=SOURCE_RMS)


def check_unet_sizes(spectrogram: SpectrogramConfig, unet: SeparationUnetConfig) -> None:
    """Refuse a spectrogram that the u-net cannot halve as often as it has levels.

    Raises:
        ValueError: Frames or bins are no multiple.
    """
    rest = spectrogram.num_frames % unet.frame_multiple
    if rest:
        below = spectrogram.num_frames - rest
        sizes = f"{below} or {below + unet.frame_multiple}" if below else unet.frame_multiple
        raise ValueError(
            f"spectrogram.num_frames={spectrogram.num_frames} is no multiple of "
            f"{unet.frame_multiple}, as unet.num_levels={unet.num_levels} needs; set {sizes}"
        )
    num_bins = spectrogram.stft.num_bins - 1
    if num_bins % unet.bin_multiple:
        raise ValueError(
            f"spectrogram.fft_samples={spectrogram.fft_samples} gives {num_bins} bins, "
            f"unet.num_levels={unet.num_levels} needs a multiple of {unet.bin_multiple}; set "
            f"fft_samples to a multiple of {2 * unet.bin_multiple}"
        )


def check_mixture_data(
    view: MixtureViewConfig, spectrogram: SpectrogramConfig, spec: DatasetSpec, *, where: str
) -> None:
    """Refuse a shard set with pictures and sound that cannot give the view's clips.

    Raises:
        DataError: Layout, frame rate or sample rate do not fit.
    """
    assert spec.audio is not None and spec.video is not None
    if spec.audio.layout == "foa":
        raise DataError(
            f"method 'separation' needs mono or stereo sound, {where} has layout 'foa'; build it "
            "again with --set audio.layout=stereo"
        )
    if spec.video.fps != "native" and view.fps > 1.02 * spec.video.fps:
        raise DataError(
            f"method 'separation' was to see {view.fps:g} frames a second, {where} has "
            f"{spec.video.fps:g}; set separation.view.fps={spec.video.fps:g} with a fitting "
            f"separation.view.clip_frames, or build it again with --set video.fps={view.fps:g}"
        )
    rate_hz, transform = spec.audio.sample_rate_hz, spectrogram.stft
    num_samples = view.num_samples(rate_hz)
    seen = transform.num_whole_frames(num_samples)
    if seen < spectrogram.num_frames:
        needed = transform.num_samples(spectrogram.num_frames)
        raise DataError(
            f"a clip of separation.view.clip_frames={view.clip_frames} at {view.fps:g} fps has "
            f"{num_samples} sound samples at the {rate_hz} Hz of {where}, which are {seen} "
            f"spectrogram frames; separation.spectrogram.num_frames={spectrogram.num_frames} needs "
            f"{needed} samples: set clip_frames to {-(-needed * view.fps // rate_hz):.0f}, or a "
            "shorter window and hop"
        )
