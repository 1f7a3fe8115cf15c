"""Does a criterion find the pairs and twins that are known to be wrong: a study with known noise.

Arrays have one entry a bank row; rows that were never trained are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avtrain.objectives import RobustXIDCriterion

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

NO_TWIN = -1
_CHUNK_ROWS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class SwappedReport:
    """How low instances with a foreign sound rank; 0.5 is chance."""

    similarity_auc: float
    """By the similarity of the two bank rows."""
    weight_auc: float
    """By the weight, the same but for weights that rounding makes equal."""
    mean_weight_swapped: float
    mean_weight_intact: float
    num_swapped: int
    num_intact: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TwinReport:
    """How much of the soft targets, unmixed, goes where."""

    twin_share: float
    """Mean share that an instance gives its twin, over both directions."""
    own_share: float
    """Mean share that it gives itself."""
    chance_share: float
    """Share of each other instance if the rest were spread evenly."""
    num_pairs: int
    """Instances with a twin."""


def swapped_detection_auc(score: Float[Tensor, " n"], swapped: Bool[Tensor, " n"]) -> float:
    """Probability that a swapped instance has a lower score than an intact one; ties count half.

    Raises:
        ValueError: The arrays do not match, are not finite, or there are only instances of one
            kind.
    """
    if score.shape != swapped.shape or score.ndim != 1 or swapped.dtype != torch.bool:
        raise ValueError(
            f"scores and flags must be equally many, float and bool, got {tuple(score.shape)} "
            f"{score.dtype} and {tuple(swapped.shape)} {swapped.dtype}"
        )
    if not score.isfinite().all():
        raise ValueError(f"{int((~score.isfinite()).sum())} of {len(score)} scores are not finite")
    lower, higher = score[swapped].double(), score[~swapped].double().sort().values
    if not len(lower) or not len(higher):
        raise ValueError(
            f"detection needs swapped and intact instances, got {len(lower)} and {len(higher)}"
        )
    below = torch.searchsorted(higher, lower, right=False)
    not_above = torch.searchsorted(higher, lower, right=True)
    wins = (len(higher) - not_above) + (not_above - below) / 2
    return float(wins.double().mean() / len(higher))


def swapped_report(criterion: RobustXIDCriterion, swapped: Bool[Tensor, " n"]) -> SwappedReport:
    """How well similarities and weights tell swapped instances from intact ones.

    Raises:
        ValueError: There is not one flag a bank row, or only instances of one kind were trained.
    """
    rows = _trained_rows(criterion, swapped, name="swapped")
    flags = swapped.to(rows.device)[rows]
    similarity, weights = criterion.pairs.similarity[rows], criterion.sample_weights(rows)
    return SwappedReport(
        similarity_auc=swapped_detection_auc(similarity, flags),
        weight_auc=swapped_detection_auc(weights, flags),
        mean_weight_swapped=float(weights[flags].double().mean()),
        mean_weight_intact=float(weights[~flags].double().mean()),
        num_swapped=int(flags.sum()),
        num_intact=int((~flags).sum()),
    )


def twin_target_mass(criterion: RobustXIDCriterion, twin: Int[Tensor, " n"]) -> TwinReport:
    """Share of the soft targets that instances give a twin known to mean the same.

    Args:
        twin: row of each instance's twin, NO_TWIN without one.

    Raises:
        ValueError: There is not one entry a bank row, no trained instance has a trained twin, or
            the criterion has no soft targets.
    """
    rows = _trained_rows(criterion, twin, name="twin")
    twins = twin.to(rows.device).long()[rows]
    paired = (twins != NO_TWIN) & torch.isin(twins, rows)
    rows, twins = rows[paired], twins[paired]
    if not len(rows):
        raise ValueError(
            "no trained instance has a trained twin; give the bank row of each instance's twin, "
            f"and {NO_TWIN} where there is none"
        )
    to_twin, to_own = 0.0, 0.0
    for some, others in zip(
        torch.split(rows, _CHUNK_ROWS), torch.split(twins, _CHUNK_ROWS), strict=True
    ):
        to_twin += _sum(criterion.target_shares(some, others))
        to_own += _sum(criterion.target_shares(some, some))
    own_share = to_own / len(rows)
    num_others = int(criterion.pairs.visited[criterion.candidates].sum()) - 1
    return TwinReport(
        twin_share=to_twin / len(rows),
        own_share=own_share,
        chance_share=(1 - own_share) / num_others,
        num_pairs=len(rows),
    )


def _sum(shares: dict[str, Tensor]) -> float:
    """Sum over instances of the mean over directions."""
    return sum(float(value.double().sum()) for value in shares.values()) / len(shares)


def _trained_rows(criterion: RobustXIDCriterion, entries: Tensor, *, name: str) -> Tensor:
    visited = criterion.pairs.visited
    if entries.shape != visited.shape:
        raise ValueError(
            f"{name} must have one entry for each of {len(visited)} bank rows, got "
            f"{tuple(entries.shape)}"
        )
    return criterion.candidates[visited[criterion.candidates]]
