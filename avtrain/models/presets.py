"""Named two-stream models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from avtrain.models.conv_audio import AudioNetConfig
from avtrain.models.projection import ProjectionConfig
from avtrain.models.r2plus1d import R2Plus1DConfig
from avtrain.models.standard_r2plus1d import StandardR2Plus1DConfig
from avtrain.models.two_stream import AudioVisualConfig

AudioVisualPreset = Literal[
    "avid-r2plus1d-18",
    "avid-r2plus1d-10",
    "avid-r2plus1d-34",
    "avid-small",
    "r2plus1d-18",
    "r2plus1d-34",
    "tiny",
]

AUDIO_VISUAL_PRESETS: dict[AudioVisualPreset, AudioVisualConfig] = {
    # the released models: 8x224x224 frames, 200x257 spectrogram
    "avid-r2plus1d-18": AudioVisualConfig(),
    "avid-r2plus1d-10": AudioVisualConfig(video=R2Plus1DConfig(depth=10)),
    # in the released code, without published results
    "avid-r2plus1d-34": AudioVisualConfig(video=R2Plus1DConfig(depth=34)),
    # the paper's ablations: 8x112x112 frames, 100x129 spectrogram
    "avid-small": AudioVisualConfig(
        video=R2Plus1DConfig(depth=10, stem_pool=False),
        audio=AudioNetConfig(first_block_stride=1),
    ),
    # torchvision's video network beside the audio network of AVID
    "r2plus1d-18": AudioVisualConfig(video=StandardR2Plus1DConfig(kind="standard")),
    "r2plus1d-34": AudioVisualConfig(video=StandardR2Plus1DConfig(kind="standard", depth=34)),
    # ours, for CPUs and tests: 8x64x64 frames, 100x128 spectrogram; its heads learn on small sets
    "tiny": AudioVisualConfig(
        video=R2Plus1DConfig(depth=10, width=16),
        audio=AudioNetConfig(width=16),
        video_proj=ProjectionConfig(batch_norm=True),
        audio_proj=ProjectionConfig(batch_norm=True),
    ),
}


def _preset_or_table(value: object) -> str:
    return "table" if isinstance(value, (dict, AudioVisualConfig)) else "preset"


AudioVisualChoice = Annotated[
    Annotated[AudioVisualPreset, Tag("preset")] | Annotated[AudioVisualConfig, Tag("table")],
    Discriminator(_preset_or_table),
]
"""Name of a preset, or a table of the parts, as in `{video = {depth = 10, width = 32}}`."""


def audio_visual_config(chosen: AudioVisualPreset | AudioVisualConfig) -> AudioVisualConfig:
    """The model that a preset's name, or a table of settings, stands for."""
    return AUDIO_VISUAL_PRESETS[chosen] if isinstance(chosen, str) else chosen
