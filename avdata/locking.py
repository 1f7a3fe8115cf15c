"""One process at a time in a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avdata.errors import AvdataError

LOCK_NAME = ".lock"


@contextmanager
def folder_lock(folder: Path, *, busy: AvdataError) -> Iterator[None]:
    """Make the folder and hold its lock; the system frees it when the process ends in any way.

    Raises:
        AvdataError: `busy`, when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise busy from None
        yield
    finally:
        os.close(handle)
