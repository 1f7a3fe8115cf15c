"""Binary noise-contrastive estimation against rows of a memory bank.

Letters: k positives, m negatives. A score is the product of an embedding and a bank row over the
temperature.

Reference: Gutmann and Hyvarinen 2010; Wu et al. 2018, eq. 4 to 8; Morgado et al. 2021, eq. 2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def bank_scores(
    embedding: Float[Tensor, "b d"], rows: Float[Tensor, "b m d"], *, temperature: float
) -> Float[Tensor, "b m"]:
    """Products of each embedding with its own rows, over the temperature."""
    return torch.einsum("bd,bmd->bm", embedding, rows) / temperature


def estimate_normalizer(negative_scores: Float[Tensor, "b m"]) -> Float[Tensor, ""]:
    """Mean of the exponential of the scores, in float32 or wider and without gradient.

    With random unit vectors of dimension d and temperature T it is near exp(1 / (2 d T^2)).

    Reference: Wu et al. 2018, eq. 7 (there times the number of instances).
    """
    scores = negative_scores.detach()
    return torch.exp(scores if scores.dtype == torch.float64 else scores.float()).mean()


def nce_loss(
    positive_scores: Float[Tensor, "b k"],
    negative_scores: Float[Tensor, "b m"],
    *,
    normalizer: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Mean of `nce_losses` over the anchors."""
    return nce_losses(positive_scores, negative_scores, normalizer=normalizer).mean()


def nce_losses(
    positive_scores: Float[Tensor, "b k"],
    negative_scores: Float[Tensor, "b m"],
    *,
    normalizer: Float[Tensor, ""],
) -> Float[Tensor, " b"]:
    """Binary cross-entropies of each anchor, averaged over k and summed over m.

    A pair is a positive with probability e^s / (e^s + m Z), Z being the normalizer. In the form
    with softplus nothing overflows.

    Args:
        normalizer: Z > 0, the estimate of `estimate_normalizer`; a tensor, so that no step waits
            for the device.

    Raises:
        ValueError: the scores are not two matrices with equal numbers of rows, or one is empty.
    """
    shapes = tuple(positive_scores.shape), tuple(negative_scores.shape)
    if positive_scores.ndim != 2 or negative_scores.ndim != 2 or shapes[0][0] != shapes[1][0]:
        raise ValueError(
            f"scores must be (b, k) positives and (b, m) negatives, got {shapes[0]} and {shapes[1]}"
        )
    if 0 in (*shapes[0], *shapes[1]):
        raise ValueError(f"scores must not be empty, got {shapes[0]} and {shapes[1]}")
    boundary = math.log(negative_scores.shape[1]) + torch.log(normalizer)
    positive = F.softplus(boundary - positive_scores).mean(dim=1)
    negative = F.softplus(negative_scores - boundary).sum(dim=1)
    return positive + negative
