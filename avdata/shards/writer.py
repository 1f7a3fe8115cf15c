"""One shard on disk: a tar that appears whole or not at all."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import webdataset

from avdata.atomic_writing import partial_path, sync_directory

TAR_HEADER_BYTES = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteRange:
    """Where a member's data lies in its shard."""

    offset: int
    size: int


class _HashingFile:
    """A file that hashes what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.num_bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.num_bytes += len(data)
        return self.file.write(data)


class ShardWriter:
    """Writes samples to `path` through a partial file; `commit` makes it appear, leaving drops it.

    The bytes depend on keys and members alone: owner, mode and time are fixed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = partial_path(path)
        self._file = self._partial.open("xb")
        self._hashing = _HashingFile(self._file)
        self._tar = webdataset.TarWriter(
            self._hashing, user="", group="", mtime=0, encoder=False, compress=False
        )

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def add(self, key: str, members: Mapping[str, bytes]) -> dict[str, ByteRange]:
        """Append one sample; returns where each member's data lies."""
        ranges, at = {}, self._tar.tarstream.offset
        for suffix in sorted(members):  # the order TarWriter keeps
            size = len(members[suffix])
            ranges[suffix] = ByteRange(offset=at + TAR_HEADER_BYTES, size=size)
            at += TAR_HEADER_BYTES + -(-size // 512) * 512
        self._tar.write({"__key__": key, **members})
        assert at == self._tar.tarstream.offset, "webdataset changed its tar layout"
        return ranges

    def commit(self) -> tuple[str, int]:
        """Close, flush to disk and rename into place; returns sha256 and size in bytes."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.rename(self.path)
        sync_directory(self.path.parent)
        return self._hashing.sha256.hexdigest(), self._hashing.num_bytes
