"""Settings of the multisensory network, and the numbers of its steps in time.

Reference: Owens and Efros 2018, released code: all sizes are its own unless a field says so.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from avtrain.models.config import NetConfig
from avtrain.models.fused_blocks import NormKind
from avtrain.models.same_padding import same_length

Stride = Literal[1, 2]


class MultisensoryConfig(NetConfig):
    """Shape of the network; the defaults are the published one of the sync pretext."""

    width: PositiveInt = Field(default=64, description="channels of V1; the others are multiples")
    num_outputs: PositiveInt = Field(default=1, description="of the head: logits of a clip")
    blocks_per_stage: Literal[1, 2] = Field(
        default=2, description="residual blocks of V2, J3, J4 and J5; 1 is ours, for CPUs"
    )
    time_strides: tuple[Stride, Stride, Stride, Stride] = Field(
        default=(2, 2, 2, 1), description="of frames, in V1, the last V2 block, J4_1, J5_1"
    )
    space_strides: tuple[Stride, Stride, Stride, Stride, Stride] = Field(
        default=(2, 2, 2, 2, 2),
        description="of the picture, in V1, its pool, the last V2 block, J4_1, J5_1; "
        "J5_1 has 1 in the network for activation maps; a pool of stride 1 is left out",
    )
    sound_strides: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(4, 4, 4, 4, 4),
        description="of sound samples, in A1, its pool, A2, A3, A4; their product is the samples "
        "a step, of which a clip needs as many as video steps",
    )
    use_sound: bool = Field(default=True, description="false: zeros in place of the sound features")
    norm: NormKind = Field(
        default="renorm",
        description="renorm: batch normalization after convolutions, batch renormalization after "
        "sums; batch: batch normalization in both places; group: of single examples",
    )
    gamma: bool = Field(
        default=False, description="normalizations scale; so in separation and recognition"
    )
    norm_eps: PositiveFloat = 1e-3
    norm_decay: float = Field(
        default=0.9997, ge=0, lt=1, description="of the averages that evaluation normalizes with"
    )
    checkpoint_stem: bool = Field(
        default=False,
        description="compute V1 and the first V2 block again in the backward instead of keeping "
        "their activations: less memory, the same gradients",
    )

    @property
    def embedding_dim(self) -> int:
        """Channels of the last features."""
        return 8 * self.width

    def video_steps(self, num_frames: int) -> int:
        """Time steps of the fused features of so many frames."""
        first, second = self.time_strides[:2]
        return same_length(same_length(num_frames, stride=first), stride=second)

    def sound_steps(self, num_samples: int) -> int:
        """Time steps of the sound before it is pooled to those of the video."""
        first, pool, *rest = self.sound_strides
        steps = same_length(num_samples, stride=first)
        steps = (steps - pool) // pool + 1
        for stride in rest:
            steps = same_length(steps, stride=stride)
        return steps
