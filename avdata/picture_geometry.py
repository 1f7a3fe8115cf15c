"""Native pictures to stored ones: which way is up, square pixels, the stored size.

One definition for the builder, and for the reader of sets whose pictures keep their native size.
"""

from fractions import Fraction

from avdata.errors import FailureReason, MediaError

MAX_LONG_SIDE_PX = 8192


def stored_size(
    width_px: int, height_px: int, *, pixel_aspect: Fraction | float, short_side_px: int
) -> tuple[int, int]:
    """Width and height, both even, of a picture with square pixels and the given short side.

    Raises:
        MediaError: The picture is so narrow that its long side would pass 8192 pixels.
    """
    width = float(width_px * pixel_aspect)
    scale = short_side_px / min(width, height_px)
    size = (2 * round(width * scale / 2), 2 * round(height_px * scale / 2))
    if max(size) > MAX_LONG_SIDE_PX:
        raise MediaError(
            FailureReason.TOO_MANY_PIXELS,
            f"a {width_px}x{height_px} picture would come out as {size[0]}x{size[1]}; the long "
            f"side may have {MAX_LONG_SIDE_PX} pixels",
        )
    return size


def usable_aspect(pixel_aspect: Fraction | None) -> Fraction:
    """Width by height of a pixel; 1 where the file states nothing or nonsense."""
    if pixel_aspect is not None and Fraction(1, 20) <= pixel_aspect <= 20:
        return pixel_aspect
    return Fraction(1)


def upright_turns(rotation_deg: int) -> int:
    """Quarter turns counterclockwise that set a picture upright; odd angles count as none."""
    return (rotation_deg // 90) % 4 if abs(rotation_deg) <= 360 and rotation_deg % 90 == 0 else 0
