"""Named loss terms and their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LossOutput:
    """A loss and what it is made of."""

    total: Float[Tensor, ""]
    """Weighted sum of the terms, with gradient."""
    terms: dict[str, Tensor]
    """Unweighted terms by name, scalars without gradient, on the device of the total."""
    metrics: dict[str, Tensor] = field(default_factory=dict)
    """What else a log should show, as the terms are: finite scalars whose mean over ranks is that
    of the whole batch. A criterion gives the same names in every step."""


def normalize_coefficients(coefficients: Mapping[str, float]) -> dict[str, float]:
    """Weights that sum to one; a name with coefficient zero is left out, its term is not computed.

    Raises:
        ValueError: a coefficient is negative or not finite, or none is positive.
    """
    wrong = {n: c for n, c in coefficients.items() if not math.isfinite(c) or c < 0}
    if wrong:
        raise ValueError(f"loss coefficients must be finite and not negative, got {wrong}")
    total = sum(coefficients.values())
    if total <= 0:
        raise ValueError(
            f"at least one loss coefficient must be positive, got {dict(coefficients)}"
        )
    return {name: value / total for name, value in coefficients.items() if value > 0}


def combine_terms(terms: Mapping[str, Tensor], *, weights: Mapping[str, float]) -> LossOutput:
    """Weighted sum of terms, matched by name.

    Args:
        weights: from `normalize_coefficients`.

    Raises:
        ValueError: a weight has no term, or a term no weight.
    """
    missing, extra = sorted(weights.keys() - terms.keys()), sorted(terms.keys() - weights.keys())
    if missing or extra:
        raise ValueError(
            f"loss terms must match their weights {sorted(weights)}: missing {missing}, "
            f"extra {extra}; set the coefficient of a term that is not wanted to 0"
        )
    total = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
    return LossOutput(total=total, terms={name: term.detach() for name, term in terms.items()})
