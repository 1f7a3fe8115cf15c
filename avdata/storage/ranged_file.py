"""A file of a location as a Python file that reads ranges: for parquet, tar and their like."""

import errno
import io
import os

from avdata.storage.location import Location


class RangedFile(io.RawIOBase):
    """Read only; one request a read, nothing is kept."""

    def __init__(self, location: Location, name: str) -> None:
        """Look up the file's size.

        Raises:
            FileNotFoundError: There is no such file.
        """
        super().__init__()
        self.name = location.place(name)
        size = location.size(name)
        if size is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)
        self._location, self._file_name, self._size, self._at = location, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, fewer at the end of the file alone; all that is left for -1."""
        left = max(self._size - self._at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        data = self._location.read_range(self._file_name, self._at, wanted)
        self._at += wanted
        return data

    def readinto(self, buffer: object) -> int:
        """Fill `buffer`, as far as the file goes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
