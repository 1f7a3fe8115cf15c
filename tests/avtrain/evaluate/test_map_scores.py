"""Scores of maps against answers that can be counted by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from avtrain.evaluate.boxes import Box
from avtrain.evaluate.map_scores import (
    SIDE,
    at_place,
    center_grid,
    consensus_iou,
    detection,
    enlarged,
    peak_place,
    strongest_part,
    success_area,
    success_rate,
    top_half,
    truth_mask,
)

LEFT_HALF = Box(x0=0, y0=0, x1=0.5, y1=1)


def ramp() -> np.ndarray:
    """Strongest at the left, each column its own value."""
    return np.tile(-np.arange(SIDE, dtype=float), (SIDE, 1))


def test_the_iou_of_half_a_picture() -> None:
    # columns 0..112 of 224 are at least the median (position n // 2 of the sorted values)
    predicted = top_half(ramp())
    assert predicted.sum() == 112 * SIDE
    assert consensus_iou(predicted, truth_mask([LEFT_HALF])) == 1
    right = truth_mask([Box(x0=0.5, y0=0, x1=1, y1=1)])
    assert consensus_iou(predicted, right) == 0
    # a quarter, all of it found: 1/4 of the picture over 1/4 + another 1/4
    quarter = truth_mask([Box(x0=0, y0=0, x1=0.25, y1=1)])
    assert consensus_iou(predicted, quarter) == pytest.approx(0.5)
    # lower left quarter and as much beside it: 56 columns of both
    wide = truth_mask([Box(x0=0.25, y0=0, x1=0.75, y1=1)])
    assert consensus_iou(predicted, wide) == pytest.approx(56 / (112 + 56))


def test_annotators_that_agree_count_whole() -> None:
    boxes = [
        Box(x0=0, y0=0, x1=0.5, y1=1, annotator="a"),
        Box(x0=0, y0=0, x1=0.25, y1=1, annotator="b"),
        Box(x0=0, y0=0, x1=0.25, y1=0.5, annotator="c"),
    ]
    mask = truth_mask(boxes)
    assert mask[0, 0] == 1  # three agree: capped
    assert mask[200, 0] == 1  # two
    assert mask[0, 80] == 0.5  # one
    assert mask[0, 200] == 0
    predicted = top_half(ramp())
    assert consensus_iou(predicted, mask) == pytest.approx(1)
    # one annotator's boxes are joined
    twice = truth_mask([LEFT_HALF, Box(x0=0.25, y0=0, x1=0.75, y1=1)])
    assert twice[0, 100] == 1
    assert twice.mean() == pytest.approx(0.75)


def test_a_flat_map_takes_everything_and_has_no_peak() -> None:
    grid = enlarged(np.full((3, 4), 2.0))
    assert top_half(grid).all()
    assert consensus_iou(top_half(grid), truth_mask([LEFT_HALF])) == pytest.approx(0.5)
    assert peak_place(np.full((3, 4), 2.0)) is None
    assert not at_place(np.ones((SIDE, SIDE)), None)


def test_the_strongest_part_is_as_large_as_asked() -> None:
    assert strongest_part(ramp(), 0.25).sum() == SIDE * SIDE // 4
    truth = truth_mask([Box(x0=0, y0=0, x1=0.25, y1=1)])
    assert consensus_iou(strongest_part(ramp(), 0.25), truth) == 1
    assert strongest_part(ramp(), 0.0).any()


def test_maps_are_enlarged_around_their_cells() -> None:
    values = np.zeros((7, 7))
    values[2, 5] = 3.0
    grid = enlarged(values)
    assert (grid.min(), grid.max()) == (0, pytest.approx(1, abs=0.05))
    row, column = divmod(int(grid.argmax()), SIDE)
    assert abs(row - 80) <= 1 and abs(column - 176) <= 1  # 2.5 and 5.5 cells of 32
    x, y = peak_place(values)
    assert (x, y) == (pytest.approx(5.5 / 7), pytest.approx(2.5 / 7))
    around = truth_mask([Box(x0=5 / 7, y0=2 / 7, x1=6 / 7, y1=3 / 7)])
    assert at_place(around, (x, y))
    assert not at_place(around, (0.5, 0.5))


def test_success_and_its_area() -> None:
    scores = np.array([0.0, 0.5, 1.0])
    assert success_rate(scores) == pytest.approx(2 / 3)
    # rates: 1 at 0; 2/3 at 0.05 .. 0.5; 1/3 at 0.55 .. 1; trapezoids of 0.05
    area = 0.05 * (1 / 2 + 10 * 2 / 3 + 9 / 3 + 1 / 6)
    assert success_area(scores) == pytest.approx(area)
    assert success_area(np.ones(3)) == pytest.approx(1)


def test_the_middle_is_strongest_in_the_middle() -> None:
    grid = center_grid()
    row, column = divmod(int(grid.argmax()), SIDE)
    assert {row, column} <= {SIDE // 2 - 1, SIDE // 2}
    assert np.allclose(grid, grid[::-1, ::-1])


@pytest.mark.parametrize("levels", [3, 1000])
def test_precision_is_that_of_scikit_learn(levels: int) -> None:
    rng = np.random.default_rng(levels)
    truth = rng.random(200) < 0.3
    strengths = rng.integers(levels, size=200) + 0.3 * levels * truth
    found = detection(strengths, truth, num_positives=int(truth.sum()))
    assert found.average_precision == pytest.approx(average_precision_score(truth, strengths))
    precision, recall, _ = precision_recall_curve(truth, strengths)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert found.max_f1 == pytest.approx(f1.max())


def test_positives_that_are_no_hits_are_missed() -> None:
    # ranks: hit, miss, hit, negative; 3 to find
    found = detection(
        np.array([4.0, 3, 2, 1]), np.array([True, False, True, False]), num_positives=3
    )
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 3)
    assert found.max_f1 == pytest.approx(2 * 2 / (3 + 3))
