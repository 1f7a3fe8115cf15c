"""Optimizers and the rate at which they go, by passes over the samples."""

import math

import torch
from torch import nn

from avtrain.engine.config import OptimConfig


def make_optimizer(networks: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Optimizer of all parameters, in one kernel a step, on the CPU too."""
    parameters = [p for p in networks.parameters() if p.requires_grad]
    decayed = [p for p in parameters if config.decay_vectors or p.ndim > 1]
    others = [p for p in parameters if not config.decay_vectors and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas, fused=True)


def learning_rate(config: OptimConfig, *, epochs: float, total_epochs: float) -> float:
    """Rate of the step that begins after `epochs` passes over the samples."""
    rate = config.lr
    if config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, epochs / total_epochs)))
    elif config.schedule == "steps":
        rate *= config.gamma ** sum(epochs >= milestone for milestone in config.milestones)
    if epochs < config.warmup_epochs:
        rate *= epochs / config.warmup_epochs
    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all groups a rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, object]) -> None:
    """Take up a saved state, in the memory layout of the parameters, which kernels rely on."""
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
