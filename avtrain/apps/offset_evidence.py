"""Evidence of many windows on how late the sound of a video is, added up.

Let z_w(d) be the network's log-odds that window w is in sync with the sound d later. Exactly one
offset being right, the likelihood of the offset d is the product of the odds at d and of what does
not depend on d, so that softmax over d of z_w is the posterior of one window, and logarithms add up
over windows. A share of OUTLIERS of the windows is taken to say nothing, so that no window, however
sure of itself, outweighs the others.
"""

from dataclasses import dataclass

import numpy as np

OUTLIERS = 0.1
"""Share of windows whose best offset is taken to be chance."""
TOLERANCE_S = 0.2
"""Offsets this near to the estimate agree with it."""
MOST_CHANCE = 0.05
"""A sure answer comes about by chance at most this often."""

MOST_RIVAL = 0.8
"""Of a sure answer no other peak is so high: a sound that repeats has one a period away, and which
of them is higher is chance. Of 35 synthesized scenes with offsets that a trained network found, 4
have a higher one; of 14 metronomes, all, and 4 of these came out sure of a wrong period."""

_LEAST_DIP = 0.25
"""Between two peaks the curve falls by this share of the height of the best one."""
_NUM_SHUFFLED = 999
_FEWEST_SHUFFLED = 3
"""With fewer windows there is nothing to shuffle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowOffset:
    """What one window says."""

    start_s: float
    end_s: float
    offset_s: float | None
    """Its own best offset; None where it was left out."""
    score: float | None
    """Log-odds of sync at the estimate for the whole video."""
    score_as_is: float | None
    """Log-odds of sync as the file plays."""
    left_out: str | None
    """Why it does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """Another offset that would explain what is seen and heard."""

    offset_s: float
    height: float
    """Of its peak over the median of all offsets, in shares of that of the estimate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OffsetEstimate:
    """How late the sound of a video is."""

    offset_s: float
    """Positive: the sound comes after its picture."""
    confidence: float
    """Posterior probability that the offset is within TOLERANCE_S of this."""
    margin: float
    """Mean log-odds of windows at the estimate less those at the best offset further away."""
    rival: Rival | None
    """The highest other peak further away; None where there is none."""
    agreement: float
    """Share of windows whose own best offset is within TOLERANCE_S."""
    chance: float | None
    """How often windows agree as well when each is shifted at random: near 0 for a network that
    knows, anything for one that does not. None with fewer than three windows."""
    mean_score: float
    """Mean log-odds of sync of windows at the estimate."""
    tried_s: tuple[float, float]
    """Smallest and largest offset that could be tried."""
    windows: tuple[WindowOffset, ...]

    @property
    def num_used(self) -> int:
        """Windows that count."""
        return sum(window.left_out is None for window in self.windows)

    @property
    def at_edge(self) -> bool:
        """The best offset is one of the outermost: the true one may lie beyond."""
        return not self.tried_s[0] + 1e-6 < self.offset_s < self.tried_s[1] - 1e-6

    @property
    def is_strong(self) -> bool:
        """Evidence is clear, of one mind, no chance, and for sync at this offset."""
        clear = self.confidence >= 0.9 and self.margin > 0 and self.mean_score > 0
        return clear and not self.at_edge and (self.chance is None or self.chance <= MOST_CHANCE)

    @property
    def is_ambiguous(self) -> bool:
        """Another offset explains nearly as much."""
        return self.rival is not None and self.rival.height >= MOST_RIVAL

    @property
    def is_sure(self) -> bool:
        """Evidence is strong, and for this offset alone."""
        return self.is_strong and not self.is_ambiguous


def rival_of(offsets: np.ndarray, curve: np.ndarray, best: int) -> Rival | None:
    """The highest peak of a curve further than TOLERANCE_S from its best one, if there is one.

    Heights are relative, since the logits of a network say who is ahead and not by how much.

    Args:
        offsets: Ascending, in seconds.
        curve: Mean log-odds at each offset.
        best: Position of the estimate.
    """
    floor = float(np.median(curve))
    span = float(curve[best]) - floor
    padded = np.pad(curve, 1, constant_values=-np.inf)
    is_peak = (curve >= padded[:-2]) & (curve >= padded[2:])
    is_peak &= np.abs(offsets - offsets[best]) > TOLERANCE_S + 1e-9
    rivals = [
        int(i)
        for i in np.flatnonzero(is_peak)
        if curve[i] > floor
        and curve[i] - curve[slice(*sorted((int(i), best)))].min() >= _LEAST_DIP * span
    ]
    if span <= 0 or not rivals:
        return None
    highest = max(rivals, key=lambda i: float(curve[i]))
    return Rival(offset_s=float(offsets[highest]), height=(float(curve[highest]) - floor) / span)


def combine(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior of offsets, and how much each window supports each of them.

    Args:
        scores: Log-odds (windows, offsets); NaN, not heard, counts as the window's mean.

    Returns:
        The posterior (offsets,), and the probability (windows, offsets) that a window is no
        outlier if that offset is the right one.
    """
    mixed = _mixed(scores)
    total = np.log(mixed).sum(axis=0)
    posterior = np.exp(total - total.max())
    return posterior / posterior.sum(), 1 - OUTLIERS / scores.shape[1] / mixed


def _mixed(scores: np.ndarray) -> np.ndarray:
    """Likelihood (windows, offsets) of each window's evidence, outliers allowed for."""
    known = filled(scores)
    odds = np.exp(known - known.max(axis=1, keepdims=True))
    single = odds / odds.sum(axis=1, keepdims=True)
    likelihood: np.ndarray = (1 - OUTLIERS) * single + OUTLIERS / scores.shape[1]
    return likelihood


def chance_of(scores: np.ndarray, *, rng: np.random.Generator) -> float | None:
    """How often windows agree on one offset as well as here when each is shifted at random.

    A permutation test: the evidence of each window is rolled along the offsets, which keeps its
    shape, by a random number of them; the statistic is the largest summed log-likelihood.

    Args:
        scores: Log-odds (windows, offsets).
        rng: Draws the shifts.

    Returns:
        A p-value, at least 1 in 1000; None with fewer than three windows.
    """
    num_windows, num_offsets = scores.shape
    if num_windows < _FEWEST_SHUFFLED:
        return None
    evidence = np.log(_mixed(scores))
    reached = evidence.sum(axis=0).max()
    place = np.arange(num_offsets)
    count = 0
    for _ in range(_NUM_SHUFFLED):
        shift = rng.integers(0, num_offsets, (num_windows, 1))
        rolled = np.take_along_axis(evidence, (place + shift) % num_offsets, axis=1)
        count += bool(rolled.sum(axis=0).max() >= reached - 1e-9)
    return (1 + count) / (1 + _NUM_SHUFFLED)


def filled(scores: np.ndarray) -> np.ndarray:
    """Scores (windows, offsets) with the mean of a window where it could not be heard."""
    mean = np.nanmean(scores, axis=1, keepdims=True)
    return np.where(np.isfinite(scores), scores, mean)
