"""Trained networks as modules that take prepared inputs, and what prepares them.

Letters: b clips, t video frames, h w pixels, n audio samples, s spectrogram frames, f frequency or
mel bins, c channels, d length of a vector.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avdata.features.device_logmel import log_mel
from avdata.features.log_spectrogram import LogSpectrogramSpec, limit_range, log_spectrogram
from avtrain.errors import WeightsError
from avtrain.exported.folder import STATISTICS, AudioInput, ExportedModel, VideoInput
from avtrain.models.published import Part, load_parts

Layer = Literal["conv1", "conv2x", "conv3x", "conv4x", "conv5x", "pool", "embedding"]
"""Outputs of the network's stages, their pooled last one (b, d), or the head's output, which is not
normalized."""

_STD_FLOOR = 1e-5
_INT16_MAX = 32767


class TrainedEncoder(nn.Module):
    """One trained network, in evaluation mode and without gradients of its weights."""

    def __init__(self, network: nn.Module, head: nn.Module | None, layer: Layer) -> None:
        super().__init__()
        self.network, self.head, self.layer = network, head, layer
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Output of the layer."""
        features: dict[str, Tensor] = self.network.features(inputs)  # type: ignore[operator]
        if self.head is None:
            return features[self.layer]
        output: Tensor = self.head(features["pool"])
        return output


class TrainedVideoEncoder(TrainedEncoder):
    """Frames, normalized per channel, float32 (b, 3, t, h, w), to the output of a layer."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, head: nn.Module | None, *, layer: Layer, inputs: VideoInput
    ) -> None:
        super().__init__(network, head, layer)
        self.inputs = inputs
        shape = (3, 1, 1, 1)
        self.register_buffer("mean", torch.tensor(inputs.mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(inputs.std).reshape(shape), persistent=False)

    @torch.no_grad()
    def preprocess(self, frames: Tensor) -> Tensor:
        """Input of the network: the centered square, resized, normalized, float32 (b, 3, t, h, w).

        Args:
            frames: uint8 RGB (b, t, h, w, 3) at `inputs.fps` frames a second, of any size; the
                network was trained on `inputs.clip_frames` of them.

        Raises:
            ValueError: The frames have another type or shape.
        """
        if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
            raise ValueError(
                "frames must be uint8 (b, t, h, w, 3), got "
                f"{str(frames.dtype).removeprefix('torch.')} {tuple(frames.shape)}"
            )
        b, t, height, width, _ = frames.shape
        side = max(1, round(min(height, width) * self.inputs.center_share))
        top, left = (height - side) // 2, (width - side) // 2
        cut = frames[:, :, top : top + side, left : left + side].to(self.mean.device)
        pictures = cut.flatten(0, 1).permute(0, 3, 1, 2).float()  # (b t, 3, side, side)
        size = (self.inputs.side_px, self.inputs.side_px)
        if side != self.inputs.side_px:
            pictures = F.interpolate(pictures, size=size, mode="bilinear", antialias=True)
        video = pictures.reshape(b, t, *pictures.shape[1:]).transpose(1, 2) / 255
        normalized: Tensor = (video - self.mean) / self.std
        return normalized.contiguous()


class TrainedAudioEncoder(TrainedEncoder):
    """Spectrograms, normalized per bin, float32 (b, 1, s, f), to the output of a layer."""

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        head: nn.Module | None,
        *,
        layer: Layer,
        inputs: AudioInput,
        statistics: tuple[Tensor, Tensor] | None,
    ) -> None:
        super().__init__(network, head, layer)
        self.inputs = inputs
        mean, std = statistics if statistics is not None else (None, None)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    @torch.no_grad()
    def preprocess(self, waveform: Tensor) -> Tensor:
        """Input of the network: log spectrogram or log-mel, normalized, float32 (b, 1, s, f).

        Args:
            waveform: mono (b, n), float in [-1, 1] or int16, n == inputs.num_samples at
                inputs.sample_rate_hz.

        Raises:
            ValueError: The waveform has another type or length.
            WeightsError: The export has no audio statistics.
        """
        if self.mean is None or self.std is None:
            raise WeightsError(
                "the weights come without audio statistics, which normalize the input; import them "
                "again with --audio-statistics FILE.npz"
            )
        expected = self.inputs.num_samples
        if waveform.ndim != 2 or waveform.shape[1] != expected:
            raise ValueError(
                f"waveform must be (b, {expected}), {self.inputs.window_s:g} s of mono sound at "
                f"{self.inputs.sample_rate_hz} Hz, got {tuple(waveform.shape)}"
            )
        if not waveform.is_floating_point() and waveform.dtype != torch.int16:
            raise ValueError(f"waveform must be float or int16, got {waveform.dtype}")
        columns = self._columns(waveform.to(self.mean.device))
        return ((columns - self.mean) / (self.std + _STD_FLOOR))[:, None]

    def _columns(self, waveform: Tensor) -> Tensor:
        """float32 (b, s, f)."""
        inputs = self.inputs
        if inputs.kind == "spectrogram":
            if waveform.dtype == torch.int16:
                waveform = waveform.float() / _INT16_MAX
            spec = LogSpectrogramSpec(
                sample_rate_hz=inputs.sample_rate_hz,
                n_fft=4 * (inputs.num_bins - 1),
                hop_samples=inputs.num_samples // inputs.num_frames,
                num_frames=inputs.num_frames,
            )
            return log_spectrogram(waveform, spec=spec)
        assert inputs.logmel is not None
        if waveform.dtype == torch.int16:
            waveform = waveform.float() / (_INT16_MAX + 1)
        columns = log_mel(waveform, inputs.logmel)[:, :: inputs.stride][:, : inputs.num_frames]
        return limit_range(columns) if inputs.logmel.filterbank == "avid" else columns


class TrainedPair(nn.Module):
    """Both networks of a model."""

    def __init__(self, video: TrainedVideoEncoder, audio: TrainedAudioEncoder) -> None:
        super().__init__()
        self.video, self.audio = video, audio
        self.eval()

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of the layer of both networks."""
        return self.video(video), self.audio(audio)


def video_encoder(exported: ExportedModel, layer: Layer) -> TrainedVideoEncoder:
    """The video network of an export.

    Raises:
        WeightsError: It has no such network, or no head.
    """
    network, head = _network_and_head(exported, "video", layer)
    return TrainedVideoEncoder(network, head, layer=layer, inputs=exported.config.video)


def audio_encoder(exported: ExportedModel, layer: Layer) -> TrainedAudioEncoder:
    """The audio network of an export.

    Raises:
        WeightsError: It has no such network, or no head.
    """
    network, head = _network_and_head(exported, "audio", layer)
    assert exported.config.audio is not None
    mean, std = (exported.tensors.get(name) for name in STATISTICS)
    return TrainedAudioEncoder(
        network,
        head,
        layer=layer,
        inputs=exported.config.audio,
        statistics=None if mean is None or std is None else (mean, std),
    )


def _network_and_head(
    exported: ExportedModel, modality: Literal["video", "audio"], layer: Layer
) -> tuple[nn.Module, nn.Module | None]:
    config = exported.config
    model: Part = "video_model" if modality == "video" else "audio_model"
    head: Part = "video_proj" if modality == "video" else "audio_proj"
    needed = [model, head] if layer == "embedding" else [model]
    absent = [part for part in needed if part not in config.parts]
    if absent:
        raise WeightsError(
            f"{exported.where} has no {' and no '.join(absent)}: it holds "
            f"{', '.join(config.parts)}; choose modality and layer among those"
        )
    parts = load_parts(config.model, exported.networks, config.parts)
    return parts[model], parts[head] if layer == "embedding" else None
