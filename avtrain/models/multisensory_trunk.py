"""Joint trunk of the multisensory network: sound merged into the frames, and what follows.

Reference: Owens and Efros 2018, section 3 and released code. Letter: s sound steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avtrain.models.fractional_pool import max_over_cells
from avtrain.models.fused_blocks import ConvNorm, Norms, ResidualBlock
from avtrain.models.multisensory_config import MultisensoryConfig
from avtrain.models.same_padding import SameConv1d, SameConv3d

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FusedFeatures:
    """Features at three depths, after their ReLU; sizes are of the published network, 4.2 s."""

    scale0: Float[Tensor, "b c0 t0 h0 w0"]
    """Of the video stem, frames alone: 64 x 32 x 28 x 28."""
    scale1: Float[Tensor, "b c1 t0 h0 w0"]
    """Of J3, with sound: 128 x 32 x 28 x 28."""
    scale2: Float[Tensor, "b c2 t2 h2 w2"]
    """Of J5, with sound: 512 x 16 x 7 x 7."""

    def __repr__(self) -> str:
        shapes = (tuple(x.shape) for x in (self.scale0, self.scale1, self.scale2))
        return "FusedFeatures({})".format(", ".join(map(str, shapes)))

    def over_place(self) -> tuple[Float[Tensor, "b c0 t0"], Tensor, Tensor]:
        """Mean of each scale over the picture, float32 (b, c, t)."""
        first, second, third = (
            x.mean(dim=(3, 4), dtype=torch.promote_types(x.dtype, torch.float32))
            for x in (self.scale0, self.scale1, self.scale2)
        )
        return first, second, third


class JointTrunk(nn.Module):
    """The sound pooled to the video's steps, the merge, and J3 to J5."""

    def __init__(self, config: MultisensoryConfig, norms: Norms) -> None:
        super().__init__()
        width = self.width = config.width
        self.use_sound = config.use_sound
        self.sound_conv = ConvNorm(SameConv1d(4 * width, 2 * width, 3, bias=False), norms)
        self.merge1 = ConvNorm(SameConv3d(3 * width, 8 * width, (1, 1, 1), bias=False), norms)
        self.merge2 = SameConv3d(8 * width, 2 * width, (1, 1, 1), bias=True)
        self.merge_norm = norms.after_sum(2 * width)
        (t4, t5), (s4, s5) = config.time_strides[2:], config.space_strides[3:]
        repeats = config.blocks_per_stage

        def stage(in_channels: int, out_channels: int, stride: tuple[int, int, int]) -> nn.Module:
            first = ResidualBlock(
                in_channels, out_channels, kernel=(3, 3, 3), stride=stride, norms=norms
            )
            rest = [
                ResidualBlock(
                    out_channels, out_channels, kernel=(3, 3, 3), stride=(1, 1, 1), norms=norms
                )
                for _ in range(repeats - 1)
            ]
            return nn.Sequential(first, *rest)

        self.stage3 = stage(2 * width, 2 * width, (1, 1, 1))
        self.stage4 = stage(2 * width, 4 * width, (t4, s4, s4))
        self.stage5 = stage(4 * width, 8 * width, (t5, s5, s5))

    def forward(
        self,
        scale0: Float[Tensor, "b c0 t h w"],
        sound: Float[Tensor, "b c s"] | None,
        boundaries: Tensor | None,
    ) -> FusedFeatures:
        """Features at three depths.

        Args:
            scale0: Of the video stem.
            sound: Steps of the sound stem; None without sound.
            boundaries: Of the cells that the steps are pooled to; None without sound.
        """
        if sound is None or boundaries is None:
            pooled = scale0.new_zeros(scale0.shape[0], 2 * self.width, scale0.shape[2])
        else:
            pooled = self.sound_conv(max_over_cells(sound, boundaries))
        scale1 = self.stage3(self._merge(scale0, pooled))
        scale2 = self.stage5(self.stage4(scale1))
        return FusedFeatures(scale0=scale0, scale1=scale1, scale2=scale2)

    def _merge(self, scale0: Tensor, sound: Tensor) -> Tensor:
        """Both modalities at every place: concatenation, two convolutions and a shortcut."""
        # a 1x1x1 convolution of the concatenation is a sum; the tiled sound need not be computed
        weight, width = self.merge1.conv.weight, self.width
        of_video = F.conv3d(scale0, weight[:, :width])
        of_sound = F.conv1d(sound, weight[:, width:, :, 0, 0])
        merged = of_video.add_(of_sound[..., None, None])
        x = F.relu(self.merge1.norm(merged), inplace=True)
        # all video channels and the last of the sound
        last_sound = sound[:, -width:, :, None, None].expand_as(scale0)
        y = self.merge2(x) + torch.cat([scale0, last_sound.to(scale0.dtype)], dim=1)
        return F.relu(self.merge_norm(y), inplace=True)
