"""Memory bank: one moving average of embeddings an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avtrain.objectives.nce import bank_scores

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_MIN_NORM = 1e-6
"""A mixture shorter than this has no direction."""


class MemoryBank(nn.Module):
    """Unit rows, one an instance, each a moving average of that instance's embeddings.

    The rows are float32, start as random directions and take no gradient. With the same generator
    state every rank starts from the same rows.

    Reference: Wu et al. 2018, section 3.2; Morgado et al. 2021, section 3.1.
    """

    memory: Tensor

    def __init__(
        self, *, num_rows: int, dim: int, momentum: float, generator: torch.Generator
    ) -> None:
        """Bank of random unit rows.

        Args:
            momentum: weight of the old row in an update, in [0, 1).
            generator: on any device; the bank starts on that device.
        """
        super().__init__()
        if num_rows < 1 or dim < 1:
            raise ValueError(f"a bank needs {num_rows=} >= 1 and {dim=} >= 1")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"{momentum=} must be in [0, 1); the paper uses 0.5")
        self.momentum = momentum
        rows = torch.randn(num_rows, dim, generator=generator, device=generator.device)
        self.register_buffer("memory", F.normalize(rows, dim=1))

    @torch.no_grad()
    def rows(self, index: Int[Tensor, " ..."]) -> Float[Tensor, "... d"]:
        """Copies of the rows; a later update does not change them."""
        return self.memory[index]

    def scores(
        self, embedding: Float[Tensor, "b d"], index: Int[Tensor, "b m"], *, temperature: float
    ) -> Float[Tensor, "b m"]:
        """Products of each embedding with its own rows, over the temperature.

        The gradient reaches the embedding, with the rows as they are now.
        """
        return bank_scores(embedding, self.rows(index), temperature=temperature)

    @torch.no_grad()
    def update(self, index: Int[Tensor, " b"], embedding: Float[Tensor, "b d"]) -> None:
        """Move rows towards unit embeddings: m <- normalize(momentum m + (1 - momentum) e).

        Where an index occurs more than once, its last occurrence counts and the others are dropped,
        on every device. A row whose mixture is not finite, or has no direction, stays as it is.
        """
        if index.ndim != 1 or embedding.shape != (len(index), self.memory.shape[1]):
            raise ValueError(
                f"a bank of {tuple(self.memory.shape)} takes (b,) indices and "
                f"(b, {self.memory.shape[1]}) embeddings, got {tuple(index.shape)} and "
                f"{tuple(embedding.shape)}"
            )
        if len(index) == 0:
            return
        # every occurrence writes the value of the last one: the order of writes does not matter
        position = torch.arange(len(index), device=index.device)
        last = torch.where(index[:, None] == index[None, :], position, -1).amax(dim=1)
        old = self.memory[index]
        mixture = self.momentum * old + (1.0 - self.momentum) * embedding[last].float()
        norm = mixture.norm(dim=1, keepdim=True)
        usable = torch.isfinite(norm) & (norm > _MIN_NORM)
        self.memory[index] = torch.where(usable, mixture / norm, old)
