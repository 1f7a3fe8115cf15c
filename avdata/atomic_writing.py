"""Files that appear whole or not at all."""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PARTIAL_MARK = ".partial-"


def partial_path(path: Path) -> Path:
    """A new name beside `path` for what is being written."""
    return path.with_name(f"{path.name}{PARTIAL_MARK}{secrets.token_hex(4)}")


def create_partial(path: Path) -> tuple[Path, BinaryIO]:
    """A new partial file beside `path`, open for writing.

    It is locked as long as it stays open, which is how `remove_partial_files` knows that it is in
    use; the system unlocks it when its process ends in any way.
    """
    while True:
        partial = partial_path(path)
        file = partial.open("xb")
        if _lock(file) and os.fstat(file.fileno()).st_nlink:
            return partial, file
        file.close()  # taken for left behind between the two calls


def reopen_partial(partial: Path) -> BinaryIO:
    """A partial file of a process that ended, open for reading and writing, and locked.

    Raises:
        OSError: It is gone, or another process has it open.
    """
    file = partial.open("r+b")
    if not _lock(file):
        file.close()
        raise BlockingIOError(errno.EAGAIN, "in use by another process", str(partial))
    return file


def _lock(file: BinaryIO) -> bool:
    """False when another process holds the lock; file systems without locks lock nothing."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is moved to `path`, flushed to disk, when the block ends well."""
    partial, opened = create_partial(path)
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that readers see the old file or the whole new one."""
    with atomic_file(path) as file:
        file.write(data)


def sync_directory(path: Path) -> None:
    """Make renames in `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial_files(directory: Path) -> None:
    """Delete what killed writers left behind; files that a living one has open stay."""
    for partial in directory.glob(f"*{PARTIAL_MARK}*"):
        try:
            file = reopen_partial(partial)
        except BlockingIOError:
            continue
        except OSError:  # gone by now, or not ours to open
            partial.unlink(missing_ok=True)
            continue
        with file:
            partial.unlink(missing_ok=True)
