"""Files in a folder of this machine, or of a file system that is mounted."""

import os
import shutil
from pathlib import Path

from avdata.atomic_writing import atomic_file, write_atomically
from avdata.storage.location import EndOfFileError


class LocalFolder:
    """A local folder as a location."""

    is_remote = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._prefix = os.path.join(path, "")

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"LocalFolder({str(self.path)!r})"

    @property
    def url(self) -> str:
        """The absolute path."""
        return str(self.path.absolute())

    def place(self, name: str) -> str:
        """Path of a file."""
        return self._prefix + name

    def read(self, name: str) -> bytes:
        """All of a file."""
        with open(self._prefix + name, "rb") as file:
            return file.read()

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Bytes [start, start + size) of a file; see `Location`."""
        # opening costs microseconds beside decoding, and leaves nothing to share between threads
        handle = os.open(self._prefix + name, os.O_RDONLY)
        try:
            data = os.pread(handle, size, start)
            while len(data) < size:  # one call gives at most 2 GiB
                more = os.pread(handle, size - len(data), start + len(data))
                if not more:
                    break
                data += more
        finally:
            os.close(handle)
        if len(data) != size:
            raise EndOfFileError(
                f"{self.place(name)} ends at byte {start + len(data)}, before byte {start + size}"
            )
        return data

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is no such file."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def sizes(self) -> dict[str, int]:
        """Bytes of the folder's files, by name."""
        try:
            with os.scandir(self.path) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def write(self, name: str, data: bytes) -> None:
        """Put a file, flushed to disk."""
        write_atomically(self.path / name, data)

    def upload(self, path: Path, name: str) -> None:
        """Put a copy of a local file, flushed to disk."""
        with path.open("rb") as source, atomic_file(self.path / name) as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def delete(self, name: str) -> None:
        """Take a file away, if it is there."""
        (self.path / name).unlink(missing_ok=True)
