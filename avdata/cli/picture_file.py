"""A drawn picture to a file that the user named."""

from pathlib import Path
from typing import TYPE_CHECKING

from avdata.errors import ShardSetError

if TYPE_CHECKING:
    from PIL import Image


def save_picture(picture: "Image.Image", png: Path) -> None:
    """Write a PNG.

    Raises:
        ShardSetError: The file cannot be written.
    """
    try:
        picture.save(png, format="PNG")
    except OSError as error:
        raise ShardSetError(
            f"--png {png} cannot be written ({error.strerror or error}); name a file in a folder "
            "that exists"
        ) from None
