"""How near two separated sounds are to the two that were mixed.

Letters: b mixtures, n audio samples. Rows of pairs are what is seen, then what is not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mir_eval.separation
import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

_SILENT_RMS = 1e-4
"""Of sounds at the level of mixtures: what is fainter counts as silence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BssScores:
    """Scores of BSS-Eval in decibels, of what is seen and of what is not."""

    sdr: tuple[float, float]
    """Signal to distortion: all that is not the source through a filter of 512 taps."""
    sir: tuple[float, float]
    """Signal to interference: only what is of the other source."""
    sar: tuple[float, float]
    """Signal to artifacts: only what is of neither."""


def is_silent(sound: Float[Tensor, "... n"]) -> Tensor:
    """Whether there is no sound to compare with, bool (...)."""
    return sound.square().mean(dim=-1).sqrt() < _SILENT_RMS


def si_sdr(estimate: Float[Tensor, "... n"], source: Float[Tensor, "... n"]) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in decibels, float64 (...).

    The part of the estimate that lies along the source, over the rest. A silent estimate or source
    gives NaN: there is no answer; an exact estimate gives infinity.

    Reference: Le Roux et al. 2019, eq. 5.
    """
    estimate, source = estimate.double(), source.double()
    along = (estimate * source).sum(dim=-1, keepdim=True) / source.square().sum(
        dim=-1, keepdim=True
    )
    target = along * source
    return ratio_db(target, estimate - target)


def ratio_db(sound: Float[Tensor, "... n"], other: Float[Tensor, "... n"]) -> Tensor:
    """Energy of one sound over that of another in decibels, float64 (...)."""
    energy, rest = sound.double().square().sum(dim=-1), other.double().square().sum(dim=-1)
    return 10 * (energy / rest).log10()


def bss_scores(estimates: Float[Tensor, "2 n"], sources: Float[Tensor, "2 n"]) -> BssScores:
    """BSS-Eval of two estimates in the order in which they are, none of the four silent.

    Reference: Vincent et al. 2006; computed by mir_eval.
    """
    with warnings.catch_warnings():
        # it is to be gone from mir_eval 0.9, which the dependencies exclude
        warnings.filterwarnings("ignore", "mir_eval.separation", FutureWarning)
        sdr, sir, sar, _ = mir_eval.separation.bss_eval_sources(
            sources.double().numpy(), estimates.double().numpy(), compute_permutation=False
        )
    return BssScores(sdr=_pair(sdr), sir=_pair(sir), sar=_pair(sar))


def better_order(estimates: Float[Tensor, "b 2 n"], sources: Float[Tensor, "b 2 n"]) -> Tensor:
    """The estimates in the order with the higher sum of SI-SDR: for networks that do not see."""
    straight = si_sdr(estimates, sources).sum(dim=1)
    crossed = si_sdr(estimates.flip(1), sources).sum(dim=1)
    return torch.where((crossed > straight)[:, None, None], estimates.flip(1), estimates)


def mixture_error_db(
    estimates: Float[Tensor, "b 2 n"], mixture: Float[Tensor, "b n"], *, floor_db: float = -100.0
) -> Tensor:
    """What the estimates lack of adding up to the mixture, over it, in decibels, float64 (b,)."""
    error = ratio_db(estimates.double().sum(dim=1) - mixture.double(), mixture)
    return error.clamp(min=floor_db)


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
