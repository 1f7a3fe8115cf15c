"""A clip of a sample with sounds laid under it, and the maps that a network makes of it."""

from dataclasses import dataclass

import numpy as np

SILENT_BELOW = 33
"""Of 32767: -60 dB of full scale, as in the builder's verdicts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeardSound:
    """The sound that belongs to a clip, of the same sample or of another one."""

    sample: int
    start_s: float
    """When that clip's pictures start, from the start of its sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRequest:
    """The pictures of a clip and what is to be heard with them."""

    sample: int
    start_s: float
    """When the pictures start, from the start of the sample."""
    sounds: tuple[HeardSound | None, ...]
    """None is silence; equally many in all requests of a call."""

    @property
    def own(self) -> HeardSound:
        """The sound that belongs to the pictures."""
        return HeardSound(sample=self.sample, start_s=self.start_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipMaps:
    """Maps of one clip, one for each of its sounds. Letters: k sounds, t steps, h w cells."""

    request: ClipRequest
    values: np.ndarray
    """float32 (k, t, h, w), signed: positive speaks for picture and sound together. The cells cover
    the whole picture evenly."""
    times_s: np.ndarray
    """float64 (t,), ascending: center of each step, from the start of the sample."""
    silent: np.ndarray
    """bool (k,): the sound never exceeds -60 dB of full scale, or a log-mel its floor."""

    def __repr__(self) -> str:
        return f"ClipMaps(values={self.values.shape})"

    def at(self, time_s: float) -> np.ndarray:
        """Maps at a moment between the two nearest steps, float32 (k, h, w); the ends' beyond."""
        steps = np.arange(len(self.times_s))
        place = float(np.interp(time_s, self.times_s, steps))
        low = int(place)
        high, share = min(low + 1, len(steps) - 1), np.float32(place - low)
        between: np.ndarray = (1 - share) * self.values[:, low] + share * self.values[:, high]
        return between
