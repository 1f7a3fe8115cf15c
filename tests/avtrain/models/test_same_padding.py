"""Padding by TensorFlow's rule: against windows listed one by one, and the lengths of the paper."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.models.same_padding import (
    SameConv1d,
    SameConv2d,
    SameConv3d,
    SameTransposedConv2d,
    max_pool_same,
    same_padding,
    subsample_same,
)

SIZES = [*range(1, 14), 31, 63, 64]
KERNELS = (1, 2, 3, 4, 5, 7, 15)
STRIDES = (1, 2, 3, 4)


def windows(size: int, kernel: int, stride: int) -> list[range]:
    """Positions of each output's window, by the documentation of `tf.nn.convolution`."""
    num_outputs = -(-size // stride)
    total = max(kernel - (size % stride or stride), 0)
    left = total // 2
    return [range(i * stride - left, i * stride - left + kernel) for i in range(num_outputs)]


def cases() -> list[tuple[int, int, int]]:
    return list(itertools.product(SIZES, KERNELS, STRIDES))


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_convolution_sees_the_windows_of_tensorflow() -> None:
    assert len(cases()) == 16 * 7 * 4
    for size, kernel, stride in cases():
        conv = SameConv1d(1, 1, kernel, stride=stride, bias=False).double()
        x = random(1, 1, size)
        weight, values = conv.weight.detach()[0, 0].tolist(), x[0, 0].tolist()
        expected = [
            sum(weight[k] * values[p] for k, p in enumerate(window) if 0 <= p < size)
            for window in windows(size, kernel, stride)
        ]
        seen = conv(x).detach()[0, 0]
        torch.testing.assert_close(seen, torch.tensor(expected, dtype=torch.float64))


def test_pool_sees_the_windows_of_tensorflow_and_never_their_padding() -> None:
    for size, kernel, stride in cases():
        x = random(1, 1, 2, 2, size) - 10  # a padding of zeros would win
        values = x[0, 0, 0, 0].tolist()
        expected = [
            max(values[p] for p in window if 0 <= p < size)
            for window in windows(size, kernel, stride)
        ]
        seen = max_pool_same(x, kernel=(1, 1, kernel), strides=(1, 1, stride))
        assert seen.shape == (1, 1, 2, 2, len(expected))
        assert seen[0, 0, 0, 0].tolist() == expected, (size, kernel, stride)


def test_axes_are_padded_one_by_one() -> None:
    conv = SameConv3d(2, 3, (5, 7, 7), stride=(2, 2, 2), bias=True).double()
    x = random(1, 2, 13, 16, 15)
    padded = F.pad(x, (3, 3, 2, 3, 2, 2))  # 15: 3/3; 16: 2/3; 13: 2/2
    expected = F.conv3d(padded, conv.weight, conv.bias, stride=2)
    torch.testing.assert_close(conv(x), expected)
    pooled = max_pool_same(x, kernel=(1, 3, 3), strides=(1, 2, 2))
    padded = F.pad(x, (1, 1, 0, 1), value=-torch.inf)
    torch.testing.assert_close(pooled, F.max_pool3d(padded, (1, 3, 3), stride=(1, 2, 2)))
    assert torch.equal(subsample_same(x, (1, 2, 3)), x[:, :, :, ::2, ::3])


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (87588, 65, 4, (30, 31)),  # A1
        (44144, 65, 4, (30, 31)),
        (5474, 15, 4, (6, 7)),  # A2, A3, A4 of 4.2 s
        (1369, 15, 4, (7, 7)),
        (343, 15, 4, (6, 6)),
        (2759, 15, 4, (6, 6)),  # and of 2.1 s
        (690, 15, 4, (6, 7)),
        (173, 15, 4, (7, 7)),
        (125, 5, 2, (2, 2)),  # V1
        (63, 5, 2, (2, 2)),
        (224, 7, 2, (2, 3)),
        (112, 3, 2, (0, 1)),  # its pool
        (56, 3, 2, (0, 1)),
        (63, 3, 2, (1, 1)),
        (1024, 4, 2, (1, 1)),  # u-net
        (128, 4, 1, (1, 2)),
    ],
)
def test_published_layers(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel=kernel, stride=stride) == padding


@pytest.mark.parametrize("stride", [(1, 2), (2, 2), (2, 1), (1, 1), (3, 2)])
@pytest.mark.parametrize("kernel", [(4, 4), (3, 5)])
def test_transposed_convolution_is_the_gradient_of_the_convolution(
    kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    conv = SameConv2d(2, 3, kernel, stride=stride, bias=False).double()
    back = SameTransposedConv2d(3, 2, kernel, stride=stride, bias=False).double()
    back.load_state_dict(conv.state_dict())
    large = random(1, 2, 6 * stride[0], 5 * stride[1]).requires_grad_()
    small = random(1, 3, 6, 5, seed=1)
    (expected,) = torch.autograd.grad(conv(large), large, small)
    torch.testing.assert_close(back(small), expected)


def test_transposed_convolution_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kernel=\(2, 1\) must be at least stride=\(2, 2\)"):
        SameTransposedConv2d(1, 1, (2, 1), stride=(2, 2), bias=False)
