"""Maps of a network's layers pooled to small grids: what linear classifiers are fitted on.

Letters: b clips, c channels, d length of a flattened grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

Pooling = Literal["max", "average"]


def grid_size(shape: tuple[int, ...], side: int) -> list[int]:
    """Grid of a map with these lengths, (t, h, w) or (s, f): one in time for video, else `side`.

    A map that is smaller than the grid keeps its length: pooling could only repeat values.
    """
    space = [min(side, length) for length in shape[-2:]]
    return [1, *space] if len(shape) == 3 else space


def pool_to_grid(maps: Tensor, *, side: int, pooling: Pooling) -> Float[Tensor, "b d"]:
    """Maps (b, c, t, h, w) or (b, c, s, f) adaptively pooled to a grid and flattened."""
    size: Any = grid_size(tuple(maps.shape[2:]), side)
    if maps.ndim == 5:
        pool3d = F.adaptive_max_pool3d if pooling == "max" else F.adaptive_avg_pool3d
        pooled: Tensor = pool3d(maps, size)
    else:
        pool2d = F.adaptive_max_pool2d if pooling == "max" else F.adaptive_avg_pool2d
        pooled = pool2d(maps, size)
    return pooled.flatten(1)
