"""Networks: tensors in, tensors out; they know no losses and no batches."""

from avtrain.models.conv_audio import AudioNetConfig, ConvAudio
from avtrain.models.presets import AUDIO_VISUAL_PRESETS, AudioVisualPreset
from avtrain.models.projection import Projection, ProjectionConfig
from avtrain.models.r2plus1d import R2Plus1D, VideoNetConfig
from avtrain.models.two_stream import AudioVisualConfig, AudioVisualModel, build_audio_visual

__all__ = [
    "AUDIO_VISUAL_PRESETS",
    "AudioNetConfig",
    "AudioVisualConfig",
    "AudioVisualModel",
    "AudioVisualPreset",
    "ConvAudio",
    "Projection",
    "ProjectionConfig",
    "R2Plus1D",
    "VideoNetConfig",
    "build_audio_visual",
]
