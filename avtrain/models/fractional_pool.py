"""Fractional max pooling: any number of steps to any smaller number, cell by cell.

    n = 7 steps to 3 cells, floor(i * 7 / 3) = 0 2 4 7:     | 0 1 | 2 3 | 4 5 6 |

Reference: Graham 2014, "Fractional max-pooling", disjoint regions, random sequences; Owens and
Efros 2018, released code: sound steps to video steps before the fusion.

Departures: cells are even in evaluation; the released code draws them there too, from one seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def even_boundaries(
    num_steps: int, num_cells: int, *, device: torch.device
) -> Int64[Tensor, "cells+1"]:
    """Starts of the cells and the end of the last, floor(i * steps / cells)."""
    _check(num_steps, num_cells)
    return torch.arange(num_cells + 1, device=device) * num_steps // num_cells


def random_boundaries(
    num_steps: int,
    num_cells: int,
    *,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Int64[Tensor, "cells+1"]:
    """Starts of the cells and the end of the last, for cells of two lengths in random order.

    The lengths are floor(steps / cells) and one more: 2 and 3 for a ratio between 2 and 3.

    Args:
        generator: On any device; None is the global one of `device`.
    """
    _check(num_steps, num_cells)
    short, num_long = divmod(num_steps, num_cells)
    where = device if generator is None else generator.device
    order = torch.randperm(num_cells, device=where, generator=generator).to(device)
    ends = (short + (order < num_long).long()).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends])


def max_over_cells(
    x: Float[Tensor, "b c s"], boundaries: Int64[Tensor, "cells+1"]
) -> Float[Tensor, "b c cells"]:
    """Maximum of each cell of the last axis.

    Args:
        x: Steps; their number over that of the cells, rounded up, is the longest cell.
        boundaries: Of `even_boundaries` or `random_boundaries` for that number of steps.
    """
    num_cells = boundaries.shape[0] - 1
    longest = -(-x.shape[2] // num_cells)
    offsets = torch.arange(longest, device=x.device)
    steps = boundaries[:-1, None] + offsets
    # a short cell sees its last step twice
    steps = torch.minimum(steps, boundaries[1:, None] - 1)
    return x[:, :, steps].amax(dim=3)


def _check(num_steps: int, num_cells: int) -> None:
    if not 1 <= num_cells <= num_steps:
        raise ValueError(
            f"{num_steps} steps do not fill {num_cells} cells: every cell needs at least one step"
        )
