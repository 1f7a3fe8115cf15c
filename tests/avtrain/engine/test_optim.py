"""Rates by formula, groups by shape, states by layout."""

import math

import pytest
import torch
from torch import nn

from avdata import ConfigError, build_settings
from avtrain.engine.compute import lay_out_channels_last
from avtrain.engine.config import FitConfig, OptimConfig
from avtrain.engine.optim import learning_rate, load_optimizer, make_optimizer


def rates(config: OptimConfig, *epochs: float) -> list[float]:
    return [learning_rate(config, epochs=epoch, total_epochs=10.0) for epoch in epochs]


def test_rates() -> None:
    assert rates(OptimConfig(lr=2.0), 0, 5, 100) == [2.0, 2.0, 2.0]
    cosine = rates(OptimConfig(lr=2.0, schedule="cosine"), 0, 2.5, 5, 10, 12)
    assert cosine == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 0.0, 0.0])
    steps = OptimConfig(lr=1.0, schedule="steps", milestones=(6, 10, 14), gamma=0.3)
    assert rates(steps, 5.9, 6, 10, 13.9, 14) == pytest.approx([1, 0.3, 0.09, 0.09, 0.027])
    warm = OptimConfig(lr=1.0, schedule="cosine", warmup_epochs=2.0)
    assert rates(warm, 0, 1)[0] == 0.0
    assert rates(warm, 1)[0] == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi / 10)))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["optim.schedule=steps"], "milestones are given with 'steps', and only there"),
        (["optim.milestones=[3]"], "milestones are given with 'steps', and only there"),
        (["optim.schedule=steps", "optim.milestones=[5, 3]"], "must be positive and ascending"),
    ],
)
def test_wrong_milestones(settings: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build_settings(FitConfig, {}, settings)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_vectors_without_decay(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    config = OptimConfig(name=name, decay_vectors=False, weight_decay=0.1)  # type: ignore[arg-type]
    groups = make_optimizer(net, config).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.1), (3, 0.0)]
    assert len(make_optimizer(net, OptimConfig()).param_groups) == 1


def test_a_loaded_state_goes_on_in_the_layout_of_the_weights() -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Conv3d(4, 8, (3, 1, 1))
        lay_out_channels_last(net)
        return net, make_optimizer(net, OptimConfig(lr=0.1))

    def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        video = torch.randn(2, 4, 4, 5, 5, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        net(video).square().mean().backward()
        optimizer.step()

    whole, optimizer = fresh()
    step(whole, optimizer, 1)
    weights = {name: value.clone() for name, value in whole.state_dict().items()}
    state = optimizer.state_dict()
    stored = {
        index: {
            name: value.clone(memory_format=torch.contiguous_format) for name, value in s.items()
        }
        for index, s in state["state"].items()
    }
    step(whole, optimizer, 2)

    resumed, other = fresh()
    resumed.load_state_dict(weights)
    load_optimizer(other, {"state": stored, "param_groups": state["param_groups"]})
    step(resumed, other, 2)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert a.stride() == b.stride()
        assert torch.equal(a, b)
