"""What reading and building know of a place for files."""

from pathlib import Path
from typing import Protocol

from avdata.errors import AvdataError


class StorageError(AvdataError):
    """A store that cannot be reached, refuses, or does not hold what it should."""


class EndOfFileError(StorageError):
    """A file that is shorter than what was to be read of it."""


class Location(Protocol):
    """A folder, near or far. Files are named relative to it; threads and processes may share it.

    A missing file is a `FileNotFoundError`, all that a far store does wrong is a `StorageError`.
    No read ever gives fewer bytes than were asked for.
    """

    @property
    def url(self) -> str:
        """What `open_location` takes, on any machine and from any working folder."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether files are written whole, by upload, and not in place."""
        ...

    def __str__(self) -> str:
        """As the user named it."""
        ...

    def place(self, name: str) -> str:
        """The whole name of a file, for messages."""
        ...

    def read(self, name: str) -> bytes:
        """All of a file."""
        ...

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Bytes [start, start + size) of a file.

        Raises:
            EndOfFileError: The file ends before.
        """
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is no such file."""
        ...

    def sizes(self) -> dict[str, int]:
        """Bytes of all files that lie right in the folder, by name; empty without a folder."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put a file: readers see the old one or the whole new one."""
        ...

    def upload(self, path: Path, name: str) -> None:
        """Put a copy of a local file, checked for size and, where the store tells one, checksum."""
        ...

    def delete(self, name: str) -> None:
        """Take a file away, if it is there."""
        ...
