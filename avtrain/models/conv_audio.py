"""Conv2D-10 audio network of AVID: a spectrogram, time first, to one vector a clip.

Parameter names are those of the published checkpoints.

Reference: Morgado, Vasconcelos, Misra 2021, table of architectures: 9 convolutions, no residual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from avtrain.models.config import NetConfig
from avtrain.models.pooling import global_pool

if TYPE_CHECKING:
    from jaxtyping import Float


class AudioNetConfig(NetConfig):
    """Shape of the audio network; the defaults are the released models."""

    width: PositiveInt = Field(
        default=64, description="channels of conv1 and block1; then 2x 4x 8x"
    )
    first_block_stride: Literal[1, 2] = Field(default=2, description="1 in the paper's ablations")
    in_channels: PositiveInt = 1


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with normalization and ReLU; the first carries the stride."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Float[Tensor, "b c s f"]) -> Float[Tensor, "b c2 s2 f2"]:
        """Block output after the last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)), inplace=True)


class ConvAudio(nn.Module):
    """Audio encoder: log spectrogram to the global maximum of the last block."""

    def __init__(self, config: AudioNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conv1 = nn.Sequential(
            nn.Conv2d(config.in_channels, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.block1 = ConvBlock(width, width, stride=config.first_block_stride)
        self.block2 = ConvBlock(width, 2 * width, stride=2)
        self.block3 = ConvBlock(2 * width, 4 * width, stride=2)
        self.block4 = ConvBlock(4 * width, 8 * width, stride=1)

    @property
    def embedding_dim(self) -> int:
        """Length of the vector that `forward` returns."""
        return 8 * self.config.width

    def forward(self, audio: Float[Tensor, "b c s f"]) -> Float[Tensor, "b d"]:
        """Global maximum of block4, one row a clip."""
        return self.features(audio)["pool"]

    def features(self, audio: Float[Tensor, "b c s f"]) -> dict[str, Tensor]:
        """Outputs of conv1, block1 .. 4 as conv2x .. conv5x, each (b, c, s, f), and pool (b, d)."""
        if audio.ndim != 4 or audio.shape[1] != self.config.in_channels:
            raise ValueError(
                f"audio must be (b, {self.config.in_channels}, spectrogram frames, frequencies), "
                f"got shape {tuple(audio.shape)}"
            )
        conv1 = self.conv1(audio)
        conv2x = self.block1(conv1)
        conv3x = self.block2(conv2x)
        conv4x = self.block3(conv3x)
        conv5x = self.block4(conv4x)
        return {
            "conv1": conv1,
            "conv2x": conv2x,
            "conv3x": conv3x,
            "conv4x": conv4x,
            "conv5x": conv5x,
            "pool": global_pool(conv5x, "max"),
        }
