"""Softmax cross-entropy of embeddings against candidate rows, an anchor at a time.

Letters: b anchors, m candidates; candidate 0 is the anchor's own instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def mask_candidates(
    scores: Float[Tensor, "b m"], valid: Bool[Tensor, "b m"]
) -> Float[Tensor, "b m"]:
    """Scores that give candidates which are not valid a probability of exactly zero.

    The filling is finite, so that its product with a target of zero is zero and not NaN.
    """
    return scores.masked_fill(~valid, torch.finfo(scores.dtype).min)


def info_nce_losses(
    scores: Float[Tensor, "b m"], *, targets: Float[Tensor, "b m"] | None = None
) -> Float[Tensor, " b"]:
    """Cross-entropy of each anchor's softmax over its candidates.

    Args:
        scores: products over the temperature.
        targets: a distribution over the candidates, which takes no gradient; None puts all of it
            on candidate 0.

    Reference: van den Oord et al. 2018, eq. 4; Morgado, Misra, Vasconcelos 2021 for the targets.

    Raises:
        ValueError: the targets have another shape than the scores.
    """
    log_probability = torch.log_softmax(scores, dim=1)
    if targets is None:
        return -log_probability[:, 0]
    if targets.shape != scores.shape:
        raise ValueError(
            f"targets must be {tuple(scores.shape)} as the scores, got {tuple(targets.shape)}"
        )
    return -(targets.detach() * log_probability).sum(dim=1)
