"""Frames decoded in place: into the memory where they are wanted, without a copy."""

from collections.abc import Sequence

import numpy as np
import simplejpeg

from avdata.shards.video_member import PNG_MAGIC, FrameError, decode_picture


def decode_into(
    out: np.ndarray, images: Sequence[bytes | memoryview | np.ndarray], indices: Sequence[int]
) -> tuple[int, int]:
    """Write pictures, encoded or not, into the top left of `out` (t, h, w, 3), zeros beside them.

    Returns:
        Height and width, which all have in common.

    Raises:
        FrameError: One is no picture, is larger than its place or of another size than the first.
    """
    place: dict[int, int] = {}
    size: tuple[int, int] | None = None
    for at, (index, image) in enumerate(zip(indices, images, strict=True)):
        if index in place:
            out[at] = out[place[index]]
            continue
        try:
            seen = _decode_at(out[at], image)
        except (ValueError, OSError) as error:
            raise FrameError(f"frame {index}", error) from None
        if size is not None and seen != size:
            why = f"it is {seen[1]}x{seen[0]}, frame {indices[0]} is {size[1]}x{size[0]}"
            raise FrameError(f"frame {index}", why)
        size, place[index] = seen, at
    assert size is not None
    return size


def _decode_at(out: np.ndarray, image: bytes | memoryview | np.ndarray) -> tuple[int, int]:
    """Write one picture into the top left of `out` (h, w, 3); its height and width."""
    if isinstance(image, np.ndarray):
        picture = image
    else:
        if image[:6] != PNG_MAGIC:
            height, width = simplejpeg.decode_jpeg_header(image)[:2]
            if (height, width) == out.shape[:2]:
                simplejpeg.decode_jpeg(image, colorspace="RGB", buffer=out)
                return height, width
        picture = decode_picture(image)
    height, width = picture.shape[:2]
    if height > out.shape[0] or width > out.shape[1]:
        raise ValueError(
            f"it is {width}x{height}, and the place for it {out.shape[1]}x{out.shape[0]}"
        )
    out[:height, :width] = picture
    out[height:] = 0
    out[:height, width:] = 0
    return height, width
