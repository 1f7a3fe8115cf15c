"""Feature maps to one vector a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Pooling = Literal["max", "average"]


def global_pool(x: Float[Tensor, "b c ..."], pooling: Pooling) -> Float[Tensor, "b c"]:
    """Maximum or mean of each channel over all other axes."""
    flat = x.flatten(2)
    if pooling == "average":
        return flat.mean(dim=2)
    # over one flat axis: unlike adaptive max pooling its backward is deterministic on CUDA
    return flat.max(dim=2).values
