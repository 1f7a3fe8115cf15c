"""Memory bank: one moving average of embeddings an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avtrain.objectives.across_ranks import RankRows
from avtrain.objectives.nce import bank_scores

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_MIN_NORM = 1e-6
"""A mixture shorter than this has no direction."""
_DENSE_ROWS = 16
"""A bank with fewer rows than this times the scores of an anchor is multiplied as a whole: with
256 anchors of 1025 scores, copying their rows takes 62 ms on two cores and the product with 8000
rows 7 ms, both with backward."""


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
        self.momentum, self.num_rows, self.dim = momentum, num_rows, dim
        self.register_buffer("memory", random_rows(num_rows, dim, momentum, generator))

    @torch.no_grad()
    def rows(self, index: Int[Tensor, " ..."]) -> Float[Tensor, "... d"]:
        """Copies of the rows; a later update does not change them."""
        return self.memory.index_select(0, index.reshape(-1)).reshape(*index.shape, self.dim)

    def common_rows(self, index: Int[Tensor, " c"]) -> Float[Tensor, "c d"]:
        """Copies of rows that every rank asks for at the same time."""
        return self.rows(index)

    def scores(
        self,
        embedding: Float[Tensor, "b d"],
        index: Int[Tensor, "b m"],
        *,
        temperature: float,
        ranks: RankRows | None = None,
    ) -> Float[Tensor, "b m"]:
        """Products of each embedding with its own rows, over the temperature.

        The gradient reaches the embedding, with the rows as they are now.

        Args:
            ranks: the anchors of all ranks; a bank that every rank has does not need them.
        """
        if self.num_rows > _DENSE_ROWS * index.shape[1]:
            return bank_scores(embedding, self.rows(index), temperature=temperature)
        # an update may come before the backward pass
        memory = self.memory.clone() if torch.is_grad_enabled() else self.memory
        return (embedding @ memory.T).gather(1, index.long()) / temperature

    @torch.no_grad()
    def update(
        self,
        index: Int[Tensor, " b"],
        embedding: Float[Tensor, "b d"],
        *,
        momentum: Float[Tensor, " b"] | None = None,
    ) -> None:
        """Move rows towards unit embeddings: m <- normalize(momentum m + (1 - momentum) e).

        Where an index occurs more than once, its last occurrence counts and the others are dropped,
        on every device. A row whose mixture is not finite, or has no direction, stays as it is.

        Args:
            momentum: of each row, equal where an index occurs more than once; None is the bank's.
        """
        check_update(index, embedding, num_rows=self.num_rows, dim=self.dim)
        if len(index) == 0:
            return
        old = self.memory[index]
        keep = self.momentum if momentum is None else momentum[:, None]
        mixture = keep * old + (1.0 - keep) * embedding[last_occurrence(index)].float()
        norm = mixture.norm(dim=1, keepdim=True)
        self.memory[index] = torch.where(usable_norm(norm), mixture / norm, old)


def random_rows(
    num_rows: int, dim: int, momentum: float, generator: torch.Generator
) -> Float[Tensor, "n d"]:
    """Random unit rows of a new bank, after a check of its settings.

    Raises:
        ValueError: The bank would be empty, or the momentum is out of range.
    """
    if num_rows < 1 or dim < 1:
        raise ValueError(f"a bank needs {num_rows=} >= 1 and {dim=} >= 1")
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"{momentum=} must be in [0, 1); the paper uses 0.5")
    rows = torch.randn(num_rows, dim, generator=generator, device=generator.device)
    return F.normalize(rows, dim=1)


def last_occurrence(index: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """For each position, the last one with the same index.

    Written with these, equal rows get equal values: the order of writes does not matter.
    """
    values, order = index.sort(stable=True)
    return order[torch.searchsorted(values, index.contiguous(), right=True) - 1]


def usable_norm(norm: Float[Tensor, "b 1"]) -> Tensor:
    """Whether a mixture of this length has a direction."""
    return torch.isfinite(norm) & (norm > _MIN_NORM)


def check_update(index: Tensor, embedding: Tensor, *, num_rows: int, dim: int) -> None:
    """Refuse indices and embeddings that do not fit a bank.

    Raises:
        ValueError: Their shapes are not (b,) and (b, d).
    """
    if index.ndim != 1 or embedding.shape != (len(index), dim):
        raise ValueError(
            f"a bank of {(num_rows, dim)} takes (b,) indices and (b, {dim}) embeddings, got "
            f"{tuple(index.shape)} and {tuple(embedding.shape)}"
        )
