"""The two collectives that objectives need; on one process both return their argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


@torch.no_grad()
def mean_across_ranks(value: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """Mean over ranks, without gradient."""
    if _num_ranks() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / _num_ranks()


@torch.no_grad()
def concat_across_ranks(value: Shaped[Tensor, "b ..."]) -> Shaped[Tensor, "rb ..."]:
    """Rows of rank 0, then of rank 1 and so on, without gradient.

    Every rank gives equally many rows.
    """
    if _num_ranks() == 1:
        return value
    parts = [torch.empty_like(value) for _ in range(_num_ranks())]
    distributed.all_gather(parts, value.detach().contiguous())
    return torch.cat(parts)


def _num_ranks() -> int:
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()
