"""Color jitter against torchvision, clip by clip."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import ColorJitter
from torchvision.transforms.v2 import functional as reference

from avtrain.data.augment.color import COLOR_OPERATIONS, draw_jitter, jitter_colors

REFERENCE = {
    "brightness": reference.adjust_brightness,
    "contrast": reference.adjust_contrast,
    "saturation": reference.adjust_saturation,
    "hue": reference.adjust_hue,
}


def draw(num_clips: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (num_clips, 3, 3, 9, 7), generator=generator) / 255
    factors = 0.6 + 0.8 * torch.rand((num_clips, 4), generator=generator)
    factors[:, 3] = torch.rand(num_clips, generator=generator) - 0.5
    orders = torch.stack([torch.randperm(4, generator=generator) for _ in range(num_clips)])
    return frames, factors, orders


def test_equals_torchvision_in_each_clips_own_order() -> None:
    frames, factors, orders = draw(24)
    assert len({tuple(order.tolist()) for order in orders}) > 8
    got = jitter_colors(frames, factors=factors, orders=orders)
    for clip in range(len(frames)):
        want = frames[clip]
        for column in orders[clip].tolist():
            want = REFERENCE[COLOR_OPERATIONS[column]](want, float(factors[clip, column]))
        torch.testing.assert_close(got[clip], want, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", COLOR_OPERATIONS)
def test_gray_stays_gray_under_each_operation(name: str) -> None:
    gray = torch.linspace(0, 1, 50).reshape(1, 1, 1, 5, 10).expand(1, 1, 3, 5, 10)
    order = torch.tensor([[COLOR_OPERATIONS.index(name), -1, -1, -1]])
    out = jitter_colors(gray, factors=torch.full((1, 4), 0.3), orders=order)
    torch.testing.assert_close(out[:, :, 0], out[:, :, 1], atol=1e-6, rtol=0)
    torch.testing.assert_close(out[:, :, 0], out[:, :, 2], atol=1e-6, rtol=0)


def test_empty_orders_change_nothing_and_arguments_stay() -> None:
    frames, factors, orders = draw(3)
    before = frames.clone()
    same = jitter_colors(frames, factors=factors, orders=torch.full_like(orders, -1))
    assert torch.equal(same, before)
    jitter_colors(frames, factors=factors, orders=orders)
    assert torch.equal(frames, before)


def test_equals_color_jitter_of_torchvision_with_its_own_draws() -> None:
    """The strengths of HMDB, whose factors reach 0: its transform applies what it drew."""
    transform = ColorJitter(1, 1, 1, 0.2)
    torch.manual_seed(0)
    frames = draw(12)[0]
    draws = [transform.make_params([]) for _ in range(len(frames))]
    factors = torch.tensor([[params[f"{n}_factor"] for n in COLOR_OPERATIONS] for params in draws])
    orders = torch.stack([params["fn_idx"] for params in draws])
    got = jitter_colors(frames, factors=factors, orders=orders)
    for clip, params in enumerate(draws):
        want = transform.transform(frames[clip], params)
        torch.testing.assert_close(got[clip], want, atol=2e-5, rtol=0)


def test_parts_of_a_batch_and_clips_without_all_operations_equal_the_whole() -> None:
    frames, factors, orders = draw(9)
    orders[torch.rand(orders.shape, generator=torch.Generator().manual_seed(1)) < 0.4] = -1
    whole = jitter_colors(frames, factors=factors, orders=orders)
    for clip in range(9):
        part = slice(clip, clip + 1)
        alone = jitter_colors(frames[part], factors=factors[part], orders=orders[part])
        torch.testing.assert_close(alone, whole[part], atol=1e-6, rtol=0)
        want = frames[clip]
        for column in orders[clip].tolist():
            if column >= 0:
                want = REFERENCE[COLOR_OPERATIONS[column]](want, float(factors[clip, column]))
        torch.testing.assert_close(whole[clip], want, atol=2e-5, rtol=0)


@pytest.mark.parametrize("reaches", [(0.4, 0.4, 0.4, 0.2), (1.0, 1.0, 1.0, 0.2)])
def test_draws_have_the_distribution_of_torchvision(
    reaches: tuple[float, float, float, float],
) -> None:
    num = 4000
    rng = np.random.default_rng(0)
    draws = [draw_jitter(rng, reaches) for _ in range(num)]
    torch.manual_seed(0)
    theirs = [ColorJitter(*reaches).make_params([]) for _ in range(num)]
    for column, name in enumerate(COLOR_OPERATIONS):
        ours = [factors[column] for factors, _ in draws]
        other = [params[f"{name}_factor"] for params in theirs]
        assert stats.ks_2samp(ours, other).pvalue > 0.01, name
    counts = np.zeros((2, 256), int)
    weights = np.array([64, 16, 4, 1])
    for (_, order), params in zip(draws, theirs, strict=True):
        counts[0, np.array(order) @ weights] += 1
        counts[1, params["fn_idx"].numpy() @ weights] += 1
    counts = counts[:, counts.sum(0) > 0]
    assert counts.shape == (2, 24)
    assert stats.chisquare(counts[0]).pvalue > 0.01
    assert stats.chi2_contingency(counts).pvalue > 0.01


def test_operations_of_no_reach_take_no_place() -> None:
    factors, order = draw_jitter(np.random.default_rng(0), (0.4, 0, 0.4, 0))
    assert sorted(order) == [-1, -1, 0, 2]
    assert (factors[1], factors[3]) == (1, 0)
