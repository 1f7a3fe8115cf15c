"""Where results go: refused before hours of work, not after."""

from collections.abc import Collection
from pathlib import Path

from avtrain.errors import VideoError


def check_out_file(out: Path, *, option: str, suffixes: Collection[str], video: Path) -> None:
    """Refuse a file that cannot be written, or that is the input.

    Raises:
        VideoError: Its folder is missing, its suffix is another, or it is the video itself.
    """
    if out.suffix.lower() not in suffixes:
        raise VideoError(
            f"{option} {out}: the name must end with {' or '.join(sorted(suffixes))}; change it"
        )
    if not out.parent.is_dir():
        raise VideoError(f"there is no folder {out.parent} for {option} {out}; make it first")
    if out.is_dir():
        raise VideoError(f"{option} {out} is a folder; give a file name")
    if out.exists() and video.exists() and out.samefile(video):
        raise VideoError(f"{option} {out} is the video itself; give another name")


def make_out_folder(out: Path, *, video: Path) -> None:
    """Make the folder of the results, in one that there is.

    Raises:
        VideoError: It is a file, its parent is missing, or the results would replace the video.
    """
    if out.exists() and not out.is_dir():
        raise VideoError(f"--out {out} is a file; give a folder")
    if not out.parent.is_dir():
        raise VideoError(f"there is no folder {out.parent} for --out {out}; make it first")
    if out.is_dir() and video.resolve().parent == out.resolve():
        raise VideoError(
            f"--out {out} holds the video, which results could replace; give another folder"
        )
    out.mkdir(exist_ok=True)
