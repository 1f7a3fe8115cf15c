"""Pairs of starts: the published numbers, uniform over a naive list, refused where none fits."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtrain.data.views.shift_sampler import draw_shift_pair, num_shift_pairs


def naive_pairs(num_starts: int, min_shift: int, max_shift: int | None) -> set[tuple[int, int]]:
    most = num_starts if max_shift is None else max_shift
    return {
        (video, sound)
        for video in range(num_starts)
        for sound in range(num_starts)
        if min_shift <= abs(video - sound) <= most
    }


def draw(count: int, seed: int = 0, **where: int | None) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    pairs = (draw_shift_pair(rng, **where) for _ in range(count))  # type: ignore[arg-type]
    return [(pair.video, pair.sound) for pair in pairs]


def test_the_published_pairs() -> None:
    # clips of 125 frames that share at most 60
    assert num_shift_pairs(177, min_shift=125 - 60) == 12_656
    drawn = np.array(draw(40_000, num_starts=177, min_shift=65))
    assert drawn.min() == 0
    assert drawn.max() == 176
    shift = drawn[:, 1] - drawn[:, 0]
    assert (np.abs(shift).min(), np.abs(shift).max()) == (65, 176)
    assert abs((shift > 0).mean() - 0.5) < 0.01
    assert abs(np.abs(shift).mean() / 29.97 - 3.40) < 0.02
    # the chance of a shift falls linearly, as 177 - |d|
    counts = np.bincount(np.abs(shift), minlength=177)[65:]
    expected = (177 - np.arange(65, 177)) * 2 / 12_656 * len(shift)
    assert ((counts - expected) ** 2 / expected).sum() < 112 + 5 * np.sqrt(2 * 112)


@pytest.mark.parametrize("max_shift", [None, 6, 4, 100])
def test_every_pair_is_equally_likely(max_shift: int | None) -> None:
    expected = naive_pairs(9, 4, max_shift)
    assert num_shift_pairs(9, min_shift=4, max_shift=max_shift) == len(expected)
    counts = Counter(draw(200 * len(expected), num_starts=9, min_shift=4, max_shift=max_shift))
    assert counts.keys() == expected
    assert max(abs(count - 200) for count in counts.values()) < 6 * np.sqrt(200)


@given(st.integers(1, 400), st.integers(1, 200), st.integers(0, 300), st.integers(0, 2**32))
def test_pairs_lie_in_the_sample_and_apart(starts: int, least: int, more: int, seed: int) -> None:
    most = least + more
    count = num_shift_pairs(starts, min_shift=least, max_shift=most)
    assert (count > 0) == (starts > least)
    if count:
        [(video, sound)] = draw(1, seed, num_starts=starts, min_shift=least, max_shift=most)
        assert min(video, sound) >= 0
        assert max(video, sound) < starts
        assert least <= abs(video - sound) <= most


def test_where_no_shift_fits_it_is_said() -> None:
    with pytest.raises(ValueError, match=r"num_starts=65 leaves no room for min_shift=65; .* 66"):
        draw(1, num_starts=65, min_shift=65)
    with pytest.raises(ValueError, match="min_shift=0 must be at least 1"):
        draw(1, num_starts=65, min_shift=0)
