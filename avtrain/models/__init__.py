"""Networks: tensors in, tensors out; they know no losses and no batches."""

from avtrain.models.conv_audio import AudioNetConfig, ConvAudio
from avtrain.models.map_geometry import MapGeometry, map_geometry
from avtrain.models.multisensory import MultisensoryNet, build_multisensory
from avtrain.models.multisensory_config import MultisensoryConfig
from avtrain.models.multisensory_presets import (
    MULTISENSORY_PRESETS,
    MultisensoryChoice,
    MultisensoryPreset,
    multisensory_config,
)
from avtrain.models.multisensory_trunk import FusedFeatures
from avtrain.models.presets import (
    AUDIO_VISUAL_PRESETS,
    AudioVisualChoice,
    AudioVisualPreset,
    audio_visual_config,
)
from avtrain.models.projection import Projection, ProjectionConfig
from avtrain.models.r2plus1d import R2Plus1D, R2Plus1DConfig
from avtrain.models.separation_net import SeparationNet
from avtrain.models.separation_unet import SeparationUnet, SeparationUnetConfig
from avtrain.models.standard_r2plus1d import StandardR2Plus1D, StandardR2Plus1DConfig
from avtrain.models.two_stream import (
    AudioVisualConfig,
    AudioVisualModel,
    VideoNet,
    VideoNetConfig,
    build_audio_visual,
    build_video_net,
)

__all__ = [
    "AUDIO_VISUAL_PRESETS",
    "MULTISENSORY_PRESETS",
    "AudioNetConfig",
    "AudioVisualChoice",
    "AudioVisualConfig",
    "AudioVisualModel",
    "AudioVisualPreset",
    "ConvAudio",
    "FusedFeatures",
    "MapGeometry",
    "MultisensoryChoice",
    "MultisensoryConfig",
    "MultisensoryNet",
    "MultisensoryPreset",
    "Projection",
    "ProjectionConfig",
    "R2Plus1D",
    "R2Plus1DConfig",
    "SeparationNet",
    "SeparationUnet",
    "SeparationUnetConfig",
    "StandardR2Plus1D",
    "StandardR2Plus1DConfig",
    "VideoNet",
    "VideoNetConfig",
    "audio_visual_config",
    "build_audio_visual",
    "build_multisensory",
    "build_video_net",
    "map_geometry",
    "multisensory_config",
]
