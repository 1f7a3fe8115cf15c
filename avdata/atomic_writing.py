"""Files that appear whole or not at all."""

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


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is moved to `path`, flushed to disk, when the block ends well."""
    partial = partial_path(path)
    try:
        with partial.open("xb") as file:
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
    """Delete what killed writers left behind."""
    for path in directory.glob(f"*{PARTIAL_MARK}*"):
        path.unlink(missing_ok=True)
