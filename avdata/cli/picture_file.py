"""A drawn picture to a file that the user named."""

from pathlib import Path
from typing import TYPE_CHECKING

from avdata.errors import ConfigError, ShardSetError

if TYPE_CHECKING:
    from PIL import Image


def check_picture_name(png: Path) -> None:
    """Refuse the name of a file that would not say what it holds.

    Raises:
        ConfigError: It does not end in .png.
    """
    if png.suffix.lower() != ".png":
        raise ConfigError(
            f"--png {png}: the picture is a PNG; give a name that ends in .png, as in "
            f"{png.with_suffix('.png') if png.name else 'picture.png'}"
        )


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
