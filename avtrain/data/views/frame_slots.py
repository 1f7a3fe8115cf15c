"""The part of a batch that holds pictures, as readers fill it."""

from typing import Protocol

from torch import Tensor

from avtrain.data.jpeg_decode import JpegFrames


class FrameSlots(Protocol):
    """A batch with a clip's pictures in each slot.

    Letters: b clips, t video frames, h w pixels.
    """

    @property
    def frames(self) -> Tensor | JpegFrames:
        """uint8 (b, t, h, w, 3), or the same still encoded."""
        ...

    @property
    def crops(self) -> Tensor | None:
        """int32 (b, 5), columns as in CROP_COLUMNS; None where the frames are cropped."""
        ...
