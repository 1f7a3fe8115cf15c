"""One shard on disk: a tar that appears whole or not at all."""

import hashlib
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from avdata.atomic_writing import create_partial, reopen_partial, sync_directory

TAR_BLOCK_BYTES = tarfile.BLOCKSIZE
TAR_HEADER_BYTES = TAR_BLOCK_BYTES
HASH_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteRange:
    """Where a member's data lies in its shard."""

    offset: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialTar:
    """A tar that a writer left unfinished."""

    path: Path
    num_bytes: int
    """So many are whole samples; what lies behind them is dropped."""


class ShardWriter:
    """Writes samples to `path` through a partial file; `commit` makes it appear, leaving drops it.

    The bytes depend on keys and members alone: owner, mode and time are fixed, and they are those
    of `webdataset.TarWriter`. Every sample is handed to the system as a whole, so a process that
    dies leaves all of them in the partial file.
    """

    def __init__(self, path: Path, going_on: PartialTar | None = None) -> None:
        """Start a new partial file, or go on in one that another process left.

        Raises:
            OSError: The file cannot be made, or the one to go on in is gone or still in use.
        """
        self.path = path
        self._sha256 = hashlib.sha256()
        self._num_bytes = 0
        self._finished = False
        if going_on is None:
            self.partial, self._file = create_partial(path)
        else:
            self.partial, self._file = going_on.path, reopen_partial(going_on.path)
            self._take_over(going_on.num_bytes)

    def _take_over(self, num_bytes: int) -> None:
        left = num_bytes
        while left and (data := self._file.read(min(left, HASH_CHUNK_BYTES))):
            self._sha256.update(data)
            left -= len(data)
        if left:
            self._file.close()
            raise OSError(f"{self.partial} is {left} bytes shorter than {num_bytes}")
        self._file.truncate(num_bytes)
        self._num_bytes = num_bytes

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self.partial.unlink(missing_ok=True)

    @property
    def num_bytes(self) -> int:
        """Length so far: all of it whole samples."""
        return self._num_bytes

    def add(self, key: str, members: Mapping[str, bytes]) -> dict[str, ByteRange]:
        """Append one sample; returns where each member's data lies."""
        ranges = {}
        for suffix in sorted(members):  # the order webdataset keeps
            data = members[suffix]
            self._write(_tar_header(f"{key}.{suffix}", len(data)))
            ranges[suffix] = ByteRange(offset=self._num_bytes, size=len(data))
            self._write(data)
            self._write(bytes(-len(data) % TAR_BLOCK_BYTES))
        self._file.flush()
        return ranges

    def finish(self) -> tuple[str, int]:
        """End the tar and flush it to disk; returns sha256 and size in bytes."""
        if not self._finished:
            end = self._num_bytes + 2 * TAR_BLOCK_BYTES
            self._write(bytes(2 * TAR_BLOCK_BYTES + -end % tarfile.RECORDSIZE))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._finished = True
        return self._sha256.hexdigest(), self._num_bytes

    def commit(self) -> tuple[str, int]:
        """Finish and rename into place; returns sha256 and size in bytes."""
        sha256, num_bytes = self.finish()
        self.partial.rename(self.path)
        self._file.close()
        sync_directory(self.path.parent)
        return sha256, num_bytes

    def _write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._file.write(data)
        self._num_bytes += len(data)


def _tar_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o444
    return info.tobuf(tarfile.USTAR_FORMAT)
