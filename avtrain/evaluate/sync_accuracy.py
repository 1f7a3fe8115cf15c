"""Numbers of sync, out of log-odds that clips are in sync.

Letters: n samples, w clips of each, k delays of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Numbers = dict[str, tuple[float, float]]
"""By name: a number, and what it is by chance."""


def alignment_numbers(
    in_sync: Float[np.ndarray, "n w"], shifted: Float[np.ndarray, "n w"]
) -> Numbers:
    """How often the log-odds tell at threshold 0 whether clips are in sync.

    `accuracy` is over both kinds, which are equally many; `aligned` and `shifted` over one of them:
    a network that always says the same has 0 and 1 there. `oracle` compares both of a clip.
    """
    of_aligned, of_shifted = float((in_sync > 0).mean()), float((shifted <= 0).mean())
    return {
        "accuracy": ((of_aligned + of_shifted) / 2, 0.5),
        "aligned": (of_aligned, 0.5),
        "shifted": (of_shifted, 0.5),
        "oracle": (float(_wins(in_sync, shifted).mean()), 0.5),
    }


def class_numbers(
    in_sync: Float[np.ndarray, "n w"],
    shifted: Float[np.ndarray, "n w"],
    labels: Sequence[str | None],
) -> Numbers:
    """`accuracy` of the samples of each label, by name; nothing where there are no labels."""
    numbers: Numbers = {}
    for label in sorted({label for label in labels if label is not None}):
        rows = [row for row, other in enumerate(labels) if other == label]
        accuracy, chance = alignment_numbers(in_sync[rows], shifted[rows])["accuracy"]
        numbers[f"accuracy/{label}"] = (accuracy, chance)
    return numbers


def scan_numbers(
    scores: Float[np.ndarray, "n k"],
    valid: Bool[np.ndarray, "n k"],
    delays_s: Sequence[float],
) -> Numbers:
    """How well the delay with the highest score tells that sound is in sync.

    Args:
        scores: Log-odds with the sound at each delay; among equal ones the first counts, so that a
            network that always says the same finds the end of the grid.
        valid: Delays that a sample has room for; others are not candidates.
        delays_s: Of the grid, ascending around 0.
    """
    delays, middle = np.asarray(delays_s), len(delays_s) // 2
    best = np.where(valid, scores, -np.inf).argmax(axis=1)
    off_by = np.abs(np.arange(len(delays)) - middle)
    candidates = valid.sum(axis=1)
    return {
        "offset/exact": (float((best == middle).mean()), float((1 / candidates).mean())),
        "offset/within_one": (
            float((np.abs(best - middle) <= 1).mean()),
            float(((valid & (off_by <= 1)).sum(axis=1) / candidates).mean()),
        ),
        "offset/error_s": (
            float(np.abs(delays[best]).mean()),
            float(((valid * np.abs(delays)).sum(axis=1) / candidates).mean()),
        ),
    }


def delay_numbers(
    guess: Float[np.ndarray, "n k"],
    valid: Bool[np.ndarray, "n k"],
    delays_s: Sequence[float],
) -> Numbers:
    """How well a network names the delay of sound that was delayed by each of the grid.

    Args:
        guess: Position in the grid that it names, where the truth is the column's.
        valid: Delays that a sample has room for; the others are not asked.
        delays_s: Of the grid, ascending around 0.
    """
    delays, positions = np.asarray(delays_s), np.arange(len(delays_s))
    truth = np.broadcast_to(positions, guess.shape)[valid]
    named = guess[valid].astype(int)
    steps = np.abs(positions[:, None] - positions)  # (guess, truth)
    return {
        "offset/exact": (float((named == truth).mean()), 1 / len(delays)),
        "offset/within_one": (
            float((np.abs(named - truth) <= 1).mean()),
            float((steps <= 1).mean(axis=0)[truth].mean()),
        ),
        "offset/error_s": (
            float(np.abs(delays[named] - delays[truth]).mean()),
            float(np.abs(delays[:, None] - delays).mean(axis=0)[truth].mean()),
        ),
    }


def _wins(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 where the first is greater, one half where both are equal."""
    return np.where(first == second, 0.5, first > second)
