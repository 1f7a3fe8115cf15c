"""Memory bank whose rows are spread over ranks, for banks that no rank should hold whole.

Every rank holds some columns of all rows. (Whole rows on some rank each would also be possible, but
the rows that a batch needs then lie unevenly on the ranks: either the host waits for their number
in every step, or every rank computes with masked rows as if all were its own.) So each rank
computes a part of every score, and the parts are added::

               columns of rank 0   columns of rank 1
    anchors of    e . m                 e . m           summed over ranks, cut to each
    all ranks   over these     +      over these    =   rank's own anchors

Costs: a step gathers the embeddings and indices of all ranks and sums their scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from avtrain.objectives.across_ranks import (
    RankRows,
    concat_across_ranks,
    num_ranks,
    rank,
    rows_across_ranks,
)
from avtrain.objectives.collectives import all_reduce
from avtrain.objectives.memory_bank import (
    check_update,
    last_occurrence,
    random_rows,
    usable_norm,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_CHUNK_ROWS = 65536
"""Rows that are whole on the device at a time while a state dict is made."""


class ShardedMemoryBank(nn.Module):
    """The rows of a `MemoryBank`, its columns spread over ranks; it starts from the same rows.

    All methods, and `state_dict`, are called by all ranks together. The state dict is that of a
    `MemoryBank`, whole and on the CPU, on rank 0; on other ranks it has no rows. Any number of
    ranks, with a bank of either kind, loads it.
    """

    memory: Tensor
    """float32 (rows, columns of this rank)."""

    def __init__(
        self, *, num_rows: int, dim: int, momentum: float, generator: torch.Generator
    ) -> None:
        """Bank of random unit rows.

        Args:
            momentum: weight of the old row in an update, in [0, 1).
            generator: on any device, in the same state on every rank.

        Raises:
            ValueError: There are more ranks than columns.
        """
        super().__init__()
        if num_ranks() > dim:
            raise ValueError(
                f"a bank of {dim} columns cannot be spread over {num_ranks()} ranks; choose "
                "banks = 'replicated'"
            )
        self.momentum, self.num_rows, self.dim = momentum, num_rows, dim
        self.columns = slice(dim * rank() // num_ranks(), dim * (rank() + 1) // num_ranks())
        rows = random_rows(num_rows, dim, momentum, generator)
        self.register_buffer("memory", rows[:, self.columns].clone(), persistent=False)

    @torch.no_grad()
    def rows(self, index: Int[Tensor, "b ..."]) -> Float[Tensor, "b ... d"]:
        """Copies of the rows that this rank asks for; a later update does not change them."""
        ranks = rows_across_ranks(len(index))
        return self.common_rows(concat_across_ranks(index, rows=ranks))[ranks.here]

    @torch.no_grad()
    def common_rows(self, index: Int[Tensor, "c ..."]) -> Float[Tensor, "c ... d"]:
        """Copies of rows that every rank asks for at the same time."""
        return _joined(self.memory[index], self.columns, self.dim)

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
            ranks: what `rows_across_ranks` returned for the anchors; without it, it is asked here.
        """
        ranks = ranks or rows_across_ranks(len(index))
        wanted = concat_across_ranks(index, rows=ranks)
        rows = self.memory.index_select(0, wanted.reshape(-1)).reshape(*wanted.shape, -1)
        scores: Tensor = _PartialScores.apply(  # type: ignore[no-untyped-call]
            embedding / temperature, rows, self.columns, ranks
        )
        return scores

    @torch.no_grad()
    def update(
        self,
        index: Int[Tensor, " b"],
        embedding: Float[Tensor, "b d"],
        *,
        momentum: Float[Tensor, " b"] | None = None,
    ) -> None:
        """Move rows towards unit embeddings, as `MemoryBank.update` does.

        Args:
            index: of all ranks, as the others: equal on every rank.
        """
        check_update(index, embedding, num_rows=self.num_rows, dim=self.dim)
        if len(index) == 0:
            return
        old = self.memory[index]
        new = embedding[last_occurrence(index)][:, self.columns].float()
        keep = self.momentum if momentum is None else momentum[:, None]
        mixture = keep * old + (1.0 - keep) * new
        square = mixture.square().sum(dim=1, keepdim=True)
        all_reduce(square)
        norm = square.sqrt()
        self.memory[index] = torch.where(usable_norm(norm), mixture / norm, old)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        parts = []
        for start in range(0, self.num_rows, _CHUNK_ROWS):
            whole = _joined(self.memory[start : start + _CHUNK_ROWS], self.columns, self.dim)
            if rank() == 0:
                parts.append(whole.cpu())
        destination[f"{prefix}memory"] = torch.cat(parts) if parts else torch.zeros(0, self.dim)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        name = f"{prefix}memory"
        given = state_dict.get(name)
        if given is None:
            if strict:
                missing_keys.append(name)
        elif given.shape != (self.num_rows, self.dim):
            error_msgs.append(
                f"{name} is {tuple(given.shape)} and must be {(self.num_rows, self.dim)}; with "
                "banks spread over ranks only the state dict of rank 0 has them"
            )
        else:
            with torch.no_grad():
                self.memory.copy_(given[:, self.columns])


def _joined(part: Tensor, columns: slice, dim: int) -> Tensor:
    """The columns of all ranks, put together; every rank has equally many rows."""
    whole = part.new_zeros((*part.shape[:-1], dim))
    whole[..., columns] = part
    all_reduce(whole)
    return whole


class _PartialScores(torch.autograd.Function):
    """Scores of this rank's anchors, each rank adding up its columns for the anchors of all."""

    @staticmethod
    def forward(
        ctx: Any, embedding: Tensor, rows: Tensor, columns: slice, ranks: RankRows
    ) -> Tensor:
        anchors = concat_across_ranks(embedding, rows=ranks)
        scores = torch.einsum("bd,bmd->bm", anchors[:, columns], rows)
        all_reduce(scores)
        ctx.save_for_backward(rows)
        ctx.columns, ctx.ranks, ctx.dim = columns, ranks, embedding.shape[1]
        return scores[ranks.here].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (rows,) = ctx.saved_tensors
        gradients = concat_across_ranks(gradient, rows=ctx.ranks)
        part = torch.einsum("bm,bmd->bd", gradients, rows)
        return _joined(part, ctx.columns, ctx.dim)[ctx.ranks.here], None, None, None
