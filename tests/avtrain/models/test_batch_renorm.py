"""Normalizations against the formulas of TensorFlow, step by step in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_cuda import pretend_cuda
from torch import Tensor

from avtrain.models.batch_renorm import (
    BatchNorm,
    BatchRenorm,
    batch_statistics,
    remembered,
    replayed,
)

EPS, DECAY, RENORM_DECAY = 1e-3, 0.9, 0.8


def batches(num: int, *shape: int) -> list[Tensor]:
    """Batches whose level and spread move."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64) * (1 + 0.3 * k) + 0.5 * k
        for k in range(num)
    ]


class NaiveRenorm:
    """One channel; `moving` averages are those of TensorFlow, which start at 0 here."""

    def __init__(self) -> None:
        self.renorm_mean = self.renorm_std = self.renorm_weight = 0.0
        self.moving_mean = self.moving_var = self.moving_weight = 0.0

    def step(self, values: np.ndarray, gamma: float, beta: float) -> np.ndarray:
        mean, std = values.mean(), np.sqrt(values.var() + EPS)
        mixed_mean = self.renorm_mean + (1 - self.renorm_weight) * mean
        mixed_std = self.renorm_std + (1 - self.renorm_weight) * std
        r, d = std / mixed_std, (mean - mixed_mean) / mixed_std
        output = ((values - mean) / std * r + d) * gamma + beta
        for name, value in (("mean", mean), ("std", std), ("weight", 1.0)):
            old = getattr(self, f"renorm_{name}")
            setattr(self, f"renorm_{name}", RENORM_DECAY * old + (1 - RENORM_DECAY) * value)
        new_mean = self.renorm_mean / self.renorm_weight
        new_var = (self.renorm_std / self.renorm_weight) ** 2 - EPS
        self._move(new_mean, new_var)
        return output

    def _move(self, mean: float, var: float) -> None:
        self.moving_mean = DECAY * self.moving_mean + (1 - DECAY) * mean
        self.moving_var = DECAY * self.moving_var + (1 - DECAY) * var
        self.moving_weight = DECAY * self.moving_weight + (1 - DECAY)

    def evaluate(self, values: np.ndarray, gamma: float, beta: float) -> np.ndarray:
        mean = self.moving_mean / self.moving_weight
        var = self.moving_var / self.moving_weight
        return (values - mean) / np.sqrt(var + EPS) * gamma + beta


@pytest.mark.parametrize("gamma", [False, True])
def test_renormalization_equals_the_formulas_over_steps(gamma: bool) -> None:
    norm = BatchRenorm(3, eps=EPS, decay=DECAY, gamma=gamma, renorm_decay=RENORM_DECAY).double()
    assert len(list(norm.parameters())) == 1 + gamma
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
        scale = torch.tensor([1.5, 0.5, -2.0], dtype=torch.float64) if gamma else torch.ones(3)
        if norm.weight is not None:
            norm.weight.copy_(scale)
    naive = [NaiveRenorm() for _ in range(3)]
    for x in batches(6, 4, 3, 5, 2, 2):
        seen = norm(x).detach()
        for c, reference in enumerate(naive):
            expected = reference.step(x[:, c].numpy(), float(scale[c]), norm.bias[c].item())
            np.testing.assert_allclose(seen[:, c].numpy(), expected, rtol=1e-10, atol=1e-10)
    norm.eval()
    seen = norm(x).detach()
    for c, reference in enumerate(naive):
        expected = reference.evaluate(x[:, c].numpy(), float(scale[c]), norm.bias[c].item())
        np.testing.assert_allclose(seen[:, c].numpy(), expected, rtol=1e-10, atol=1e-10)


def test_gradients_of_renormalization_take_its_corrections_as_constants() -> None:
    norm = BatchRenorm(3, eps=EPS, decay=DECAY, gamma=True, renorm_decay=RENORM_DECAY).double()
    *earlier, x = batches(4, 4, 3, 7)
    for batch in earlier:
        norm(batch)
    rest = 1 - norm.renorm_weight.item()
    x.requires_grad_()
    mean, var = x.mean((0, 2)), x.var((0, 2), correction=0)
    std = (var + EPS).sqrt()
    mixed_mean = (norm.renorm_mean + rest * mean).detach()
    mixed_std = (norm.renorm_std + rest * std).detach()
    r, d = (std / mixed_std).detach(), ((mean - mixed_mean) / mixed_std).detach()
    unit = ((x - mean[:, None]) / std[:, None]) * r[:, None] + d[:, None]
    expected = unit * norm.weight[:, None] + norm.bias[:, None]
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    inputs = (x, norm.weight, norm.bias)
    naive = torch.autograd.grad((expected * weight).sum(), inputs)
    output = norm(x)
    torch.testing.assert_close(output, expected)
    for seen, reference in zip(
        torch.autograd.grad((output * weight).sum(), inputs), naive, strict=True
    ):
        torch.testing.assert_close(seen, reference)


def test_the_first_batch_is_only_normalized() -> None:
    (x,) = batches(1, 4, 3, 7)
    renorm = BatchRenorm(3, eps=EPS, decay=DECAY, gamma=False).double()
    norm = BatchNorm(3, eps=EPS, decay=DECAY, gamma=False).double()
    torch.testing.assert_close(renorm(x), norm(x))
    assert renorm.renorm_decay == 0.99  # TensorFlow's default


def test_batch_normalization_averages_as_torch_but_for_the_start() -> None:
    ours = BatchNorm(3, eps=EPS, decay=DECAY, gamma=True).double()
    theirs = torch.nn.BatchNorm1d(3, eps=EPS, momentum=1 - DECAY).double()
    for k, x in enumerate(batches(5, 4, 3, 7), start=1):
        torch.testing.assert_close(ours(x), theirs(x))
        mean = theirs.running_mean / (1 - DECAY**k)  # theirs starts at 0
        var = (theirs.running_var - DECAY**k) / (1 - DECAY**k)  # and at 1
        torch.testing.assert_close(ours.running_mean, mean)
        torch.testing.assert_close(ours.running_var, var)
    theirs.running_mean.copy_(mean)
    theirs.running_var.copy_(var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("kind", [BatchNorm, BatchRenorm])
def test_statistics_of_bfloat16_are_float32(kind: type[BatchNorm]) -> None:
    x = (batches(1, 16, 3, 50)[0] + 3).bfloat16()
    narrow, wide = (kind(3, eps=EPS, decay=DECAY, gamma=True) for _ in range(2))
    output = narrow(x)
    wide(x.float())
    assert output.dtype == torch.bfloat16 and narrow.running_mean.dtype == torch.float32
    torch.testing.assert_close(narrow.running_mean, wide.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(narrow.running_var, wide.running_var, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [BatchNorm, BatchRenorm])
def test_a_batch_computed_again_gives_the_same_and_counts_once(kind: type[BatchNorm]) -> None:
    once, twice = (kind(3, eps=EPS, decay=DECAY, gamma=False).double() for _ in range(2))
    first, second = batches(2, 4, 3, 7)
    for norm in (once, twice):
        norm(first)
    memo: dict = {}
    with remembered([twice], memo):
        outputs = [twice(second)]
    twice_after_one = {name: value.clone() for name, value in twice.state_dict().items()}
    with replayed([twice], memo):
        outputs.append(twice(second))
    torch.testing.assert_close(outputs[0], once(second), rtol=0, atol=0)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=0)
    for name, value in twice.state_dict().items():
        assert torch.equal(value, twice_after_one[name]), name
        assert torch.equal(value, once.state_dict()[name]), name


def test_settings_are_printed() -> None:
    text = "BatchRenorm(3, eps=0.001, decay=0.9997, gamma=False)"
    assert repr(BatchRenorm(3, eps=1e-3, decay=0.9997, gamma=False)) == text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="gpu: torch sees no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_cuda_statistics(dtype: torch.dtype, layout: torch.memory_format) -> None:
    x = batches(2, 4, 3, 6, 5, 5)[1].to("cuda", dtype).contiguous(memory_format=layout)
    mean, std = batch_statistics(x, eps=1e-3)
    assert mean.dtype == std.dtype == torch.float32
    wide = x.double()
    dims = (0, 2, 3, 4)
    torch.testing.assert_close(mean.double(), wide.mean(dims), rtol=1e-5, atol=1e-5)
    expected = (wide.var(dims, correction=0) + 1e-3).sqrt()
    torch.testing.assert_close(std.double(), expected, rtol=1e-4, atol=1e-5)
    still, least = batch_statistics(torch.full_like(x, 2.0), eps=1e-3)
    assert torch.all(still == 2)
    torch.testing.assert_close(least, torch.full_like(least, 1e-3**0.5))


def test_channels_that_do_not_vary_stay_finite_on_both_paths() -> None:
    x = torch.full((2, 3, 4, 5, 5), 2.0)
    with pretend_cuda():
        for given in (x, x.to("cuda")):
            mean, std = batch_statistics(given, eps=1e-3)
            assert mean.tolist() == [2.0] * 3
            torch.testing.assert_close(std, torch.full_like(std, 1e-3**0.5))
            norm = BatchRenorm(3, eps=1e-3, decay=0.9, gamma=False).to(given.device)
            assert torch.all(norm(given) == 0)
