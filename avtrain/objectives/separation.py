"""Losses of predicted spectrograms of two sources.

Letters: b mixtures, c channels of a spectrogram (magnitude, phase), s spectrogram frames, f bins.

Spectrograms have phase / pi as their second channel; where there is none, only magnitudes count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from avtrain.objectives.terms import LossOutput

if TYPE_CHECKING:
    from jaxtyping import Float

SeparationObjective = Literal["on-off", "pit", "on-off+pit"]
PhaseDistance = Literal["published", "wrapped"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpectrogramPair:
    """What is seen and what is not, float32 (b, c, s, f) each."""

    on: Tensor
    off: Tensor

    def __repr__(self) -> str:
        return f"SpectrogramPair({tuple(self.on.shape)})"

    @property
    def swapped(self) -> SpectrogramPair:
        """The two in each other's place."""
        return SpectrogramPair(on=self.off, off=self.on)


def spectrogram_distance(
    predicted: Float[Tensor, "b c s f"],
    target: Float[Tensor, "b c s f"],
    *,
    phase_weight: float,
    phase: PhaseDistance,
) -> Float[Tensor, " b"]:
    """Mean absolute difference of magnitudes, plus a little of that of phases.

    Args:
        predicted: Spectrograms with one channel or two.
        target: Of the same shape.
        phase_weight: Of the mean difference of phases, 0.01 in the released code.
        phase: `published` takes phases as numbers, so that -pi and pi are far apart; `wrapped`
            takes the shorter way round the circle.

    Reference: Owens and Efros 2018, section 5.1, and the released code.
    """
    difference = (predicted.float() - target.float()).abs()
    distance = difference[:, 0].flatten(1).mean(dim=1)
    if difference.shape[1] == 1 or phase_weight == 0:
        return distance
    turn = difference[:, 1]  # in half turns, 0 to 2 for phases in [-1, 1]
    if phase == "wrapped":
        turn = 1 - (turn % 2 - 1).abs()
    return distance + phase_weight * turn.flatten(1).mean(dim=1)


def on_off_distance(
    predicted: SpectrogramPair,
    target: SpectrogramPair,
    *,
    phase_weight: float,
    phase: PhaseDistance,
) -> Float[Tensor, " b"]:
    """Distance of what is seen plus distance of what is not.

    Reference: Owens and Efros 2018, eq. 4.
    """
    return spectrogram_distance(
        predicted.on, target.on, phase_weight=phase_weight, phase=phase
    ) + spectrogram_distance(predicted.off, target.off, phase_weight=phase_weight, phase=phase)


def separation_loss(
    predicted: SpectrogramPair,
    target: SpectrogramPair,
    *,
    objective: SeparationObjective,
    phase_weight: float,
    phase: PhaseDistance,
) -> LossOutput:
    """Mean over mixtures of the on/off distance, of that of the better order (PIT), or of both.

    The metric `in_order` is the share of mixtures whose outputs are nearer to the targets as they
    stand than exchanged: what the order of an audio-only network cannot know is near one half.

    Reference: Owens and Efros 2018, eq. 4 and 5; Yu et al. 2017 (permutation-invariant training).
    """
    straight = on_off_distance(predicted, target, phase_weight=phase_weight, phase=phase)
    crossed = on_off_distance(predicted.swapped, target, phase_weight=phase_weight, phase=phase)
    terms = {}
    if objective != "pit":
        terms["on_off"] = straight.mean()
    if objective != "on-off":
        terms["pit"] = torch.minimum(straight, crossed).mean()
    return LossOutput(
        total=torch.stack(list(terms.values())).sum(),
        terms={name: term.detach() for name, term in terms.items()},
        metrics={"in_order": (straight < crossed).float().mean().detach()},
    )
