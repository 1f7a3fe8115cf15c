"""Separation of a mixture into what belongs to the picture and what does not."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from avdata import DatasetSpec, Spec
from avtrain.data.samples import SampleStore, SampleTable
from avtrain.data.views.mixture import MixtureEvalView, MixtureReader, MixtureTrainView
from avtrain.data.views.mixture_batch import MixtureBatch
from avtrain.data.views.mixture_config import MixtureViewConfig
from avtrain.data.views.off_screen import OffScreenConfig, open_off_screen
from avtrain.errors import RunError
from avtrain.methods.base import (
    Encoder,
    InitialState,
    Method,
    MethodFacts,
    Modality,
    StepFacts,
    check_fields,
)
from avtrain.methods.clip_facts import ClipFacts
from avtrain.methods.separation_inputs import (
    MIXTURE_RMS,
    SeparationInputs,
    SpectrogramConfig,
    check_mixture_data,
    check_unet_sizes,
    cropped_pictures,
    heard_sound,
    level_factor,
    pictures_of,
    sounds_to_mix,
    spectrum_frames,
    waveform_of,
)
from avtrain.methods.separation_sound import SeparatedSound, SoundForm, sound_of
from avtrain.methods.separation_start import take_up_networks
from avtrain.models import (
    MultisensoryChoice,
    MultisensoryConfig,
    SeparationNet,
    SeparationUnetConfig,
    multisensory_config,
)
from avtrain.models.stft import network_form, normalized_magnitude, spectrum_of
from avtrain.objectives import LossOutput
from avtrain.objectives.separation import (
    PhaseDistance,
    SeparationObjective,
    SpectrogramPair,
    separation_loss,
)

_ROOT_FLOOR = 1e-6
"""Of magnitudes, so that their roots have a gradient."""


class SeparationConfig(Spec):
    """Settings of the method; the defaults are those of the released model `full`."""

    model: MultisensoryChoice = "multisensory"
    """Network that sees and hears, with normalizations that scale: a preset, or a table of the
    parts."""
    use_video: bool = True
    """Without it there is only the u-net, which hears the mixture and cannot tell what is seen."""
    unet: SeparationUnetConfig = SeparationUnetConfig()
    view: MixtureViewConfig = MixtureViewConfig()
    off_screen: OffScreenConfig = OffScreenConfig()
    """Sounds without pictures that clips are mixed with, beside each other's."""
    spectrogram: SpectrogramConfig = SpectrogramConfig()
    objective: SeparationObjective = "on-off"
    """`on-off`: the first output is what is seen; `pit`: the better order counts; or their sum."""
    output: Literal["spectrogram", "mask"] = "spectrogram"
    """What the u-net gives: decibels and phases, as published, or the share of each bin of the
    mixture that belongs to a source, with the mixture's phases."""
    scale: Literal["decibels", "root"] = "decibels"
    """How predicted and true magnitudes are compared: in decibels, as published, where bins that
    nobody hears count as much as loud ones; or by their square roots, with output `mask`."""
    phase_weight: float = Field(default=0.01, ge=0)
    """Of the difference of phases in the loss."""
    phase: PhaseDistance = "published"
    """`published` phases are numbers, of which -1 and 1 are far apart; `wrapped` ones a circle."""

    @model_validator(mode="after")
    def _outputs_fit(self) -> "SeparationConfig":
        if self.scale == "root" and self.output != "mask":
            raise ValueError(
                "scale='root' compares magnitudes of masked mixtures; set output='mask', or "
                "scale='decibels'"
            )
        if not self.use_video and self.objective != "pit":
            raise ValueError(
                f"objective={self.objective!r} asks which sound is seen; with use_video=false "
                "nothing is: set objective='pit'"
            )
        check_unet_sizes(self.spectrogram, self.unet)
        return self

    @property
    def requires(self) -> frozenset[str]:
        """Pictures and sound."""
        return frozenset({"frames", "audio"})

    @property
    def needs_init(self) -> str | None:
        """Nothing is needed to start from."""
        return None

    @property
    def multisensory(self) -> MultisensoryConfig | None:
        """The network that sees and hears, with scaling normalizations."""
        if not self.use_video:
            return None
        return multisensory_config(self.model).model_copy(update={"gamma": True})

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit.

        Raises:
            DataError: A field is missing or its form does not fit.
        """
        check_fields(self.requires, spec, method="separation", where=where)
        check_mixture_data(self.view, self.spectrogram, spec, where=where)

    def build(self, facts: MethodFacts) -> "Separation":
        """The method with new weights, a function of the seed, on the device."""
        return Separation(self, facts)


class Separation(Method[MixtureBatch, SeparationInputs]):
    """A u-net parts the spectrogram of a mixture in two, helped by a network that sees one source.

    Reference: Owens and Efros 2018, "Audio-Visual Scene Analysis with Self-Supervised Multisensory
    Features", section 5, and the released code.

    Every clip of a batch is the one that is seen in one mixture, and the one that is not in
    another. Without a picture each two clips make one mixture.

    Departures:
        - Sounds come from masks on both channels, with the mixture's own phases and level;
          as published is `predicted-phase`, without its gain of 1.5.
        - The spectrogram is of the mean of both channels for videos too, as in training; there the
          released script takes the left one.
        - What lies outside of the published spectrogram at both ends of a clip is kept.
        - Of a batch of odd size, the clip half a batch further on is the other one.
        - Frames were stored with their aspect and are made square when they are cropped.
        - Weight decay is on all weights of more than one dimension with
          `optim.decay_vectors = false`, and not on those of the u-net alone.
        - `output = "mask"`, `scale = "root"`, `phase = "wrapped"` and `view.hidden_share` are ours.
    """

    num_calibration_clips = 0

    def __init__(self, config: SeparationConfig, facts: MethodFacts) -> None:
        super().__init__()
        assert facts.spec.audio is not None
        self.config = config
        view, rate_hz = config.view, facts.spec.audio.sample_rate_hz
        self.clip = ClipFacts(
            clip_frames=view.clip_frames,
            fps=view.fps,
            crop_px=view.crop_px,
            sound_rate_hz=rate_hz,
            num_samples=view.num_samples(rate_hz),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(facts.seed)
            # the last activation is ours, in float32
            unet = config.unet.model_copy(update={"activation": "none"})
            self.model = SeparationNet(unet, config.multisensory)
        self.to(facts.device)

    @property
    def sees(self) -> bool:
        """Whether the first output is what is seen, and not just one of two."""
        return self.config.objective != "pit"

    def train_view(
        self, shards: SampleStore, table: SampleTable, *, seed: int, pin_memory: bool
    ) -> MixtureTrainView:
        """One random clip an item."""
        config = self.config
        reader = MixtureReader(
            shards,
            table,
            config.view,
            off_screen=open_off_screen(config.off_screen, sample_rate_hz=self.clip.sound_rate_hz),
            off_screen_share=config.off_screen.share,
        )
        return MixtureTrainView(reader, seed=seed, pin_memory=pin_memory)

    def eval_view(
        self, shards: SampleStore, table: SampleTable, *, num_windows: int, pin_memory: bool
    ) -> MixtureEvalView:
        """Evenly spaced clips of each item."""
        reader = MixtureReader(shards, table, self.config.view)
        return MixtureEvalView(reader, num_windows=num_windows, pin_memory=pin_memory)

    def calibrate(self, batches: Iterable[MixtureBatch]) -> None:
        """Nothing is estimated before training."""

    def prepare(self, batch: MixtureBatch, device: torch.device) -> SeparationInputs:
        """Crops and mixtures on the device."""
        batch, view = batch.to(device), self.config.view
        on, off = sounds_to_mix(batch, both_ways=self.config.use_video)
        mixture = on + off
        return SeparationInputs(
            pictures=cropped_pictures(batch, static=view.static)[: len(on)],
            mixture=heard_sound(mixture, mono=view.mono),
            spectrum=spectrum_frames(mixture.mean(dim=1), self.config.spectrogram),
            on=on,
            off=off,
        )

    def before_step(self, at: StepFacts) -> None:
        """Nothing changes between steps."""

    def loss(self, inputs: SeparationInputs, *, generator: torch.Generator) -> LossOutput:
        """Distance of predicted and true spectrograms."""
        config = self.config
        outputs = self._outputs(inputs.pictures, inputs.mixture, inputs.spectrum, generator)
        targets = [
            self._compared(spectrum_frames(sound.mean(dim=1), config.spectrogram))
            for sound in (inputs.on, inputs.off)
        ]
        if config.output == "mask":
            mixed = inputs.spectrum[..., :-1].abs()
            outputs = SpectrogramPair(
                on=self._scaled(mixed * outputs.on[:, 0])[:, None],
                off=self._scaled(mixed * outputs.off[:, 0])[:, None],
            )
        return separation_loss(
            outputs,
            SpectrogramPair(on=targets[0], off=targets[1]),
            objective=config.objective,
            phase_weight=config.phase_weight,
            phase=config.phase,
        )

    def separate(
        self, frames: Tensor, mixture: Tensor, *, form: SoundForm = "shared-masks"
    ) -> SeparatedSound:
        """The sounds of what is seen and of what is not, each as loud as in the mixture.

        Without a network that sees, which of the two comes first means nothing.

        Args:
            frames: uint8 (b, t, h, w, 3), as in `clip`.
            mixture: int16, or float in [-1, 1], (b, 2, n), as in `clip`.
            form: How sounds are made of spectrograms.

        Raises:
            ValueError: Frames or sound have another size.
        """
        clip = self.clip
        picture = (clip.clip_frames, clip.crop_px, clip.crop_px, 3)
        if frames.shape[1:] != picture or mixture.shape[1:] != (2, clip.num_samples):
            raise ValueError(
                f"separate takes frames (b, {', '.join(map(str, picture))}) and a mixture (b, 2, "
                f"{clip.num_samples}), got {tuple(frames.shape)} and {tuple(mixture.shape)}"
            )
        pictures = pictures_of(frames, static=self.config.view.static)
        return self.separate_pictures(pictures, waveform_of(mixture), form=form)

    def separate_pictures(
        self, pictures: Tensor, mixture: Tensor, *, form: SoundForm = "shared-masks"
    ) -> SeparatedSound:
        """The same for pictures as in `SeparationInputs` and a float32 mixture."""
        config = self.config
        factor = level_factor(mixture, rms=MIXTURE_RMS)
        level = mixture * factor
        spectrum = spectrum_frames(level.mean(dim=1), config.spectrogram)
        heard = heard_sound(level, mono=config.view.mono)
        outputs = self._outputs(pictures, heard, spectrum, None)
        found = sound_of(
            level,
            self._spectrum(outputs.on, spectrum),
            self._spectrum(outputs.off, spectrum),
            spectrogram=config.spectrogram,
            form=form,
        )
        return SeparatedSound(on=found.on / factor, off=found.off / factor)

    def networks(self) -> nn.Module:
        """The u-net, and the network that sees and hears."""
        return self.model

    def start_from(self, initial: InitialState) -> None:
        """Take up the network that sees and hears of a sync run, or all of a separation run.

        Scales of normalizations, which a sync run does not have, stay at 1.

        Raises:
            RunError: The run is of another method, or a tensor does not fit.
        """
        take_up_networks(self, initial)

    def encoders(self) -> dict[Modality, Encoder[SeparationInputs]]:
        """The fused features of pictures and mixture, under "video".

        Raises:
            RunError: There is no network that sees.
        """
        model = self.model.multisensory
        if model is None:
            raise RunError("this run hears and does not see: it has no encoder of clips")

        def features(inputs: SeparationInputs) -> Tensor:
            fused = model.fuse(model.video_stem(inputs.pictures), inputs.mixture)
            return fused.scale2.float().mean(dim=(2, 3, 4))

        return {"video": Encoder(features=features, project=lambda rows: rows)}

    def _outputs(
        self,
        pictures: Tensor,
        mixture: Tensor,
        spectrum: Tensor,
        generator: torch.Generator | None,
    ) -> SpectrogramPair:
        """What the u-net gives: in network form, or masks in [0, 1] as the first channel."""
        on, off = self.model(pictures, mixture, network_form(spectrum), generator=generator)
        activation = torch.sigmoid if self.config.output == "mask" else torch.tanh
        return SpectrogramPair(on=activation(on.float()), off=activation(off.float()))

    def _compared(self, spectrum: Tensor) -> Tensor:
        """A true spectrum as the loss compares it, (b, c, s, f)."""
        if self.config.output == "spectrogram":
            return network_form(spectrum)
        return self._scaled(spectrum[..., :-1].abs())[:, None]

    def _scaled(self, magnitude: Tensor) -> Tensor:
        if self.config.scale == "root":
            return magnitude.clamp(min=_ROOT_FLOOR).sqrt()
        return normalized_magnitude(magnitude)

    def _spectrum(self, output: Tensor, spectrum: Tensor) -> Tensor:
        """The predicted spectrum (b, s, f) of one source."""
        if self.config.output == "spectrogram":
            return spectrum_of(output, last_bin_phase=spectrum[..., -1].angle())
        mask = output[:, 0]
        return spectrum * torch.cat([mask, mask[..., -1:]], dim=-1)
