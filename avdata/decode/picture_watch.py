"""Verdicts on the stored frames: is anything to be seen, and does it move?"""

import numpy as np

from avdata.decode.clip import PictureVerdicts

WATCHED_PX = 2048
"""About so many pixels of a picture are looked at, in a regular pattern."""
STILL_LEVELS = 0.5
"""Mean change of luma in full range from which on the picture moves: the noise of a camera."""
BLOCKS_A_SIDE = 32
"""Blocks along the short side."""
LINES_A_BLOCK = 4
"""Lines of a block that are looked at; also its least side in pixels."""
STILL_BLOCK_LEVELS = 1.5
"""Mean change of a block from which on the picture moves. Key frames of a coded slide stay below, a
speaker in a tenth of its width does not."""
BLACK_LEVEL = 24
"""Luma in full range; a picture is black when 98 of 100 pixels are darker."""
BLACK_SHARE = 0.98
PICTURES_AT_A_TIME = 16
"""Pictures that are judged by one call of each array function."""


class PictureWatch:
    """Looks at the pictures that are stored, some at a time; all have one size."""

    def __init__(self, *, limited_range: bool) -> None:
        scale = 219 / 255 if limited_range else 1.0
        self._black_level = np.uint8(np.ceil((16 if limited_range else 0) + BLACK_LEVEL * scale))
        self._still_levels = STILL_LEVELS * scale
        self._still_block_levels = STILL_BLOCK_LEVELS * scale
        self._pictures: list[np.ndarray] = []
        """Luma of those to be looked at, behind the last one that was."""
        self._sampled: list[np.ndarray] = []
        """The pattern of each of them."""
        self._still: list[bool] = []
        """Whether nothing moves between two pictures; one less than pictures."""
        self._black: list[bool] = []
        self._num_pictures = 0
        self._shown: list[int] = []
        """Which picture each frame shows."""

    def add(self, luma: np.ndarray) -> None:
        """Look at the next picture: uint8 (h, w), which must not change afterwards."""
        step = max(1, round((luma.size / WATCHED_PX) ** 0.5))
        self._pictures.append(luma)
        self._sampled.append(luma[::step, ::step].flatten())
        self._shown.append(self._num_pictures)
        self._num_pictures += 1
        if len(self._pictures) > PICTURES_AT_A_TIME:
            self._look()

    def _look(self) -> None:
        """Judge the pictures that wait."""
        sampled = np.stack(self._sampled)
        num_new = self._num_pictures - len(self._black)
        dark = np.count_nonzero(sampled[-num_new:] < self._black_level, axis=1)
        self._black += (dark >= BLACK_SHARE * sampled.shape[1]).tolist()
        change = _change(sampled[:-1], sampled[1:]).sum(axis=1, dtype=np.uint32)
        for i, still in enumerate((change < self._still_levels * sampled.shape[1]).tolist()):
            before, after = self._pictures[i], self._pictures[i + 1]
            self._still.append(
                still and largest_block_change(before, after) < self._still_block_levels
            )
        del self._pictures[:-1], self._sampled[:-1]

    def repeat(self) -> None:
        """The same picture is stored once more."""
        self._shown.append(self._num_pictures - 1)

    def verdicts(self, num_frames: int) -> PictureVerdicts:
        """Return what was seen in the first `num_frames` frames.

        A picture that is stored twice is black twice, and no sign of standing still.
        """
        if self._num_pictures > len(self._black):
            self._look()
        shown = self._shown[:num_frames]
        if not shown:
            return PictureVerdicts(still_fraction=None, black_frames=np.zeros(0, bool))
        still = self._still[: shown[-1]]
        return PictureVerdicts(
            still_fraction=float(np.mean(still)) if still else None,
            black_frames=np.array(self._black)[shown],
        )


def largest_block_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return the largest mean change of luma in a square block, by four lines of each block.

    Args:
        before: uint8 (h, w). `after` likewise.
    """
    side = max(LINES_A_BLOCK, round(min(before.shape) / BLOCKS_A_SIDE))
    step = side // LINES_A_BLOCK
    rows, columns = before.shape[0] // (step * LINES_A_BLOCK), before.shape[1] // side
    if not rows or not columns:
        return float(np.mean(_change(before, after)))
    whole = slice(0, rows * step * LINES_A_BLOCK, step), slice(0, columns * side)
    change = before[whole].astype(np.int16)
    change -= after[whole]
    np.abs(change, out=change)
    lines = change[0::4] + change[1::4]
    lines += change[2::4]
    lines += change[3::4]
    blocks = lines.astype(np.float32).reshape(-1, side) @ np.ones(side, np.float32)
    largest: float = blocks.max() / (side * LINES_A_BLOCK)
    return largest


def _change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the absolute differences of uint8 arrays as uint8."""
    return np.asarray(np.maximum(before, after) - np.minimum(before, after))
