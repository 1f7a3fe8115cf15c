"""Smoothing of maps: a Gaussian by its formula, means as they were, nothing across time."""

import numpy as np

from avtrain.maps import smoothed


def test_a_single_cell_becomes_a_gaussian() -> None:
    values = np.zeros((3, 2, 31, 33), np.float32)
    values[1, 0, 15, 16] = 1
    found = smoothed(values, 0.75)
    assert found.dtype == np.float32
    steps = np.arange(-3, 4)
    bell = np.exp(-(steps**2) / (2 * 0.75**2))
    bell /= bell.sum()
    np.testing.assert_allclose(found[1, 0, 12:19, 13:20], np.outer(bell, bell), atol=1e-6)
    found[1, 0, 12:19, 13:20] = 0
    assert not found.any()


def test_the_mean_stays_also_at_borders_and_nothing_changes_without_width() -> None:
    values = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    for cells in (0.3, 0.75, 2.0):
        found = smoothed(values, cells)
        np.testing.assert_allclose(found.mean(axis=(1, 2)), values.mean(axis=(1, 2)), atol=1e-6)
        assert np.abs(found).max() < np.abs(values).max()
    np.testing.assert_array_equal(smoothed(values, 0.0), values)
