"""Named two-stream models."""

from __future__ import annotations

from typing import Literal

from avtrain.models.conv_audio import AudioNetConfig
from avtrain.models.r2plus1d import VideoNetConfig
from avtrain.models.two_stream import AudioVisualConfig

AudioVisualPreset = Literal["avid-r2plus1d-18", "avid-r2plus1d-10", "avid-small", "tiny"]

AUDIO_VISUAL_PRESETS: dict[AudioVisualPreset, AudioVisualConfig] = {
    # the released models: 8x224x224 frames, 200x257 spectrogram
    "avid-r2plus1d-18": AudioVisualConfig(),
    "avid-r2plus1d-10": AudioVisualConfig(video=VideoNetConfig(depth=10)),
    # the paper's ablations: 8x112x112 frames, 100x129 spectrogram
    "avid-small": AudioVisualConfig(
        video=VideoNetConfig(depth=10, stem_pool=False),
        audio=AudioNetConfig(first_block_stride=1),
    ),
    # ours, for CPUs and tests: 8x64x64 frames, 100x128 spectrogram
    "tiny": AudioVisualConfig(
        video=VideoNetConfig(depth=10, width=16), audio=AudioNetConfig(width=16)
    ),
}
