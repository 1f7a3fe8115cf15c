"""Where a clip and its shifted sound begin: uniform over all pairs that are far enough apart.

Positions are frames of the view's rate. A sample has `num_starts` of them, at which a whole clip
fits with its sound::

    |0 . . . . video . . . . . . . . . . . . sound . . . num_starts - 1|
               |<----------- shift >= min ---------->|
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class ShiftPair:
    """First frames of a video clip, and of the clip whose sound is laid under it."""

    video: int
    sound: int


def num_shift_pairs(num_starts: int, *, min_shift: int, max_shift: int | None = None) -> int:
    """How many pairs of starts there are, both orders counted; 0 where no shift fits.

    The published clips of 302 frames have 177 starts and, from 65 frames on, 12,656 pairs.
    """
    cumulative = _pairs_by_shift(num_starts, min_shift, max_shift)
    return 2 * int(cumulative[-1]) if len(cumulative) else 0


def draw_shift_pair(
    rng: np.random.Generator, *, num_starts: int, min_shift: int, max_shift: int | None = None
) -> ShiftPair:
    """One of all pairs of starts whose distance is in [min_shift, max_shift], each equally likely.

    So a shift of d frames has a chance in proportion to `num_starts - d`, and both signs the same.
    In a sample that is too short for `max_shift` the largest shift is what it has room for.

    Reference: Owens & Efros 2018, section 3 and the released reader.

    Raises:
        ValueError: No pair is far enough apart.
    """
    cumulative = _pairs_by_shift(num_starts, min_shift, max_shift)
    if not len(cumulative):
        raise ValueError(
            f"{num_starts=} leaves no room for {min_shift=}; at least {min_shift + 1} starts do"
        )
    drawn, swapped = divmod(int(rng.integers(2 * int(cumulative[-1]))), 2)
    number = int(np.searchsorted(cumulative, drawn, side="right"))
    early = drawn - (int(cumulative[number - 1]) if number else 0)
    late = early + min_shift + number
    return ShiftPair(video=late, sound=early) if swapped else ShiftPair(video=early, sound=late)


@lru_cache(maxsize=1024)
def _pairs_by_shift(num_starts: int, min_shift: int, max_shift: int | None) -> np.ndarray:
    """Pairs with a shift of min_shift, of at most min_shift + 1 and so on; one order of each."""
    if min_shift < 1:
        raise ValueError(f"{min_shift=} must be at least 1: sound that is not shifted is in sync")
    largest = num_starts - 1 if max_shift is None else min(max_shift, num_starts - 1)
    cumulative = np.cumsum(num_starts - np.arange(min_shift, largest + 1))
    cumulative.flags.writeable = False
    return cumulative
