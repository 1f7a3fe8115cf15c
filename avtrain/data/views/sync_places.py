"""Which clip of a sample is seen, and from which times its sound is taken.

Positions are frames of the view's rate from the start of the sample; a sample has `num_starts` of
them at which a whole clip fits with its sound.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import Field, model_validator

from avdata import Spec
from avtrain.data.views.shift_sampler import draw_shift_pair
from avtrain.data.views.sync_config import SyncViewConfig


class OffsetGridConfig(Spec):
    """Evenly spaced delays around 0; the defaults are those of Synchformer (Iashin et al. 2024)."""

    max_s: float = Field(default=2.0, gt=0)
    step_s: float = Field(default=0.2, gt=0)

    @model_validator(mode="after")
    def _steps_reach_the_end(self) -> "OffsetGridConfig":
        steps = self.max_s / self.step_s
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"max_s={self.max_s} must be a multiple of step_s={self.step_s}, as 2.0 is of 0.2"
            )
        return self

    @property
    def delays_s(self) -> tuple[float, ...]:
        """Ascending, 0 in the middle; a positive delay is sound that is late."""
        half = round(self.max_s / self.step_s)
        return tuple(k * self.step_s for k in range(-half, half + 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipPlace:
    """First frames of a clip and of the windows of its sound."""

    video: int
    sounds: tuple[int | None, ...]
    """None is a window that does not lie within the sample."""


class Places(Protocol):
    """How places are chosen in a sample."""

    @property
    def num_windows(self) -> int:
        """Windows of sound that each place has."""
        ...

    @property
    def min_starts(self) -> int:
        """Fewest starts of a sample in which there is a place."""
        ...

    def __call__(self, rng: np.random.Generator, *, num_starts: int) -> ClipPlace:
        """A place in a sample of `num_starts` starts, at least `min_starts`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ShiftedPlaces:
    """Two windows: the clip's own sound, and that of another time."""

    view: SyncViewConfig

    @property
    def num_windows(self) -> int:
        """In sync, then shifted."""
        return 2

    @property
    def min_starts(self) -> int:
        """Room for the smallest shift."""
        return self.view.min_shift_frames + 1

    def __call__(self, rng: np.random.Generator, *, num_starts: int) -> ClipPlace:
        """One of all pairs that are far enough apart, each equally likely."""
        pair = draw_shift_pair(
            rng,
            num_starts=num_starts,
            min_shift=self.view.min_shift_frames,
            max_shift=self.view.max_shift_frames,
        )
        return ClipPlace(video=pair.video, sounds=(pair.video, pair.sound))


@dataclass(frozen=True, kw_only=True, slots=True)
class GridPlaces:
    """One window whose delay is one of a grid."""

    view: SyncViewConfig
    grid: OffsetGridConfig

    @property
    def num_windows(self) -> int:
        """The delayed sound."""
        return 1

    @property
    def min_starts(self) -> int:
        """Room for the largest delay."""
        return round(self.grid.max_s * self.view.fps) + 1

    def __call__(self, rng: np.random.Generator, *, num_starts: int) -> ClipPlace:
        """All delays equally likely, and for each all places that have room for it."""
        delays = self.grid.delays_s
        delay = round(delays[int(rng.integers(len(delays)))] * self.view.fps)
        first, last = max(delay, 0), num_starts - 1 + min(delay, 0)
        video = int(rng.integers(first, last + 1))
        return ClipPlace(video=video, sounds=(video - delay,))


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedPlaces:
    """A clip in the middle of the sample with the sound of every delay of a grid."""

    view: SyncViewConfig
    grid: OffsetGridConfig

    @property
    def num_windows(self) -> int:
        """All delays, ascending."""
        return len(self.grid.delays_s)

    @property
    def min_starts(self) -> int:
        """A clip; delays that a short sample has no room for are left out."""
        return 1

    def __call__(self, rng: np.random.Generator, *, num_starts: int) -> ClipPlace:
        """Nothing is drawn."""
        video = (num_starts - 1) // 2
        starts = (video - round(delay * self.view.fps) for delay in self.grid.delays_s)
        return ClipPlace(
            video=video,
            sounds=tuple(start if 0 <= start < num_starts else None for start in starts),
        )
