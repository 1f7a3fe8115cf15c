"""Parts of the picture that a network is shown, the rest being painted gray."""

from dataclasses import dataclass

import numpy as np

from avtrain.apps.video_file import VideoFile
from avtrain.errors import VideoError
from avtrain.methods.separation_inputs import GRAY

_MIN_SIDE_PX = 8
_DIM = 0.35
_LINE_COLOR = (255, 210, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A rectangle in shares of the picture's width and height."""

    name: str
    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    is_box: bool = False
    """Given as a box, not as a half of the picture."""

    @property
    def is_all(self) -> bool:
        """Nothing is hidden."""
        return (self.left, self.top, self.right, self.bottom) == (0.0, 0.0, 1.0, 1.0)

    def masked(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (t, h, w, 3), gray outside the region; a view where nothing is hidden."""
        if self.is_all:
            return frames
        rows, columns = self._inside(frames.shape[1], frames.shape[2])
        out = np.full_like(frames, GRAY)
        out[:, rows, columns] = frames[:, rows, columns]
        return out

    def drawn(self, pixels: np.ndarray) -> np.ndarray:
        """A picture uint8 (h, w, 3) as people are shown it: halves gray, around a box darker."""
        if self.is_all:
            return pixels
        rows, columns = self._inside(*pixels.shape[:2])
        if not self.is_box:
            half: np.ndarray = self.masked(pixels[None])[0]
            return half
        out: np.ndarray = (pixels * np.float32(_DIM)).astype(np.uint8)
        out[rows, columns] = pixels[rows, columns]
        line = max(round(min(pixels.shape[:2]) / 200), 1)
        out[rows.start : rows.start + line, columns] = _LINE_COLOR
        out[rows.stop - line : rows.stop, columns] = _LINE_COLOR
        out[rows, columns.start : columns.start + line] = _LINE_COLOR
        out[rows, columns.stop - line : columns.stop] = _LINE_COLOR
        return out

    def _inside(self, height: int, width: int) -> tuple[slice, slice]:
        rows = slice(round(self.top * height), max(round(self.bottom * height), 1))
        columns = slice(round(self.left * width), max(round(self.right * width), 1))
        return rows, columns


def choose_regions(
    video: VideoFile, *, mask: str | None, boxes: tuple[str, ...]
) -> tuple[Region, ...]:
    """What `--mask` and `--box` ask for; the whole picture without them.

    Args:
        video: The file.
        mask: Half that is hidden, "l" or "r".
        boxes: Texts "x,y,w,h" in pixels of the picture as shown, one for each person.

    Raises:
        VideoError: Both are given, or a box is not within the picture.
    """
    if mask is not None and boxes:
        raise VideoError("--mask and --box exclude each other; give one of them")
    if mask == "l":
        return (Region(name="on-screen", left=0.5),)
    if mask == "r":
        return (Region(name="on-screen", right=0.5),)
    if not boxes:
        return (Region(name="on-screen"),)
    names = [f"person-{i + 1}" for i in range(len(boxes))] if len(boxes) > 1 else ["on-screen"]
    return tuple(_box(text, name, video) for text, name in zip(boxes, names, strict=True))


def _box(text: str, name: str, video: VideoFile) -> Region:
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise VideoError(
            f"--box {text} must be x,y,w,h: left, top, width and height in pixels"
        ) from None
    right, bottom = x + width, y + height
    inside = x >= 0 and y >= 0 and right <= video.width_px and bottom <= video.height_px
    if not inside or width < _MIN_SIDE_PX or height < _MIN_SIDE_PX:
        raise VideoError(
            f"--box {text} must be at least {_MIN_SIDE_PX} px wide and high and lie within the "
            f"picture, which is {video.width_px}x{video.height_px} as shown"
        )
    return Region(
        name=name,
        left=x / video.width_px,
        top=y / video.height_px,
        right=right / video.width_px,
        bottom=bottom / video.height_px,
        is_box=True,
    )
