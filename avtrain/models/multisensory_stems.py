"""Stems of the multisensory network: the waveform in one dimension, the frames in three.

Reference: Owens and Efros 2018, section 3 and released code. Letter: s sound steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from avtrain.models.batch_renorm import BatchNorm, Memo, remembered, replayed
from avtrain.models.fused_blocks import ConvNorm, Norms, ResidualBlock
from avtrain.models.multisensory_config import MultisensoryConfig
from avtrain.models.same_padding import SameConv1d, SameConv3d, max_pool_same

if TYPE_CHECKING:
    from jaxtyping import Float


class SoundStem(nn.Module):
    """A1 to A4: the companded waveform (b, 2, n) to steps (b, 4 width, s)."""

    def __init__(self, config: MultisensoryConfig, norms: Norms) -> None:
        super().__init__()
        width, strides = config.width, config.sound_strides
        self.pool = strides[1]
        self.conv1 = ConvNorm(SameConv1d(2, width, 65, stride=strides[0], bias=False), norms)
        self.block2 = ResidualBlock(width, 2 * width, kernel=15, stride=strides[2], norms=norms)
        self.block3 = ResidualBlock(2 * width, 2 * width, kernel=15, stride=strides[3], norms=norms)
        self.block4 = ResidualBlock(2 * width, 4 * width, kernel=15, stride=strides[4], norms=norms)

    def forward(self, sound: Float[Tensor, "b 2 n"]) -> Float[Tensor, "b c s"]:
        """Features of each step."""
        x = self.conv1(compand(sound))
        if self.pool > 1:
            x = F.max_pool1d(x, self.pool)  # "VALID": a rest is left out
        steps: Tensor = self.block4(self.block3(self.block2(x)))
        return steps


class VideoStem(nn.Module):
    """V1 and V2: frames to scale 0."""

    def __init__(self, config: MultisensoryConfig, norms: Norms) -> None:
        super().__init__()
        width = config.width
        (t1, t2), (s1, pool, s2) = config.time_strides[:2], config.space_strides[:3]
        self.pool = pool
        self.checkpointed = config.checkpoint_stem
        self.conv1 = ConvNorm(
            SameConv3d(3, width, (5, 7, 7), stride=(t1, s1, s1), bias=False), norms
        )
        strides = [(1, 1, 1)] * (config.blocks_per_stage - 1) + [(t2, s2, s2)]
        self.blocks2 = nn.ModuleList(
            ResidualBlock(width, width, kernel=(3, 3, 3), stride=stride, norms=norms)
            for stride in strides
        )

    def forward(self, frames: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        """Scale 0."""
        x = self._maybe_again(self._enter, frames, self.conv1)
        *first, last = self.blocks2
        for block in first:
            x = self._maybe_again(block, x, block)
        scale0: Tensor = last(x)
        return scale0

    def _enter(self, frames: Tensor) -> Tensor:
        x: Tensor = self.conv1(frames)
        if self.pool == 1:
            return x
        return max_pool_same(x, kernel=(1, 3, 3), strides=(1, self.pool, self.pool))

    def _maybe_again(
        self, function: Callable[[Tensor], Tensor], x: Tensor, part: nn.Module
    ) -> Tensor:
        """Value of the function of `x` that `part` computes, kept or computed again in backward."""
        # a compiler chooses itself what to compute again
        if not (self.checkpointed and torch.is_grad_enabled()) or torch.compiler.is_compiling():
            value: Tensor = function(x)
            return value
        norms = [module for module in part.modules() if isinstance(module, BatchNorm)]
        memo: Memo = {}
        again: Tensor = checkpoint(
            function,
            x,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (remembered(norms, memo), replayed(norms, memo)),
        )
        return again


def compand(sound: Float[Tensor, "b 2 n"]) -> Float[Tensor, "b 2 n"]:
    """The waveform in [-1, 1] with its small values spread: sign(a) ln(1 + 255 |a|) / ln(256).

    Reference: released code of Owens and Efros 2018; the curve is that of mu-law, not quantized.
    """
    return torch.sign(sound) * torch.log1p(255 * sound.abs()) / math.log(256)
