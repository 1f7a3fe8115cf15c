"""Random bank rows to contrast an anchor with.

All draws are with replacement and without waiting for the device; the generator lives on the device
of the indices. With several ranks each draws for the anchors of all of them, from generators in
the same state, and keeps its own: the draws are those of one rank with the whole batch.
Letters: b anchors, m negatives, k excluded rows, c candidate rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avtrain.objectives.across_ranks import RankRows

if TYPE_CHECKING:
    from jaxtyping import Int


def uniform_others(
    index: Int[Tensor, " b"],
    *,
    num_rows: int,
    num_negatives: int,
    generator: torch.Generator,
    ranks: RankRows | None = None,
) -> Int[Tensor, "b m"]:
    """Rows in [0, num_rows), uniform over all but the anchor's own.

    Args:
        ranks: the anchors of all ranks; None where there is one.

    Reference: Morgado et al. 2021, section 3.1.
    """
    if num_rows < 2:
        raise ValueError(f"negatives need at least 2 rows, got {num_rows=}")
    ranks = ranks or RankRows(of_ranks=(len(index),))
    draws = _draws(ranks, num_rows - 1, num_negatives, generator=generator)
    return draws + (draws >= index[:, None]).long()


def uniform_other_candidates(
    index: Int[Tensor, " b"],
    *,
    candidates: Int[Tensor, " c"],
    num_negatives: int,
    generator: torch.Generator,
    ranks: RankRows | None = None,
) -> Int[Tensor, "b m"]:
    """Rows among the candidates, uniform over all but the anchor's own.

    Rows of rejected or held-out instances are never trained and must not serve as negatives.

    Args:
        index: every anchor is a candidate; this is not checked, it would wait for the device.
        candidates: row ids, ascending and distinct.
        ranks: the anchors of all ranks; None where there is one.
    """
    if len(candidates) < 2:
        raise ValueError(f"negatives need at least 2 candidate rows, got {len(candidates)}")
    own_position = torch.searchsorted(candidates, index.long().contiguous())
    positions = uniform_others(
        own_position,
        num_rows=len(candidates),
        num_negatives=num_negatives,
        generator=generator,
        ranks=ranks,
    )
    return candidates[positions]


def uniform_excluding(
    excluded: Int[Tensor, "b k"],
    *,
    candidates: Int[Tensor, " c"],
    num_negatives: int,
    generator: torch.Generator,
    ranks: RankRows | None = None,
) -> Int[Tensor, "b m"]:
    """Rows among the candidates, uniform over all but each anchor's excluded ones.

    The published code excludes the positives and not the anchor; to exclude both, put the anchor's
    own row among the excluded.

    Args:
        excluded: row ids, ascending and distinct in each row, all of them candidates; not checked.
        candidates: row ids, ascending and distinct.
        ranks: the anchors of all ranks; None where there is one.

    Reference: Morgado et al. 2021, section 3.2.
    """
    num_left = len(candidates) - excluded.shape[1]
    if num_left < 1:
        raise ValueError(
            f"{excluded.shape[1]} excluded rows leave none of {len(candidates)} candidates; "
            "mine fewer positives"
        )
    ranks = ranks or RankRows(of_ranks=(len(excluded),))
    draws = _draws(ranks, num_left, num_negatives, generator=generator)
    positions = torch.searchsorted(candidates, excluded.long().contiguous())
    return candidates[remap_excluding(draws, positions)]


def remap_excluding(draws: Int[Tensor, "b m"], excluded: Int[Tensor, "b k"]) -> Int[Tensor, "b m"]:
    """The draw-th number, from 0, that is not excluded: a bijection onto the others.

    Args:
        excluded: ascending and distinct in each row.
    """
    # excluded[j] - j numbers lie below excluded[j] and are not excluded; draw >= that skips it
    thresholds = excluded.long() - torch.arange(excluded.shape[1], device=excluded.device)
    return draws + torch.searchsorted(thresholds, draws, right=True)


def _draws(
    ranks: RankRows, num_values: int, num_negatives: int, *, generator: torch.Generator
) -> Int[Tensor, "b m"]:
    if num_negatives < 1:
        raise ValueError(f"{num_negatives=} must be positive; the paper uses 1024")
    shape = (ranks.total, num_negatives)
    draws = torch.randint(num_values, shape, generator=generator, device=generator.device)
    return draws[ranks.here]
