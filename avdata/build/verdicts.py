"""What a clip is worth for training: is there sound, is there a picture, for how long?"""

from dataclasses import dataclass

import numpy as np

from avdata.decode.clip import DecodedClip, total_s
from avdata.decode.verdicts import silent_windows


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdicts:
    """Columns of the manifest; None where the set has no such field or did not decode it."""

    sound_missing: bool
    silence_fraction: float | None
    still_fraction: float | None
    black_fraction: float | None
    effective_duration_s: float


def clip_verdicts(clip: DecodedClip, sample_rate_hz: int) -> Verdicts:
    """Verdicts on a clip as it is stored."""
    silent = None if clip.samples is None else silent_windows(clip.samples, sample_rate_hz)
    seen = clip.video.verdicts if clip.video else None
    black = None if seen is None else seen.black_frames
    return Verdicts(
        sound_missing=silent is not None and bool(silent.all()),
        silence_fraction=None if silent is None or not len(silent) else float(silent.mean()),
        still_fraction=None if seen is None else seen.still_fraction,
        black_fraction=None if black is None or not len(black) else float(black.mean()),
        effective_duration_s=_effective_s(clip, silent, black),
    )


def _effective_s(clip: DecodedClip, silent: np.ndarray | None, black: np.ndarray | None) -> float:
    """Seconds, without padding and gaps, that are neither silent nor black.

    In steps of the finer of both grids.
    """
    num_steps = max(
        len(silent) if silent is not None else 0, len(black) if black is not None else 0
    )
    if not num_steps:
        lacking_s = clip.padded_start_s + clip.padded_end_s + total_s(clip.gaps_s)
        return max(clip.duration_s - lacking_s, 0.0)
    middle = (np.arange(num_steps) + 0.5) / num_steps
    good = np.ones(num_steps, bool)
    for empty in (silent, black):
        if empty is not None and len(empty):
            good &= ~empty[(middle * len(empty)).astype(int)]
    times_s = middle * clip.duration_s
    good &= (times_s >= clip.padded_start_s) & (times_s < clip.duration_s - clip.padded_end_s)
    for start_s, end_s in clip.gaps_s:
        good &= (times_s < start_s - clip.start_s) | (times_s >= end_s - clip.start_s)
    return float(good.mean() * clip.duration_s)
