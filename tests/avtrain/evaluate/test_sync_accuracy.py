"""Numbers of sync against answers that can be counted by hand."""

import numpy as np
import pytest

from avtrain.evaluate.sync_accuracy import (
    alignment_numbers,
    class_numbers,
    delay_numbers,
    scan_numbers,
)

DELAYS_S = (-0.4, -0.2, 0.0, 0.2, 0.4)
ALL = np.ones((1, 5), bool)


def test_accuracy_is_over_both_kinds() -> None:
    numbers = alignment_numbers(np.array([[1.0], [2.0], [-1.0]]), np.array([[0.5], [-1], [-2]]))
    assert numbers["aligned"][0] == pytest.approx(2 / 3)
    assert numbers["shifted"][0] == pytest.approx(2 / 3)
    assert numbers["accuracy"][0] == pytest.approx(4 / 6)
    assert numbers["oracle"][0] == 1
    assert {chance for _, chance in numbers.values()} == {0.5}


def test_a_network_that_always_says_the_same_is_at_chance() -> None:
    same = np.full((4, 2), 3.0)
    numbers = alignment_numbers(same, same)
    assert numbers["accuracy"][0] == numbers["oracle"][0] == 0.5
    assert (numbers["aligned"][0], numbers["shifted"][0]) == (1, 0)


def test_classes_are_apart() -> None:
    in_sync, shifted = np.array([[1.0], [1.0], [1.0]]), np.array([[-1.0], [1.0], [1.0]])
    numbers = class_numbers(in_sync, shifted, ["drum", "bell", None])
    assert numbers == {"accuracy/bell": (0.5, 0.5), "accuracy/drum": (1.0, 0.5)}
    assert class_numbers(in_sync, shifted, [None] * 3) == {}


def test_the_scan_takes_the_highest() -> None:
    scores = np.array([[0, 1, 9, 2, 3], [0, 1, 2, 9, 3], [9, 1, 2, 3, 4]], float)
    numbers = scan_numbers(scores, ALL.repeat(3, 0), DELAYS_S)
    assert numbers["offset/exact"] == pytest.approx((1 / 3, 1 / 5))
    assert numbers["offset/within_one"] == pytest.approx((2 / 3, 3 / 5))
    assert numbers["offset/error_s"] == pytest.approx(((0 + 0.2 + 0.4) / 3, 0.24))


def test_the_scan_leaves_out_delays_without_room() -> None:
    valid = np.array([[False, True, True, True, False]])
    numbers = scan_numbers(np.array([[9.0, 0, 1, 0, 9]]), valid, DELAYS_S)
    assert numbers["offset/exact"] == pytest.approx((1, 1 / 3))
    assert numbers["offset/within_one"] == pytest.approx((1, 1))
    assert numbers["offset/error_s"] == pytest.approx((0, 0.4 / 3))


def test_a_constant_network_does_not_find_the_middle() -> None:
    numbers = scan_numbers(np.zeros((2, 5)), ALL.repeat(2, 0), DELAYS_S)
    assert numbers["offset/exact"][0] == 0
    assert numbers["offset/error_s"][0] == pytest.approx(0.4)


def test_named_delays_are_compared_with_those_that_were_made() -> None:
    numbers = delay_numbers(np.array([[0, 1, 2, 3, 2]]), ALL, DELAYS_S)
    assert numbers["offset/exact"] == pytest.approx((4 / 5, 1 / 5))
    assert numbers["offset/within_one"] == pytest.approx((4 / 5, (2 + 3 + 3 + 3 + 2) / 25))
    assert numbers["offset/error_s"] == pytest.approx((0.4 / 5, 0.32))


def test_delays_without_room_are_not_asked() -> None:
    valid = np.array([[False, True, True, True, False]])
    numbers = delay_numbers(np.array([[4, 1, 2, 3, 0]]), valid, DELAYS_S)
    assert numbers["offset/exact"][0] == 1
    assert numbers["offset/within_one"] == pytest.approx((1, 3 / 5))
