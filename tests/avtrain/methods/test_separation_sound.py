"""From spectrograms to sounds: exact where the answer is known, at the level of the mixture."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.data.views.mixture_batch import MixtureBatch
from avtrain.evaluate.separation_metrics import si_sdr
from avtrain.methods.separation_inputs import (
    HIDDEN,
    MIXTURE_RMS,
    SOURCE_RMS,
    SpectrogramConfig,
    equal_level,
    heard_sound,
    level_factor,
    pictures_of,
    sounds_to_mix,
    spectrum_frames,
    squeezed,
    waveform_of,
)
from avtrain.methods.separation_sound import SoundForm, sound_of

SMALL = SpectrogramConfig(window_samples=256, hop_samples=64, fft_samples=256, num_frames=40)
FORMS: tuple[SoundForm, ...] = ("shared-masks", "ratio-masks", "predicted-phase")


def _noise(seed: int, *shape: int) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _tones(*hz: float, num_samples: int) -> Tensor:
    """(1, 2, n): sines, louder on the left."""
    times = torch.arange(num_samples) / 8000
    sound = sum(torch.sin(2 * math.pi * f * times + f) for f in hz)
    assert isinstance(sound, Tensor)
    return torch.stack([sound, 0.5 * sound])[None] * 0.1


@pytest.mark.parametrize("num_samples", [2752, 2816, 3000, 3333])
@pytest.mark.parametrize("form", FORMS)
def test_all_of_the_mixture_comes_back(form: SoundForm, num_samples: int) -> None:
    """Spectra of the mixture and of nothing: the mixture, to its last sample, and silence."""
    mixture = _noise(0, 2, 2, num_samples)
    if form == "predicted-phase":  # knows of one channel only
        mixture = mixture.mean(dim=1, keepdim=True).expand(-1, 2, -1)
    spectrum = spectrum_frames(mixture.mean(dim=1), SMALL)
    found = sound_of(mixture, spectrum, spectrum * 0, spectrogram=SMALL, form=form)
    assert found.on.shape == mixture.shape
    assert (found.on - mixture).abs().max() < 1e-4
    assert found.off.abs().max() < 1e-5
    assert repr(found) == f"SeparatedSound((2, 2, {num_samples}))"


@pytest.mark.parametrize("form", FORMS)
def test_true_spectra_give_the_sources(form: SoundForm) -> None:
    on, off = (_tones(*hz, num_samples=3000) for hz in ((440.0, 1000.0), (700.0, 2500.0)))
    spectra = [spectrum_frames(sound.mean(dim=1), SMALL) for sound in (on, off)]
    found = sound_of(on + off, *spectra, spectrogram=SMALL, form=form)
    inside = slice(256, -256)
    for ours, real in ((found.on, on), (found.off, off)):
        if form == "predicted-phase":  # both channels are the sound of the mean
            real = real.mean(dim=1, keepdim=True).expand(-1, 2, -1)
        assert si_sdr(ours[..., inside], real[..., inside]).min() > 15
        # the level and the side are those in the mixture
        levels = [x[0, :, inside].square().mean(dim=1).sqrt() for x in (ours, real)]
        torch.testing.assert_close(*levels, rtol=0.1, atol=0)


def test_shared_masks_add_up_to_the_mixture() -> None:
    mixture = _noise(1, 2, 2, 3000)
    spectrum = spectrum_frames(mixture.mean(dim=1), SMALL)
    random = [
        spectrum * torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 2)
    ]
    found = sound_of(mixture, *random, spectrogram=SMALL, form="shared-masks")
    torch.testing.assert_close(found.on + found.off, mixture, rtol=0, atol=1e-5)
    scaled = sound_of(mixture, *random, spectrogram=SMALL, form="ratio-masks")
    assert (scaled.on + scaled.off - mixture).abs().max() > 0.01


def test_masks_are_bounded() -> None:
    """A prediction louder than the mixture makes nothing louder."""
    mixture = _noise(2, 1, 2, 3000)
    spectrum = spectrum_frames(mixture.mean(dim=1), SMALL)
    found = sound_of(
        mixture, 1000 * spectrum, 1000 * spectrum, spectrogram=SMALL, form="ratio-masks"
    )
    torch.testing.assert_close(found.on, mixture, rtol=0, atol=1e-4)


def test_levels() -> None:
    sound = _noise(3, 2, 2, 5000) * torch.tensor([3.0, 0.01])[:, None]
    level = sound * level_factor(sound, rms=SOURCE_RMS)
    assert level.square().mean(dim=-1).sqrt().flatten().tolist() == pytest.approx([0.1] * 4)
    faint = torch.full((1, 2, 100), 1e-6)
    assert float((faint * level_factor(faint, rms=0.1)).abs().max()) == pytest.approx(1e-3)
    silent = torch.zeros(1, 2, 100)
    assert (silent * level_factor(silent, rms=0.1)).abs().max() == 0
    assert pytest.approx(0.1414, abs=1e-4) == MIXTURE_RMS


def _batch(
    waves: Tensor, *, gain: Tensor | None = None, other: Tensor | None = None
) -> MixtureBatch:
    num_clips = len(waves)
    return MixtureBatch(
        frames=torch.zeros(num_clips, 1, 2, 2, 3, dtype=torch.uint8),
        crops=None,
        crop_px=2,
        sound=(waves * 32767).short(),
        gain=torch.ones(num_clips) if gain is None else gain,
        source=torch.arange(num_clips),
        other=torch.zeros(num_clips, 2, 0).short() if other is None else (other * 32767).short(),
        has_other=torch.arange(num_clips) % 2 == 1,
    )


@pytest.mark.parametrize("size", [2, 6, 7])
def test_every_clip_is_seen_once_and_heard_once(size: int) -> None:
    batch = _batch(_noise(4, size, 2, 500) * torch.linspace(0.2, 2, size)[:, None, None])
    on, off = sounds_to_mix(batch, both_ways=True)
    level = equal_level(batch.sound)
    assert torch.equal(on, level)
    partners = [(off[i][None] == level).flatten(1).all(dim=1).nonzero().item() for i in range(size)]
    assert sorted(partners) == list(range(size))
    assert partners == [(i + size // 2) % size for i in range(size)]
    if size % 2 == 0:  # swapped: both directions of the same pair
        assert all(partners[partners[i]] == i for i in range(size))
    once, other = sounds_to_mix(batch, both_ways=False)
    assert len(once) == len(other) == size // 2
    assert torch.equal(once, level[: size // 2])


def test_gain_follows_the_level() -> None:
    on, off = sounds_to_mix(
        _batch(_noise(5, 2, 2, 500), gain=torch.tensor([2.0, 0.5])), both_ways=True
    )
    assert float(on[0].square().mean().sqrt()) == pytest.approx(0.2, rel=1e-5)
    assert float(off[0].square().mean().sqrt()) == pytest.approx(0.05, rel=1e-5)


def test_a_clip_alone_is_mixed_with_silence() -> None:
    on, off = sounds_to_mix(_batch(_noise(6, 1, 2, 500)), both_ways=True)
    assert on.abs().sum() > 0
    assert off.abs().sum() == 0


def test_sounds_without_pictures_take_the_place_of_clips() -> None:
    batch = _batch(_noise(7, 4, 2, 500), other=_noise(8, 4, 2, 500))
    on, off = sounds_to_mix(batch, both_ways=True)
    level, other = equal_level(batch.sound), equal_level(batch.other)
    assert torch.equal(on, level)
    assert torch.equal(off[1::2], other[1::2])  # as has_other says
    assert torch.equal(off[0], level[2]) and torch.equal(off[2], level[0])


def test_a_clip_is_squeezed_into_a_part_of_its_picture() -> None:
    pictures = torch.rand((4, 3, 2, 24, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1
    parts = [(0, 0, 1, 1), (0.5, 0, 1, 1), (0, 0, 0.5, 1), (0.25, 0.25, 0.75, 0.75)]
    found = squeezed(pictures, torch.tensor(parts))
    assert found.shape == pictures.shape
    torch.testing.assert_close(found[0], pictures[0], atol=1e-4, rtol=0)
    narrow = F.avg_pool3d(pictures, (1, 1, 2))
    torch.testing.assert_close(found[1, ..., 16:], narrow[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[2, ..., :16], narrow[2], atol=1e-4, rtol=0)
    small = F.avg_pool3d(pictures[3], (1, 2, 2))
    torch.testing.assert_close(found[3, :, :, 6:18, 8:24], small, atol=1e-4, rtol=0)
    for gray in (found[1, ..., :16], found[2, ..., 16:], found[3, :, :, :6], found[3, ..., 24:]):
        torch.testing.assert_close(gray, torch.full_like(gray, HIDDEN))


def test_inputs_of_the_network() -> None:
    frames = torch.arange(2 * 5 * 2 * 2 * 3).reshape(2, 5, 2, 2, 3).to(torch.uint8)
    pictures = pictures_of(frames, static=False)
    assert pictures.shape == (2, 3, 5, 2, 2)
    expected = frames.permute(0, 4, 1, 2, 3).float() * 2 / 255 - 1
    torch.testing.assert_close(pictures, expected)
    still = pictures_of(frames, static=True)
    assert all(torch.equal(still[:, :, t], pictures[:, :, 2]) for t in range(5))
    sound = torch.tensor([[[32767, 0], [-32767, 100]]], dtype=torch.int16)
    waves = waveform_of(sound)
    assert waves[0, :, 0].tolist() == [1, -1]
    assert torch.equal(heard_sound(waves, mono=False), waves)
    assert heard_sound(waves, mono=True)[0, :, 0].tolist() == [0, 0]
    floats = torch.rand(1, 2, 3)
    assert torch.equal(waveform_of(floats), floats)
