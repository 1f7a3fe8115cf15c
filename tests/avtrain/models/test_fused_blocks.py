"""Group normalization of the fused network's blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avtrain.models.fused_blocks import GroupNorm


@pytest.mark.parametrize(("channels", "num_groups"), [(8, 1), (16, 1), (24, 1), (32, 2), (64, 4)])
@pytest.mark.parametrize("gamma", [False, True])
def test_each_example_is_normalized_by_groups(channels: int, num_groups: int, gamma: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    norm = GroupNorm(channels, eps=1e-3, gamma=gamma).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(random(channels))
    assert set(norm.state_dict()) == ({"weight", "bias"} if gamma else {"bias"})
    x = random(2, channels, 3, 4, 5)
    groups = x.reshape(2, num_groups, -1)
    unit = (groups - groups.mean(2, keepdim=True)) / torch.sqrt(
        groups.var(2, keepdim=True, correction=0) + 1e-3
    )
    scale = norm.weight if norm.weight is not None else torch.ones(channels)
    expected = unit.reshape(x.shape) * scale[:, None, None, None] + norm.bias[:, None, None, None]
    torch.testing.assert_close(norm(x), expected)
