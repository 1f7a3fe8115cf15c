"""Named multisensory networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from avtrain.models.multisensory_config import MultisensoryConfig

MultisensoryPreset = Literal[
    "multisensory", "multisensory-cam", "multisensory-small", "multisensory-tiny"
]

MULTISENSORY_PRESETS: dict[MultisensoryPreset, MultisensoryConfig] = {
    # the published one: 125 frames of 224 px at 29.97 fps, 87588 samples at 21 kHz
    "multisensory": MultisensoryConfig(),
    # the published one for activation maps, trained on from the first: cells of 16 px, not 32
    "multisensory-cam": MultisensoryConfig(space_strides=(2, 2, 2, 2, 1)),
    # ours: 64 to 125 frames of 112 px; maps of 16 px cells
    "multisensory-small": MultisensoryConfig(
        width=32, space_strides=(2, 2, 2, 2, 1), norm_decay=0.99
    ),
    # ours, for CPUs and tests: 24 to 32 frames of 64 px, 1 to 2 s of sound at 8 to 21 kHz; maps of
    # 8 px cells; forward and backward of a clip take about 30 ms of one CPU thread
    "multisensory-tiny": MultisensoryConfig(
        width=16,
        blocks_per_stage=1,
        space_strides=(2, 1, 2, 2, 1),
        sound_strides=(4, 4, 4, 4, 2),
        norm_decay=0.99,
    ),
}


def _preset_or_table(value: object) -> str:
    return "table" if isinstance(value, (dict, MultisensoryConfig)) else "preset"


MultisensoryChoice = Annotated[
    Annotated[MultisensoryPreset, Tag("preset")] | Annotated[MultisensoryConfig, Tag("table")],
    Discriminator(_preset_or_table),
]
"""Name of a preset, or a table of settings, as in `{width = 16, norm = "group"}`."""


def multisensory_config(chosen: MultisensoryPreset | MultisensoryConfig) -> MultisensoryConfig:
    """The network that a preset's name, or a table of settings, stands for."""
    return MULTISENSORY_PRESETS[chosen] if isinstance(chosen, str) else chosen
