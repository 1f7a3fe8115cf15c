"""Convolutions and max-pools with the "SAME" padding of TensorFlow, in one and three dimensions.

With kernel k and stride s, n positions give ceil(n / s). The padding that this takes is split
evenly, and the odd one goes to the right; where that is depends on the length, so that a constant,
symmetric padding moves features by one position at some lengths and breaks published weights.

    n = 8, k = 3, s = 2:    windows [0 1 2] [2 3 4] [4 5 6] [6 7 .]     left 0, right 1
    n = 7, k = 3, s = 2:    windows [. 0 1] [1 2 3] [3 4 5] [5 6 .]     left 1, right 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


def same_length(size: int, *, stride: int) -> int:
    """Number of outputs of a "SAME" convolution or pool."""
    return -(-size // stride)


def same_padding(size: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Padding on the left and on the right; the right has at most one more.

    Reference: TensorFlow, tf.nn.convolution, padding "SAME".
    """
    total = max((same_length(size, stride=stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def subsample_same(x: Float[Tensor, "b c ..."], strides: Sequence[int]) -> Tensor:
    """Every stride-th position of each axis after the channels: a max-pool with kernel 1."""
    return x[(slice(None), slice(None), *(slice(None, None, stride) for stride in strides))]


def max_pool_same(
    x: Float[Tensor, "b c t h w"], *, kernel: Sequence[int], strides: Sequence[int]
) -> Float[Tensor, "b c t2 h2 w2"]:
    """Maxima over windows; padding never wins."""
    left, extra = _padding(x, kernel, strides)
    # without a copy: a last, partial window is what `ceil_mode` allows, where the stride is over 1
    needs_copy = any(more and stride == 1 for more, stride in zip(extra, strides, strict=True))
    if needs_copy:
        x = F.pad(x, _pad_right(extra), value=-math.inf)
    return F.max_pool3d(
        x, tuple(kernel), stride=tuple(strides), padding=left, ceil_mode=not needs_copy
    )


class SameConv1d(nn.Conv1d):
    """Convolution of (b, c, n) to (b, c2, ceil(n / stride))."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: bool
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=bias)

    def forward(self, x: Float[Tensor, "b c n"]) -> Float[Tensor, "b c2 n2"]:
        """Outputs at every stride-th position."""
        x, left = _padded_right(x, self.kernel_size, self.stride)
        return F.conv1d(x, self.weight, self.bias, stride=self.stride, padding=left)


class SameConv3d(nn.Conv3d):
    """Convolution of (b, c, t, h, w) to the lengths ceil(size / stride)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        bias: bool,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=bias)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Outputs at every stride-th position of each axis."""
        x, left = _padded_right(x, self.kernel_size, self.stride)
        return F.conv3d(x, self.weight, self.bias, stride=self.stride, padding=left)


class SameConv2d(nn.Conv2d):
    """Convolution of (b, c, t, f) to the lengths ceil(size / stride)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        bias: bool,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=bias)

    def forward(self, x: Float[Tensor, "b c t f"]) -> Float[Tensor, "b c2 t2 f2"]:
        """Outputs at every stride-th position of each axis."""
        x, left = _padded_right(x, self.kernel_size, self.stride)
        return F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=left)


class SameTransposedConv2d(nn.ConvTranspose2d):
    """The gradient of `SameConv2d` as a layer: (b, c, t, f) to the lengths size * stride.

    The full transposed convolution is cropped by the padding of the convolution from `size *
    stride` to `size` positions: with kernel 4, 1 and 1 at stride 2, 1 left and 2 right at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        bias: bool,
    ) -> None:
        if any(k < s for k, s in zip(kernel, stride, strict=True)):
            raise ValueError(f"{kernel=} must be at least {stride=}: outputs would have gaps")
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=bias)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "b c t f"]
    ) -> Float[Tensor, "b c2 t2 f2"]:
        """Outputs at `stride` times as many positions of each axis."""
        # total padding is kernel - stride at any length, as size * stride is a multiple of stride
        total = [k - s for k, s in zip(self.kernel_size, self.stride, strict=True)]
        left = tuple(value // 2 for value in total)
        y = F.conv_transpose2d(x, self.weight, self.bias, stride=self.stride, padding=left)
        rows, columns = (size * s for size, s in zip(x.shape[2:], self.stride, strict=True))
        return y[:, :, :rows, :columns]


def _padding(
    x: Tensor, kernel: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding of both sides, and what the right needs beyond it, by axis."""
    sides = [
        same_padding(size, kernel=k, stride=s)
        for size, k, s in zip(x.shape[2:], kernel, strides, strict=True)
    ]
    return tuple(left for left, _ in sides), tuple(right - left for left, right in sides)


def _padded_right(
    x: Tensor, kernel: Sequence[int], strides: Sequence[int]
) -> tuple[Tensor, tuple[int, ...]]:
    """The input with what its right needs more than its left, and what the left needs."""
    left, extra = _padding(x, kernel, strides)
    return (F.pad(x, _pad_right(extra)) if any(extra) else x), left


def _pad_right(extra: Sequence[int]) -> list[int]:
    """In the order of `F.pad`: the last axis first."""
    return [amount for more in reversed(extra) for amount in (0, more)]
