"""Weights of instances by how well their sound and picture belong together.

Reference: Morgado, Misra, Vasconcelos 2021, "Robust Audio-Visual Instance Discrimination", the part
on faulty positives. The form is from memory of the paper and from a re-implementation by others;
the paper was not re-read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

_LEAST_STD = 1e-6
"""Where all similarities are equal, they are at the mean."""


def correspondence_weights(
    similarity: Float[Tensor, " b"],
    *,
    mean: Float[Tensor, ""],
    std: Float[Tensor, ""],
    delta: float,
    kappa: float,
    min_weight: float,
) -> Float[Tensor, " b"]:
    """Weights in (min_weight, 1), rising with the similarity, without gradient.

    The cumulative distribution of a normal with mean `mean + delta std` and variance
    `kappa std^2`, squeezed into [min_weight, 1].

    Args:
        similarity: product of each instance's video and audio row.
        mean: of the similarities of the training set.
        std: of the similarities of the training set.
        delta: moves the middle of the ramp; positive gives more instances a low weight.
        kappa: small is a step, large a soft ramp.
        min_weight: weight of the worst pairs; 1 makes all weights 1.
    """
    spread = std.detach().clamp(min=_LEAST_STD)
    z = (similarity.detach() - mean.detach() - delta * spread) / (math.sqrt(kappa) * spread)
    weights: Tensor = min_weight + (1.0 - min_weight) * torch.special.ndtr(z)
    return weights
