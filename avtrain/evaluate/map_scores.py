"""How well maps of places agree with boxes, in the definitions of the field.

Masks and maps are laid out on a grid of SIDE x SIDE over the whole picture, as the published
evaluations of Flickr-SoundNet and VGG-SS are. Letters: n moments, y x the grid, h w cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from avtrain.evaluate.boxes import Box

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

SIDE = 224
THRESHOLDS = np.linspace(0, 1, 21)
"""Of the success rates under which the area is taken: 0 to 1 in steps of 0.05."""
SUCCESS = 0.5
"""Least score of a moment that counts as localized."""


def truth_mask(boxes: Iterable[Box]) -> Float[np.ndarray, "y x"]:
    """How much each place belongs to what sounds, in [0, 1].

    Boxes of one annotator, or without annotators, are joined. Those of several are added up, half
    for each, and capped at 1: what two agree on counts whole.

    Reference: Senocak et al. 2018, as in the released evaluations of Chen et al. 2021 (LVS).
    """
    boxes = list(boxes)
    by_annotator: dict[str | None, np.ndarray] = {}
    for box in boxes:
        mask = by_annotator.setdefault(box.annotator, np.zeros((SIDE, SIDE)))
        mask[_span(box.y0, box.y1), _span(box.x0, box.x1)] = 1
    weight = 1.0 if len(by_annotator) == 1 else 0.5
    total = sum(by_annotator.values(), np.zeros((SIDE, SIDE)))
    return np.minimum(weight * total, 1)


def enlarged(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "y x"]:
    """A map of cells on the grid, min-max normalized to [0, 1], bilinear; flat ones are 0."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros((SIDE, SIDE))
    normalized = torch.from_numpy((values - low) / (high - low)).double()
    grid = F.interpolate(
        normalized[None, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False
    )
    return np.asarray(grid[0, 0].numpy())


def top_half(grid: Float[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Places that are at least as strong as the median."""
    ordered = np.sort(grid, axis=None)
    return np.asarray(grid >= ordered[len(ordered) // 2])


def strongest_part(grid: Float[np.ndarray, "y x"], share: float) -> Bool[np.ndarray, "y x"]:
    """The strongest places, of the given share of the picture; more where the last are equal."""
    ordered = np.sort(grid, axis=None)[::-1]
    count = min(max(round(share * len(ordered)), 1), len(ordered))
    return np.asarray(grid >= ordered[count - 1])


def consensus_iou(predicted: Bool[np.ndarray, "y x"], truth: Float[np.ndarray, "y x"]) -> float:
    """Intersection over union with a truth that has weights.

    sum(predicted * truth) / (sum(truth) + number of predicted places where the truth is 0)
    """
    return float((predicted * truth).sum() / (truth.sum() + (predicted & (truth == 0)).sum()))


def success_rate(scores: Float[np.ndarray, " n"]) -> float:
    """Share of moments with a score of at least SUCCESS: what is published as cIoU."""
    return float((scores >= SUCCESS).mean())


def success_area(scores: Float[np.ndarray, " n"]) -> float:
    """Area under the success rate over THRESHOLDS, by trapezoids."""
    rates = [(scores >= threshold).mean() for threshold in THRESHOLDS]
    return float(np.trapezoid(rates, THRESHOLDS))


def center_grid() -> Float[np.ndarray, "y x"]:
    """A map that knows nothing but that what matters is mostly in the middle."""
    places = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    return np.asarray(-np.hypot(places[:, None], places[None]))


def peak_place(values: Float[np.ndarray, "h w"]) -> tuple[float, float] | None:
    """x and y in [0, 1] of the center of the strongest cell; None where all are equal."""
    if not values.max() > values.min():
        return None
    row, column = divmod(int(values.argmax()), values.shape[1])
    return (column + 0.5) / values.shape[1], (row + 0.5) / values.shape[0]


def at_place(mask: Float[np.ndarray, "y x"], place: tuple[float, float] | None) -> bool:
    """Whether the mask has any weight there."""
    if place is None:
        return False
    x, y = (min(int(share * SIDE), SIDE - 1) for share in place)
    return bool(mask[y, x] > 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """How well a strength tells where there is something to find."""

    average_precision: float
    """Sum over the ranks of precision times the gain in recall."""
    max_f1: float
    """Over all thresholds."""


def detection(
    strengths: Float[np.ndarray, " n"], hits: Bool[np.ndarray, " n"], *, num_positives: int
) -> Detection:
    """Precision and recall over thresholds of the strength; equal strengths fall together.

    Args:
        strengths: Of all, with and without something to find.
        hits: Found rightly, if it counts as found.
        num_positives: How many there are to find, also those that are no hits.

    Reference: for maps, Mo & Morgado 2022 (SLAVC).
    """
    order = np.argsort(-strengths, kind="stable")
    found = np.cumsum(hits[order])
    last = np.append(np.diff(strengths[order]) != 0, True)  # of a group of equal strengths
    found, taken = found[last], (np.arange(len(order)) + 1)[last]
    precision, recall = found / taken, found / num_positives
    gain = np.diff(recall, prepend=0.0)
    return Detection(
        average_precision=float((precision * gain).sum()),
        max_f1=float((2 * found / (taken + num_positives)).max()),
    )


def mean_area(masks: Sequence[Float[np.ndarray, "y x"]]) -> float:
    """Mean share of the picture that has any weight."""
    return float(np.mean([(mask > 0).mean() for mask in masks]))


def _span(low: float, high: float) -> slice:
    """Positions of the grid: at least one."""
    first = min(int(low * SIDE), SIDE - 1)
    return slice(first, max(int(high * SIDE), first + 1))
