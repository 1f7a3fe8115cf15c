"""Color jitter against torchvision, clip by clip."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from avtrain.data.augment.color import COLOR_OPERATIONS, jitter_colors

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
