"""One process at a time in a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from avdata.errors import AvdataError

LOCK_NAME = ".lock"


@contextmanager
def folder_lock(folder: Path, *, busy: AvdataError) -> Iterator[None]:
    """Make the folder and hold its lock; the system frees it when the process ends in any way.

    Raises:
        AvdataError: `busy`, when another process holds it; or the folder cannot be made or written.
    """
    handle = _open_lock(folder)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise busy from None
        yield
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make the folder, and see that files can be made in it.

    Raises:
        AvdataError: They cannot; the text says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        raise _cannot_be_made(folder, error) from None


def _open_lock(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except (OSError, ValueError) as error:
        raise _cannot_be_made(folder, error) from None


def _cannot_be_made(folder: Path, error: OSError | ValueError) -> AvdataError:
    """The fault of a folder that cannot be made, or in which no file can be made."""
    if folder.is_dir():
        reason = f"is a folder that cannot be written ({_reason(error)})"
    elif blocking := next((p for p in (folder, *folder.parents) if _is_file(p)), None):
        what = "is" if blocking == folder else f"cannot be made: {blocking} is"
        reason = f"{what} a file, not a folder"
    else:
        reason = f"cannot be made: {_reason(error)}"
    return AvdataError(f"folder {str(folder)!r} {reason}; name a folder that can be written")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False
