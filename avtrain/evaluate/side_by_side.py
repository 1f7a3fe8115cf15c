"""Two clips side by side in one picture, of which one is hidden in turn: the crosswise test.

    left hidden     |::::::|  R   |     what is seen is R, what is not is L
    right hidden    |  L   |::::::|     the other way round

What a network gives as seen with the one hidden should be what it gives as not seen with the other.

Letters: b pairs of clips, t video frames, h w pixels, n audio samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.methods.separation_inputs import HIDDEN

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeparatedMixtures:
    """Mixtures and what was made of them; float32, b mixtures of n samples, one channel."""

    sources: Tensor
    """(b, 2, n): what is seen, then what is not."""
    estimates: Tensor
    """(b, 2, n): the same, as the method has it."""

    @property
    def mixture(self) -> Tensor:
        """(b, n)."""
        return self.sources.sum(dim=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HiddenInTurn:
    """The same mixtures, separated twice."""

    left_hidden: SeparatedMixtures
    right_hidden: SeparatedMixtures


Separate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Pictures (b, 3, t, h, w) in [-1, 1] and mixtures (b, 2, n) -> on and off, (b, 2, n) each."""


def separate_side_by_side(
    separate: Separate,
    pictures: tuple[Float[Tensor, "b 3 t h w"], Float[Tensor, "b 3 t h w"]],
    sounds: tuple[Float[Tensor, "b 2 n"], Float[Tensor, "b 2 n"]],
) -> HiddenInTurn:
    """What is made of mixtures of two clips that are both in the picture, one of them hidden.

    Args:
        separate: Of a method.
        pictures: Of the clip that comes on the left, and of the one on the right; each is squeezed
            into its half, as a wide picture is squashed for the network.
        sounds: Of both clips, as loud as in the mixture.
    """
    left, right = pictures
    height, width = left.shape[-2:]
    middle = width // 2
    whole = torch.cat(
        [
            F.interpolate(left, (left.shape[2], height, middle), mode="area"),
            F.interpolate(right, (right.shape[2], height, width - middle), mode="area"),
        ],
        dim=-1,
    )
    without_left, without_right = whole.clone(), whole
    without_left[..., :middle] = HIDDEN
    without_right[..., middle:] = HIDDEN
    mixture = sounds[0] + sounds[1]

    def separated(shown: Tensor, seen: Tensor, unseen: Tensor) -> SeparatedMixtures:
        return SeparatedMixtures(
            sources=torch.stack([seen.mean(dim=1), unseen.mean(dim=1)], dim=1).cpu(),
            estimates=torch.stack(
                [sound.mean(dim=1) for sound in separate(shown, mixture)], dim=1
            ).cpu(),
        )

    return HiddenInTurn(
        left_hidden=separated(without_left, sounds[1], sounds[0]),
        right_hidden=separated(without_right, sounds[0], sounds[1]),
    )


def crosswise_margin(hidden: HiddenInTurn) -> Float[Tensor, " b"]:
    """How much more alike are crosswise outputs than those of the same name, float64, in [-2, 2].

    The mean correlation of what is seen with the one hidden and what is not seen with the other,
    less the mean correlation of both as seen and of both as not seen. A network that does not look
    has at most 0. One that takes each person for the other has as much as one that is right: the
    share of outputs on their own side tells them apart.

    Reference: the mask demonstration of the code that Owens and Efros 2018 released, in numbers.
    """
    one, other = hidden.left_hidden.estimates, hidden.right_hidden.estimates
    crosswise = correlation(one, other.flip(1)).mean(dim=1)
    same = correlation(one, other).mean(dim=1)
    return crosswise - same


def correlation(a: Float[Tensor, "... n"], b: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Pearson's correlation of two sounds, float64; NaN where one of them is constant."""
    a, b = (x.double() - x.double().mean(dim=-1, keepdim=True) for x in (a, b))
    return (a * b).sum(dim=-1) / (a.square().sum(dim=-1) * b.square().sum(dim=-1)).sqrt()
