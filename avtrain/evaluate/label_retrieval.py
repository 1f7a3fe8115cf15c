"""Retrieval within a modality: is a training sample of the same class among the nearest?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.evaluate.accuracy import LabelledFeatures

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_EQUAL_COSINES = 1e-9
RECALL_AT = (1, 5, 10, 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRetrieval:
    """Fractions of test rows, by number of nearest training rows that are looked at."""

    recall_at: dict[int, float]
    """One of the nearest k is of the same class; a tie counts at its expected place."""
    chance_recall_at: dict[int, float]
    """Of a random order of the training rows."""
    num_queries: int
    num_gallery: int


def label_retrieval(
    data: LabelledFeatures, *, at: tuple[int, ...] = RECALL_AT, chunk_rows: int = 1024
) -> LabelRetrieval:
    """How early the nearest training rows, by cosine, hold one of a test row's class.

    Reference: the retrieval protocol of Morgado, Misra, Vasconcelos 2021 (R@1, 5, 20 on pooled
    features averaged over clips).
    """
    gallery = F.normalize(data.train.double(), dim=1)
    queries = F.normalize(data.test.double(), dim=1)
    train_target, test_target = data.targets()
    ranks = torch.cat(
        [
            first_match_rank(chunk @ gallery.T, train_target[None] == targets[:, None])
            for chunk, targets in zip(
                torch.split(queries, chunk_rows), torch.split(test_target, chunk_rows), strict=True
            )
        ]
    )
    same = torch.bincount(train_target)[test_target]
    return LabelRetrieval(
        recall_at={k: float((ranks <= k).double().mean()) for k in at},
        chance_recall_at={k: float(_chance(same, len(gallery), k).mean()) for k in at},
        num_queries=len(queries),
        num_gallery=len(gallery),
    )


def first_match_rank(
    similarity: Float[Tensor, "n m"], match: Int[Tensor, "n m"]
) -> Float[Tensor, " n"]:
    """Expected place from 1 of the first matching column, equal ones in random order."""
    best = similarity.masked_fill(~match, -torch.inf).amax(dim=1, keepdim=True)
    greater = (similarity > best + _EQUAL_COSINES).sum(dim=1)
    equal = (similarity - best).abs() <= _EQUAL_COSINES
    right = (equal & match).sum(dim=1)
    wrong = (equal & ~match).sum(dim=1)
    # of `wrong` and `right` in random order, wrong / (right + 1) stand before the first right one
    return 1.0 + greater.double() + wrong.double() / (right + 1).double()


def _chance(same: Int[Tensor, " n"], num_gallery: int, k: int) -> Float[Tensor, " n"]:
    """Chance that k of `num_gallery` rows in random order hold one of the `same`."""
    misses = torch.ones(len(same), dtype=torch.float64)
    others = (num_gallery - same).double()
    for drawn in range(min(k, num_gallery)):
        misses = misses * ((others - drawn).clamp(min=0) / (num_gallery - drawn))
    return 1 - misses
