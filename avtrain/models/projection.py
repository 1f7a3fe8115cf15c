"""Projection heads: encoder vectors to the space in which instances are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from avtrain.models.config import NetConfig

if TYPE_CHECKING:
    from jaxtyping import Float


class ProjectionConfig(NetConfig):
    """Shape of one head; the default is the released 512-512-128."""

    embedding_dim: PositiveInt = Field(default=128, description="length of the output")
    num_hidden: NonNegativeInt = Field(default=2, description="0 is a single linear layer")
    hidden_width: PositiveInt | None = Field(default=None, description="None: the encoder's width")
    batch_norm: bool = Field(
        default=False,
        description="normalize each layer's output over the batch, the last one without weights; "
        "not published. Embeddings of new networks then differ, and training on small sets starts "
        "at once",
    )


class Projection(nn.Module):
    """Linear layers with ReLU between them, and no final activation."""

    def __init__(self, config: ProjectionConfig, *, in_dim: int) -> None:
        super().__init__()
        self.config = config
        hidden_width = in_dim if config.hidden_width is None else config.hidden_width
        layers: list[nn.Module] = []
        width = in_dim
        for _ in range(config.num_hidden):
            layers.append(nn.Linear(width, hidden_width))
            if config.batch_norm:
                layers.append(nn.BatchNorm1d(hidden_width))
            layers.append(nn.ReLU(inplace=True))
            width = hidden_width
        layers.append(nn.Linear(width, config.embedding_dim))
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(config.embedding_dim, affine=False))
        self.projection = nn.Sequential(*layers)

    @property
    def embedding_dim(self) -> int:
        """Length of the vector that `forward` returns."""
        return self.config.embedding_dim

    def forward(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """Embeddings, not normalized."""
        output: Tensor = self.projection(x)
        return output
