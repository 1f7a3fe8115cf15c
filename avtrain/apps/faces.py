"""Faces in pictures, by OpenCV's Haar cascades, which come with it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from avtrain.errors import DataError

CASCADES = ("haarcascade_frontalface_default.xml", "haarcascade_profileface.xml")
MIN_SIDE_PX = 240
"""Pictures are enlarged to this short side: the cascades look for faces of 24 pixels and more."""
SAME_PLACE = 0.5
"""A cell is on a face where they share so much of the smaller one's area."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Face:
    """A rectangle in shares of the picture's width and height."""

    x0: float
    y0: float
    x1: float
    y1: float

    def covers(self, cell: "Face") -> bool:
        """Whether a rectangle is on the face."""
        width = min(self.x1, cell.x1) - max(self.x0, cell.x0)
        height = min(self.y1, cell.y1) - max(self.y0, cell.y0)
        if width <= 0 or height <= 0:
            return False
        return width * height >= SAME_PLACE * min(self.area, cell.area)

    @property
    def area(self) -> float:
        """Share of the picture."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


class FaceFinder:
    """Finds frontal faces and both profiles.

    Reference: Viola & Jones 2001.
    """

    def __init__(self) -> None:
        """Load the cascades.

        Raises:
            DataError: OpenCV is not installed.
        """
        try:
            import cv2  # optional, and slow to load
            from cv2.data import haarcascades
        except ImportError:
            raise DataError(
                "to leave out faces OpenCV is needed, which is not installed; "
                "`pip install 'avtoolkit[faces]'`, or leave out --no-faces"
            ) from None
        self._cascades: list[Any] = [
            cv2.CascadeClassifier(haarcascades + name) for name in CASCADES
        ]

    def faces(self, pixels: np.ndarray) -> list[Face]:
        """Faces of a picture, uint8 RGB (h, w, 3)."""
        gray = Image.fromarray(pixels).convert("L")
        scale = max(MIN_SIDE_PX / min(gray.size), 1.0)
        if scale > 1:
            gray = gray.resize((round(gray.width * scale), round(gray.height * scale)))
        upright = np.asarray(gray)
        found = []
        for cascade, mirrored in (
            (self._cascades[0], False),
            *((self._cascades[1], m) for m in (False, True)),
        ):
            looked = np.ascontiguousarray(upright[:, ::-1]) if mirrored else upright
            for x, y, width, height in cascade.detectMultiScale(
                looked, scaleFactor=1.1, minNeighbors=5
            ):
                left = gray.width - x - width if mirrored else x
                found.append(
                    Face(
                        x0=float(left / gray.width),
                        y0=float(y / gray.height),
                        x1=float((left + width) / gray.width),
                        y1=float((y + height) / gray.height),
                    )
                )
        return found
