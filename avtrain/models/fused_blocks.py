"""Blocks of the multisensory network: normalizations, a convolution with one, the residual block.

Reference: Owens and Efros 2018, released code: the order of a residual block is sum, then
normalization, then ReLU, in one dimension for sound and in three for frames.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avtrain.models.batch_renorm import BatchNorm, BatchRenorm
from avtrain.models.same_padding import SameConv1d, SameConv3d, subsample_same

if TYPE_CHECKING:
    from jaxtyping import Float

NormKind = Literal["renorm", "batch", "group"]
Triple = tuple[int, int, int]

TRUNCATED_AT_TWO = 0.87962566103423978
"""Standard deviation of a unit normal cut at two of its standard deviations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Norms:
    """Which normalizations a network has."""

    kind: NormKind
    """renorm: batch normalization after a convolution, renormalization after a sum."""
    gamma: bool
    eps: float
    decay: float

    def after_conv(self, channels: int) -> nn.Module:
        """Normalization of what a convolution gives."""
        if self.kind == "group":
            return GroupNorm(channels, eps=self.eps, gamma=self.gamma)
        return BatchNorm(channels, eps=self.eps, decay=self.decay, gamma=self.gamma)

    def after_sum(self, channels: int) -> nn.Module:
        """Normalization of a block's output."""
        if self.kind == "renorm":
            return BatchRenorm(channels, eps=self.eps, decay=self.decay, gamma=self.gamma)
        return self.after_conv(channels)


class GroupNorm(nn.Module):
    """Normalization of each example over groups of 16 channels, or all where 16 do not divide."""

    unit: Tensor

    def __init__(self, channels: int, *, eps: float, gamma: bool) -> None:
        super().__init__()
        self.num_groups = channels // 16 if channels % 16 == 0 else 1
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if gamma else None
        self.register_buffer("unit", torch.ones(channels), persistent=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b c ..."]:
        """Normalized input, of its type; sums are float32."""
        weight = (self.unit if self.weight is None else self.weight).to(x.dtype)
        with without_autocast(x.device):  # it would make large float32 outputs
            return F.group_norm(x, self.num_groups, weight, self.bias.to(x.dtype), self.eps)


class ConvNorm(nn.Module):
    """Convolution without bias, then normalization, then ReLU unless it is a shortcut."""

    def __init__(self, conv: SameConv1d | SameConv3d, norms: Norms, *, relu: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norms.after_conv(conv.out_channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Activations of the new channels."""
        y: Tensor = self.norm(self.conv(x))
        return F.relu(y, inplace=True) if self.relu else y


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut; their sum is normalized and rectified.

    The shortcut is the input, subsampled where there is a stride; where the number of channels
    changes it is a convolution with kernel 1 and a normalization.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int | Triple,
        stride: int | Triple,
        norms: Norms,
    ) -> None:
        super().__init__()
        self.strides = (stride,) if isinstance(stride, int) else stride
        self.conv1 = ConvNorm(
            same_conv(in_channels, out_channels, kernel, stride=stride, bias=False), norms
        )
        one: int | Triple = 1 if isinstance(stride, int) else (1, 1, 1)
        self.conv2 = same_conv(out_channels, out_channels, kernel, stride=one, bias=True)
        self.shortcut: ConvNorm | None = None
        if in_channels != out_channels:
            projection = same_conv(in_channels, out_channels, one, stride=stride, bias=False)
            self.shortcut = ConvNorm(projection, norms, relu=False)
        self.norm = norms.after_sum(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Block output after the ReLU."""
        shortcut = subsample_same(x, self.strides) if self.shortcut is None else self.shortcut(x)
        # in place: no backward needs the convolution's output without the shortcut
        y = self.conv2(self.conv1(x)).add_(shortcut)
        return F.relu(self.norm(y), inplace=True)


def same_conv(
    in_channels: int,
    out_channels: int,
    kernel: int | Triple,
    *,
    stride: int | Triple,
    bias: bool,
) -> SameConv1d | SameConv3d:
    """A convolution in one dimension or in three, by the kernel and the stride."""
    if isinstance(kernel, int) and isinstance(stride, int):
        return SameConv1d(in_channels, out_channels, kernel, stride=stride, bias=bias)
    assert not isinstance(kernel, int) and not isinstance(stride, int)
    return SameConv3d(in_channels, out_channels, kernel, stride=stride, bias=bias)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Context in which operations keep the types of their inputs."""
    if device.type == "meta":  # has no autocast to switch off
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def init_weights(module: nn.Module) -> None:
    """Draw weights of convolutions from the global generator, set biases to 0; for `Module.apply`.

    Truncated normal of variance 2 / fan-in.

    Reference: tf.contrib.layers.variance_scaling_initializer, its defaults.
    """
    if isinstance(module, (SameConv1d, SameConv3d)):
        std = math.sqrt(2 / module.weight[0].numel()) / TRUNCATED_AT_TWO
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
