"""R(2+1)D video network of AVID: frames to one vector a clip.

It is not the R(2+1)D of torchvision: the stem is one full 3-D convolution followed by a max-pool,
the spatial and temporal factors keep the output width, a block has one normalization after its
sum, and the global pooling is a maximum. Parameter names are those of the published checkpoints.
The one of torchvision is in standard_r2plus1d.py.

Reference: Morgado, Vasconcelos, Misra 2021, "Audio-Visual Instance Discrimination with Cross-Modal
Agreement", table of architectures; Tran et al. 2018 for the factorization.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from avtrain.models.config import NetConfig
from avtrain.models.pooling import Pooling, global_pool

if TYPE_CHECKING:
    from jaxtyping import Float

BLOCKS_PER_STAGE: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
}
"""Residual blocks of conv2x .. conv5x by depth; 10 is what the paper's ablations call 9 layers."""


class R2Plus1DConfig(NetConfig):
    """Shape of the video network of AVID; the defaults are the released models."""

    kind: Literal["avid"] = "avid"
    depth: Literal[10, 18, 34] = 18
    width: PositiveInt = Field(
        default=64, description="channels of conv1 and conv2x; then 2x 4x 8x"
    )
    stem_pool: bool = Field(default=True, description="1x3x3 max-pool of stride 1x2x2 after conv1")
    pooling: Pooling = Field(default="max", description="over time and place after conv5x")


class R2Plus1DBlock(nn.Module):
    """Two (1x3x3, 3x1x1) pairs and a shortcut, convolved where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.spt_conv1 = _spatial_conv(in_channels, out_channels, stride=stride)
        self.spt_bn1 = nn.BatchNorm3d(out_channels)
        self.tmp_conv1 = _temporal_conv(out_channels, stride=stride)
        self.tmp_bn1 = nn.BatchNorm3d(out_channels)
        self.spt_conv2 = _spatial_conv(out_channels, out_channels, stride=1)
        self.spt_bn2 = nn.BatchNorm3d(out_channels)
        self.tmp_conv2 = _temporal_conv(out_channels, stride=1)
        self.out_bn = nn.BatchNorm3d(out_channels)
        self.res_conv: nn.Conv3d | None = None
        if stride != 1 or in_channels != out_channels:
            self.res_conv = nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Block output after the last ReLU."""
        shortcut = x if self.res_conv is None else self.res_conv(x)
        y = F.relu(self.spt_bn1(self.spt_conv1(x)), inplace=True)
        y = F.relu(self.tmp_bn1(self.tmp_conv1(y)), inplace=True)
        y = F.relu(self.spt_bn2(self.spt_conv2(y)), inplace=True)
        # in place: no backward needs the convolution's output without the shortcut
        y = self.tmp_conv2(y).add_(shortcut)
        return F.relu(self.out_bn(y), inplace=True)


class R2Plus1D(nn.Module):
    """Video encoder: frames, normalized per channel, to the pooled last stage."""

    def __init__(self, config: R2Plus1DConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        blocks = BLOCKS_PER_STAGE[config.depth]
        stem: list[nn.Module] = [
            nn.Conv3d(3, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        ]
        if config.stem_pool:
            stem.append(nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)))
        self.conv1 = nn.Sequential(*stem)
        self.conv2x = _stage(width, width, stride=1, num_blocks=blocks[0])
        self.conv3x = _stage(width, 2 * width, stride=2, num_blocks=blocks[1])
        self.conv4x = _stage(2 * width, 4 * width, stride=2, num_blocks=blocks[2])
        self.conv5x = _stage(4 * width, 8 * width, stride=2, num_blocks=blocks[3])

    @property
    def embedding_dim(self) -> int:
        """Length of the vector that `forward` returns."""
        return 8 * self.config.width

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Global maximum, or mean, of conv5x, one row a clip."""
        return self.features(video)["pool"]

    def features(self, video: Float[Tensor, "b 3 t h w"]) -> dict[str, Tensor]:
        """Outputs of conv1, pooled, conv2x .. conv5x, each (b, c, t, h, w), and pool (b, d)."""
        check_video_shape(video)
        conv1 = self.conv1(video)
        conv2x = self.conv2x(conv1)
        conv3x = self.conv3x(conv2x)
        conv4x = self.conv4x(conv3x)
        conv5x = self.conv5x(conv4x)
        return {
            "conv1": conv1,
            "conv2x": conv2x,
            "conv3x": conv3x,
            "conv4x": conv4x,
            "conv5x": conv5x,
            "pool": global_pool(conv5x, self.config.pooling),
        }


def check_video_shape(video: Tensor) -> None:
    """Refuse what is not (b, 3, t, h, w).

    Raises:
        ValueError: The text has the shape.
    """
    if video.ndim != 5 or video.shape[1] != 3:
        raise ValueError(f"video must be (b, 3, t, h, w), got shape {tuple(video.shape)}")


def _spatial_conv(in_channels: int, out_channels: int, *, stride: int) -> nn.Conv3d:
    return nn.Conv3d(
        in_channels,
        out_channels,
        (1, 3, 3),
        stride=(1, stride, stride),
        padding=(0, 1, 1),
        bias=False,
    )


def _temporal_conv(channels: int, *, stride: int) -> nn.Conv3d:
    return nn.Conv3d(
        channels, channels, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False
    )


def _stage(in_channels: int, out_channels: int, *, stride: int, num_blocks: int) -> nn.Module:
    """One stage; a stage of one block is the block itself, as in published names."""
    first = R2Plus1DBlock(in_channels, out_channels, stride=stride)
    if num_blocks == 1:
        return first
    rest = [R2Plus1DBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *rest)
