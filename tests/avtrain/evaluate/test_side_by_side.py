"""The crosswise test by separators whose answers are known, and the command that makes it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avtrain.evaluate.side_by_side import (
    HiddenInTurn,
    correlation,
    crosswise_margin,
    separate_side_by_side,
)
from avtrain.methods.separation_inputs import HIDDEN

pytestmark = pytest.mark.usefixtures("one_torch_thread")
Pair = tuple[Tensor, Tensor]


def _pair() -> tuple[Pair, Pair]:
    """Pictures of another gray each, and two noises."""
    grays = torch.tensor([-0.5, 0.75])[:, None, None, None, None, None]
    left, right = grays.expand(2, 3, 3, 4, 16, 15).unbind()
    sounds = torch.randn((2, 3, 2, 4000), generator=torch.Generator().manual_seed(0))
    return (left, right), (sounds[0], sounds[1])


def _separator(pictures: Pair, sounds: Pair, *, swapped: bool = False, blind: bool = False):
    """Gives what is seen its sound, exactly: it knows both by their grays."""

    def separate(shown: Tensor, mixture: Tensor) -> Pair:
        torch.testing.assert_close(mixture, sounds[0] + sounds[1])
        seen = [bool((shown == picture.flatten()[0]).any()) for picture in pictures]
        assert sum(seen) == 1 and bool((shown == HIDDEN).any())
        first = 0 if blind else int(seen[1]) ^ int(swapped)
        return sounds[first], sounds[1 - first]

    return separate


def _own_side(hidden: HiddenInTurn) -> float:
    """Share of outputs that are more like their own source than like the other."""
    right = [
        correlation(each.estimates[:, 0], each.sources[:, 0])
        > correlation(each.estimates[:, 0], each.sources[:, 1])
        for each in (hidden.left_hidden, hidden.right_hidden)
    ]
    return float(torch.cat(right).float().mean())


@pytest.mark.parametrize(
    ("kind", "margin", "own_side"),
    [("right", 1.0, 1.0), ("swapped", 1.0, 0.0), ("blind", -1.0, 0.5)],
)
def test_the_margin_and_the_side_are_those_of_the_separator(
    kind: str, margin: float, own_side: float
) -> None:
    pictures, sounds = _pair()
    separator = _separator(pictures, sounds, swapped=kind == "swapped", blind=kind == "blind")
    hidden = separate_side_by_side(separator, pictures, sounds)
    found = crosswise_margin(hidden)
    assert found.shape == (3,)
    torch.testing.assert_close(found, torch.full((3,), margin).double(), atol=0.06, rtol=0)
    assert _own_side(hidden) == own_side


def test_the_mixture_as_it_is_has_no_margin() -> None:
    pictures, sounds = _pair()
    hidden = separate_side_by_side(lambda _, mixture: (mixture, mixture / 2), pictures, sounds)
    torch.testing.assert_close(crosswise_margin(hidden), torch.zeros(3).double())


def test_each_clip_is_squeezed_into_its_half_and_gray_where_it_is_hidden() -> None:
    (left, _), sounds = _pair()
    ramp = torch.linspace(-1, 1, 15).expand_as(left)
    shown: list[Tensor] = []

    def separate(pictures: Tensor, mixture: Tensor) -> Pair:
        shown.append(pictures)
        return mixture, mixture

    separate_side_by_side(separate, (ramp, left), sounds)
    left_hidden, right_hidden = shown
    assert left_hidden.shape == right_hidden.shape == left.shape
    assert (left_hidden[..., :7] == HIDDEN).all() and (left_hidden[..., 7:] == -0.5).all()
    assert (right_hidden[..., 7:] == HIDDEN).all()
    row = right_hidden[0, 0, 0, 0, :7]
    assert (row.diff() > 0).all() and row[0] < -0.8 and row[-1] > 0.8  # all of its width


def test_correlation() -> None:
    a, b = torch.randn((2, 5, 300), generator=torch.Generator().manual_seed(1))
    wanted = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(a, b, strict=True)]
    torch.testing.assert_close(correlation(a, 3 * b + 1), torch.stack(wanted).double())
