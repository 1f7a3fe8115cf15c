"""Is anything to be seen in the stored pictures, and does it move?"""

import numpy as np

from avdata.decode.clip import PictureVerdicts

WATCHED_PX = 2048
"""About so many pixels of a picture are looked at, in a regular pattern."""
STILL_LEVELS = 0.5
"""Mean change of luma in full range below which nothing moves: less than the noise of a camera."""
BLACK_LEVEL = 24
"""Luma in full range; a picture is black when 98 of 100 pixels are darker."""
BLACK_SHARE = 0.98


class PictureWatch:
    """Looks at the pictures that are stored; all have one size."""

    def __init__(self, *, limited_range: bool) -> None:
        scale = 219 / 255 if limited_range else 1.0
        self._black_level = (16 if limited_range else 0) + BLACK_LEVEL * scale
        self._still_levels = STILL_LEVELS * scale
        self._seen: list[np.ndarray] = []
        self._pictures: list[int] = []
        """Which picture each frame shows."""

    def add(self, luma: np.ndarray) -> None:
        """Look at the next picture: uint8 (h, w)."""
        step = max(1, round((luma.size / WATCHED_PX) ** 0.5))
        self._seen.append(luma[::step, ::step].copy())
        self._pictures.append(len(self._seen) - 1)

    def repeat(self) -> None:
        """The same picture is stored once more."""
        self._pictures.append(len(self._seen) - 1)

    def verdicts(self, num_frames: int) -> PictureVerdicts:
        """What was seen in the first `num_frames` frames.

        A picture that is stored twice is black twice, and no sign of standing still.
        """
        shown = self._pictures[:num_frames]
        if not shown:
            return PictureVerdicts(still_fraction=None, black_frames=np.zeros(0, bool))
        seen = np.stack(self._seen[: shown[-1] + 1])
        seen = seen.reshape(len(seen), -1)
        dark = (seen < self._black_level).sum(1, dtype=np.int64)
        change = np.abs(np.diff(seen.astype(np.int16), axis=0)).mean(1)
        return PictureVerdicts(
            still_fraction=float((change < self._still_levels).mean()) if len(change) else None,
            black_frames=(dark >= BLACK_SHARE * seen.shape[1])[shown],
        )
