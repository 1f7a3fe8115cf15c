"""Fractional max pooling: partitions, and maxima cell by cell."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch

from avtrain.models.fractional_pool import even_boundaries, max_over_cells, random_boundaries

CPU = torch.device("cpu")


def test_random_cells_of_the_published_clips_have_two_or_three_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(50):
        cells = random_boundaries(86, 32, device=CPU, generator=generator).diff().tolist()
        assert Counter(cells) == {2: 10, 3: 22}
        seen.add(tuple(cells))
        cells = random_boundaries(44, 16, device=CPU, generator=generator).diff().tolist()
        assert Counter(cells) == {2: 4, 3: 12}
    assert len(seen) == 50
    # every cell is long at times: 22 of 32 on average
    share = torch.tensor(list(seen), dtype=torch.float64).sub(2).mean(dim=0)
    assert share.min() > 0.4 and share.max() < 0.95


def test_the_generator_decides() -> None:
    first, again, other = (
        random_boundaries(86, 32, device=CPU, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = random_boundaries(86, 32, device=CPU)
        second = random_boundaries(86, 32, device=CPU)
        torch.manual_seed(1)
        assert torch.equal(first, random_boundaries(86, 32, device=CPU))
    assert not torch.equal(first, second)


def test_even_cells() -> None:
    assert even_boundaries(7, 3, device=CPU).tolist() == [0, 2, 4, 7]
    expected = [i * 86 // 32 for i in range(33)]
    assert even_boundaries(86, 32, device=CPU).tolist() == expected
    assert even_boundaries(4, 4, device=CPU).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("num_steps", "num_cells"), [(86, 32), (86, 8), (9, 8), (8, 8), (5, 1), (17, 5), (1, 1)]
)
@pytest.mark.parametrize("training", [False, True])
def test_maxima_of_cells(num_steps: int, num_cells: int, training: bool) -> None:
    generator = torch.Generator().manual_seed(num_steps)
    x = torch.randn(2, 3, num_steps, generator=generator).requires_grad_()
    if training:
        boundaries = random_boundaries(num_steps, num_cells, device=CPU, generator=generator)
    else:
        boundaries = even_boundaries(num_steps, num_cells, device=CPU)
    starts = boundaries.tolist()
    assert starts[0] == 0 and starts[-1] == num_steps and len(starts) == num_cells + 1
    cells = [x[:, :, a:b] for a, b in itertools.pairwise(starts)]
    assert {cell.shape[2] for cell in cells} <= {num_steps // num_cells, num_steps // num_cells + 1}
    expected = torch.stack([cell.amax(dim=2) for cell in cells], dim=2)
    seen = max_over_cells(x, boundaries)
    assert torch.equal(seen, expected)
    weight = torch.randn(seen.shape, generator=generator)
    (gradient,) = torch.autograd.grad((seen * weight).sum(), x)
    (naive,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(gradient, naive)


def test_more_cells_than_steps_are_refused() -> None:
    for make in (even_boundaries, random_boundaries):
        with pytest.raises(ValueError, match="3 steps do not fill 4 cells: every cell needs"):
            make(3, 4, device=CPU)
