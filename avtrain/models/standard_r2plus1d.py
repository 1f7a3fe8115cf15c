"""R(2+1)D video network as in torchvision's `r2plus1d_18`: frames to one vector a clip.

Each 3-D convolution is a spatial and a temporal one with as many channels between them as keep the
number of parameters; residual blocks are normalized before their sum. Parameter names are those of
torchvision, whose weights load; the classifier `fc` is left out. The network of AVID, another one
of this name, is in r2plus1d.py.

Reference: Tran et al. 2018, "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
section 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from avtrain.models.config import NetConfig
from avtrain.models.pooling import Pooling, global_pool
from avtrain.models.r2plus1d import BLOCKS_PER_STAGE, check_video_shape

if TYPE_CHECKING:
    from jaxtyping import Float

_STEM_SHARE = 45 / 64
"""Channels between the two convolutions of the stem, of those after it."""


class StandardR2Plus1DConfig(NetConfig):
    """Shape of the standard network; the defaults are torchvision's `r2plus1d_18`."""

    kind: Literal["standard"]
    depth: Literal[10, 18, 34] = 18
    width: PositiveInt = Field(default=64, description="channels of stem and layer1; then 2x 4x 8x")
    pooling: Pooling = Field(default="average", description="over time and place after layer4")


class FactoredConv(nn.Sequential):
    """1x3x3 convolution, normalization, ReLU, 3x1x1 convolution."""

    def __init__(
        self, in_channels: int, between_channels: int, out_channels: int, *, stride: int
    ) -> None:
        super().__init__(
            nn.Conv3d(
                in_channels,
                between_channels,
                (1, 3, 3),
                stride=(1, stride, stride),
                padding=(0, 1, 1),
                bias=False,
            ),
            nn.BatchNorm3d(between_channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(
                between_channels,
                out_channels,
                (3, 1, 1),
                stride=(stride, 1, 1),
                padding=(1, 0, 0),
                bias=False,
            ),
        )


class ResidualBlock(nn.Module):
    """Two factored convolutions and a shortcut, convolved where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        # as many parameters as 3x3x3 convolutions; both factorizations take the first one's number
        between = in_channels * out_channels * 27 // (in_channels * 9 + 3 * out_channels)
        self.conv1 = nn.Sequential(
            FactoredConv(in_channels, between, out_channels, stride=stride),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(
            FactoredConv(out_channels, between, out_channels, stride=1),
            nn.BatchNorm3d(out_channels),
        )
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm3d(out_channels),
            )

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Block output after the last ReLU."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.conv2(self.conv1(x))
        return F.relu(y + shortcut, inplace=True)


class StandardR2Plus1D(nn.Module):
    """Video encoder: frames, normalized per channel, to the pooled last stage."""

    def __init__(self, config: StandardR2Plus1DConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        blocks = BLOCKS_PER_STAGE[config.depth]
        between = max(1, round(_STEM_SHARE * width))
        self.stem = nn.Sequential(
            nn.Conv3d(3, between, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
            nn.BatchNorm3d(between),
            nn.ReLU(inplace=True),
            nn.Conv3d(between, width, (3, 1, 1), padding=(1, 0, 0), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        )
        self.layer1 = _layer(width, width, stride=1, num_blocks=blocks[0])
        self.layer2 = _layer(width, 2 * width, stride=2, num_blocks=blocks[1])
        self.layer3 = _layer(2 * width, 4 * width, stride=2, num_blocks=blocks[2])
        self.layer4 = _layer(4 * width, 8 * width, stride=2, num_blocks=blocks[3])
        for module in self.modules():
            if isinstance(module, nn.Conv3d):  # He et al. 2015, as torchvision draws them
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def embedding_dim(self) -> int:
        """Length of the vector that `forward` returns."""
        return 8 * self.config.width

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Mean, or global maximum, of conv5x, one row a clip."""
        return self.features(video)["pool"]

    def features(self, video: Float[Tensor, "b 3 t h w"]) -> dict[str, Tensor]:
        """Outputs of stem and layer1 .. 4 as conv1 .. conv5x (b, c, t, h, w), and pool (b, d)."""
        check_video_shape(video)
        conv1 = self.stem(video)
        conv2x = self.layer1(conv1)
        conv3x = self.layer2(conv2x)
        conv4x = self.layer3(conv3x)
        conv5x = self.layer4(conv4x)
        return {
            "conv1": conv1,
            "conv2x": conv2x,
            "conv3x": conv3x,
            "conv4x": conv4x,
            "conv5x": conv5x,
            "pool": global_pool(conv5x, self.config.pooling),
        }


def _layer(in_channels: int, out_channels: int, *, stride: int, num_blocks: int) -> nn.Sequential:
    first = ResidualBlock(in_channels, out_channels, stride=stride)
    rest = [ResidualBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *rest)
