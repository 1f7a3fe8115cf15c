"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PARTIAL_MARK = ".partial-"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is moved to `path`, flushed to disk, when the block ends well."""
    partial = path.with_name(f"{path.name}{PARTIAL_MARK}{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial_files(directory: Path) -> None:
    """Delete what killed writers left behind."""
    for path in directory.glob(f"*{PARTIAL_MARK}*"):
        path.unlink(missing_ok=True)
