from __future__ import annotations

import pytest
import torch
from disturbances import Bound

from avtrain.evaluate.accuracy import LabelledFeatures
from avtrain.evaluate.config import FewshotConfig
from avtrain.evaluate.fewshot import draw_rows, fewshot_accuracy


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


def _data(noise: float, seed: int = 0) -> LabelledFeatures:
    """Four classes at the corners of a square, 30 training and 100 test rows each."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.tensor([[0.0, 0.0], [0.0, 4.0], [4.0, 0.0], [4.0, 4.0]])
    train, test = torch.arange(120) % 4, torch.arange(400) % 4
    return LabelledFeatures(
        train=corners[train] + noise * torch.randn(120, 2, generator=generator),
        train_labels=10 * train,
        test=corners[test] + noise * torch.randn(400, 2, generator=generator),
        test_labels=10 * test,
    )


def test_draws_are_balanced_and_repeat() -> None:
    target = torch.arange(50) % 5
    rows = draw_rows(target, 3, seed=1, draw=0)
    assert torch.bincount(target[rows]).tolist() == [3] * 5
    assert len(set(rows.tolist())) == 15
    assert torch.equal(rows, draw_rows(target, 3, seed=1, draw=0))
    assert not torch.equal(rows, draw_rows(target, 3, seed=1, draw=1))
    assert not torch.equal(rows, draw_rows(target, 3, seed=2, draw=0))


@pytest.mark.trains
def test_far_classes_need_one_sample_and_near_ones_gain_from_more(
    training_seed: int, bound: Bound
) -> None:
    far, near = _data(0.1, training_seed), _data(1.5, training_seed)
    config = FewshotConfig(draws=16)
    assert fewshot_accuracy(far, shots=1, config=config, seed=training_seed).top1 == 1.0
    one = fewshot_accuracy(near, shots=1, config=config, seed=training_seed)
    many = fewshot_accuracy(near, shots=20, config=config, seed=training_seed)
    assert one.chance_top1 == 0.25
    bound("top-1 accuracy of one", one.top1, above=0.25)
    bound("gain of 20", many.top1 - one.top1, above=0)
    bound("top-1 accuracy of 20", many.top1, below=1)
    assert many.top1_std >= 0
    bound("std of 20 over that of one", many.top1_std / one.top1_std, below=1)
    assert one == fewshot_accuracy(near, shots=1, config=config, seed=training_seed)


def test_too_few_rows() -> None:
    with pytest.raises(ValueError, match=r"shots=31 needs as many .* the rarest has 30"):
        fewshot_accuracy(_data(1.0), shots=31, config=FewshotConfig(), seed=0)
