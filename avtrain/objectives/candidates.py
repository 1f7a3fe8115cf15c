"""What the anchors of a batch are compared with: their own bank row and rows of others.

Letters: b anchors, m candidates, c rows of trained instances, n rows of the bank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidates:
    """Bank rows by anchor; candidate 0 is the anchor's own instance and always valid."""

    rows: Int[Tensor, "b m"]
    valid: Bool[Tensor, "b m"]


def drawn_candidates(
    index: Int[Tensor, " b"],
    negatives: Int[Tensor, "b k"],
    *,
    eligible: Bool[Tensor, " n"] | None,
) -> Candidates:
    """The own rows, and those that were drawn.

    Args:
        negatives: draws with replacement, without the own row.
        eligible: with it an eligible row is valid, and once if it was drawn more often; None lets
            every draw count.
    """
    valid = torch.ones_like(negatives, dtype=torch.bool)
    if eligible is not None:
        negatives = negatives.sort(dim=1).values
        valid = eligible[negatives]
        valid[:, 1:] &= negatives[:, 1:] != negatives[:, :-1]
    own = torch.ones_like(index[:, None], dtype=torch.bool)
    return Candidates(
        rows=torch.cat([index[:, None], negatives], dim=1), valid=torch.cat([own, valid], dim=1)
    )


def all_candidates(
    index: Int[Tensor, " b"],
    trained: Int[Tensor, " c"],
    *,
    eligible: Bool[Tensor, " n"] | None,
) -> Candidates:
    """The own rows, and those of all other trained instances.

    Args:
        index: each is one of the trained rows; this is not checked, it would wait for the device.
        trained: ascending and distinct.
        eligible: with it only eligible rows are valid.
    """
    own = torch.searchsorted(trained, index.long().contiguous())[:, None]
    others = torch.arange(len(trained) - 1, device=index.device)[None, :]
    rows = trained[torch.cat([own, others + (others >= own).long()], dim=1)]
    valid = torch.ones_like(rows, dtype=torch.bool) if eligible is None else eligible[rows]
    valid[:, 0] = True
    return Candidates(rows=rows, valid=valid)
