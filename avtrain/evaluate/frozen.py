"""The networks of a trained method as evaluations use them, one modality at a time.

Letters: b clips, c channels, t video frames, s spectrogram frames, f frequency or mel bins, h w.
"""

import copy
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from avdata import DatasetSpec, LogMelSpec, ShardSet
from avdata.features.device_logmel import log_mel
from avdata.features.log_spectrogram import limit_range, log_spectrogram
from avtrain.data.augment.color import jitter_colors
from avtrain.data.views.labelled_audio import AudioClipBatch, SoundForm
from avtrain.data.views.labelled_video import VideoClipBatch
from avtrain.errors import DataError, RunError
from avtrain.methods import Method, Modality
from avtrain.methods.pair_inputs import check_pair_data
from avtrain.methods.pair_method import PairMethod, PairMethodConfig
from avtrain.methods.sync import Sync

Inputs = TypeVar("Inputs")
ClipBatch = VideoClipBatch | AudioClipBatch

PUBLISHED_RATE_HZ = 24000
"""Of the sound that the published spectrogram is made of."""
_INT16_MAX = 32767
_STD_FLOOR = 1e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenEncoders(Generic[Inputs]):
    """A trained method with the device it is on."""

    method: Method[Any, Inputs]
    device: torch.device
    trained: DatasetSpec | None = None
    """The shard set that it was trained on: how its inputs were made."""
    absent: frozenset[Modality] = frozenset()
    """Modalities whose network is not there."""
    has_audio_statistics: bool = True
    """The mean and deviation that the audio input is normalized with are known."""

    @property
    def logmel(self) -> LogMelSpec | None:
        """How the log-mel was made that it was trained on, where that is known."""
        return self.trained.logmel if self.trained is not None else None

    @property
    def pairs(self) -> PairMethod:
        """The method, with its networks by modality.

        Raises:
            RunError: It has no such networks.
        """
        if not isinstance(self.method, PairMethod):
            raise RunError(
                f"this evaluation takes a video and an audio network, {type(self.method).__name__} "
                "has none; evaluate a run of avid, cma or robust-xid, or a run of sync with --task "
                "sync, finetune, knn, probe or fewshot"
            )
        return self.method

    @property
    def fused(self) -> Sync | None:
        """The method where it has one network for pictures with their sound."""
        return self.method if isinstance(self.method, Sync) else None

    @property
    def view(self) -> PairMethodConfig:
        """How clips and windows were read in training."""
        return self.pairs.view

    def network(self, modality: Modality) -> nn.Module:
        """The network of a modality, whose `features` gives the maps of its layers by name.

        Raises:
            RunError: It is not there, or cannot be used.
        """
        if modality in self.absent:
            raise RunError(f"there is no {modality} network; evaluate with another --encoder")
        if modality == "audio" and not self.has_audio_statistics:
            raise RunError(
                "the audio network came without the mean and deviation of its input, and means "
                "nothing without; evaluate with --encoder video, or train with it as --init"
            )
        networks = self.pairs.networks()
        found = getattr(networks, f"{modality}_model")
        assert isinstance(found, nn.Module)
        return found

    def network_copy(self, modality: Modality) -> nn.Module:
        """A copy to train on, on the device."""
        return copy.deepcopy(self.network(modality)).to(self.device)

    def head(self, modality: Modality) -> nn.Module:
        """The projection of a modality."""
        found = getattr(self.pairs.networks(), f"{modality}_proj")
        assert isinstance(found, nn.Module)
        return found

    @cached_property
    def weights_hash(self) -> str:
        """Hash of networks and input statistics: what features depend on."""
        parts = {"networks": self.method.networks()}
        if isinstance(self.method, PairMethod):
            parts["preparation"] = self.method.preparation
        digest = hashlib.sha256()
        for part, module in parts.items():
            for name, tensor in sorted(module.state_dict().items()):
                digest.update(f"\0{part}.{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
                digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()

    def sound_form(self, spec: DatasetSpec, *, where: str, prefer_sound: bool) -> SoundForm:
        """Which stored field of a set the audio network's input is made of.

        Args:
            prefer_sound: Take the stored sound where there is a choice.

        Raises:
            DataError: The set has neither, or not at the sample rate of the training.
        """
        needs_logmel = self.view.audio.input == "logmel"
        if needs_logmel and "logmel" in spec.fields:
            same = self.logmel in (None, spec.logmel)
            computable = self.logmel is not None and _has_sound_at(spec, self.logmel.sample_rate_hz)
            if not computable or (same and not prefer_sound):
                check_pair_data(self.view.audio, spec, where=where)
                if not same:
                    raise DataError(
                        f"{where} has logmel made with {spec.logmel}, the run was trained on "
                        f"{self.logmel}; build the set again with the logmel settings of the run, "
                        "or with its sound at that rate"
                    )
                return "logmel"
        if "audio" not in spec.fields:
            needs = "logmel or audio" if needs_logmel else "audio"
            raise DataError(
                f"the audio network of this run needs field {needs}, {where} has "
                f"{{{', '.join(sorted(spec.fields))}}}; build it again with --set "
                "'fields=[..., \"audio\"]'"
            )
        wanted_hz = PUBLISHED_RATE_HZ
        if needs_logmel:
            if self.logmel is None:
                raise DataError(
                    f"{where} has no log-mel, and this run does not tell how its log-mel was "
                    "made; build the set again with --set 'fields=[..., \"logmel\"]'"
                )
            wanted_hz = self.logmel.sample_rate_hz
        assert spec.audio is not None
        if spec.audio.sample_rate_hz != wanted_hz:
            raise DataError(
                f"{where} has sound at {spec.audio.sample_rate_hz} Hz, the run was trained on "
                f"{wanted_hz} Hz; build it again with --set audio.sample_rate_hz={wanted_hz}"
            )
        return "waveform"

    def stored_modalities(self, shards: ShardSet) -> tuple[Modality, ...]:
        """Modalities that have a network here and fields in the set.

        Raises:
            DataError: There is none, or the stored sound does not fit.
        """
        found: list[Modality] = []
        fields = set(shards.spec.fields)
        if "frames" in fields and "video" not in self.absent:
            found.append("video")
        usable = "audio" not in self.absent and self.has_audio_statistics
        if {"audio", "logmel"} & fields and usable:
            self.sound_form(shards.spec, where=str(shards.location), prefer_sound=False)
            found.append("audio")
        if not found:
            raise DataError(
                f"{shards.location} has fields {{{', '.join(sorted(fields))}}}, and none of them "
                "is the input of a network that is here"
            )
        return tuple(found)

    def margin(self, form: SoundForm) -> int:
        """Samples on both sides of a waveform window that its log-mel is computed of."""
        if form == "logmel" or self.view.audio.input == "spectrogram":
            return 0
        assert self.logmel is not None
        return -(-(self.logmel.n_fft // 2) // self.logmel.hop_samples) * self.logmel.hop_samples

    def inputs(self, batch: ClipBatch) -> Tensor:
        """What the network takes: (b, 3, t, h, w) or (b, 1, s, f), float32 on the device."""
        if isinstance(batch, VideoClipBatch):
            return self._video(batch)
        return self._audio(batch)

    def _video(self, batch: VideoClipBatch) -> Tensor:
        preparation = self.pairs.preparation
        frames = batch.frames.to(self.device, non_blocking=True)
        frames = frames.permute(0, 1, 4, 2, 3).float() / 255  # (b, t, 3, h, w)
        factors = batch.color_factors.to(self.device, non_blocking=True)
        frames = jitter_colors(frames, factors=factors, orders=batch.color_orders)
        frames = (frames - preparation.video_mean) / preparation.video_std
        return frames.transpose(1, 2).contiguous()

    def _audio(self, batch: AudioClipBatch) -> Tensor:
        preparation = self.pairs.preparation
        sound = batch.sound.to(self.device, non_blocking=True)
        gain = batch.gain.to(self.device, non_blocking=True)
        if preparation.spectrogram is not None:
            waveform = sound.float() / _INT16_MAX * gain[:, None]
            audio = log_spectrogram(waveform, spec=preparation.spectrogram)
        else:
            stored = sound.float() if sound.dtype == torch.float16 else self._logmel(sound)
            # the gain acts on the amplitude, log-mel is the logarithm of power
            audio = (stored + 2 * gain.log()[:, None, None]).clamp(min=preparation.log_floor)
            if preparation.floor_is_relative:
                audio = limit_range(audio)
        normalized = (audio - preparation.audio_mean) / (preparation.audio_std + _STD_FLOOR)
        return normalized[:, None]

    def _logmel(self, sound: Tensor) -> Tensor:
        """Log-mel (b, s, f) of waveforms (b, n) with a margin, rounded as the stored one is."""
        spec, view = self.logmel, self.view.audio
        assert spec is not None
        skipped = self.margin("waveform") // spec.hop_samples
        stride = round(spec.sample_rate_hz / spec.hop_samples / view.frame_rate_hz)
        columns = log_mel(sound.float() / 32768, spec)
        cut = columns[:, skipped : skipped + view.num_frames * stride : stride]
        return cut.half().float()


def _has_sound_at(spec: DatasetSpec, sample_rate_hz: int) -> bool:
    return spec.audio is not None and spec.audio.sample_rate_hz == sample_rate_hz


def layer_maps(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Outputs of the layers of a network by name: maps (b, c, ...), and pool (b, d)."""
    features = network.features
    assert callable(features)
    maps: dict[str, Tensor] = features(inputs)
    return maps
