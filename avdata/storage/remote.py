"""Files in a store that fsspec reaches: S3 and its kin, and whatever else has a driver."""

import contextlib
import errno
import hashlib
import io
import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import fsspec
from fsspec.config import conf as user_settings

from avdata.storage.location import EndOfFileError, StorageError
from avdata.storage.retries import Retries, ShortRead

Result = TypeVar("Result")

READ_BYTES = 64 << 20
"""Larger reads are made of several requests, so that a fault costs one of them."""
PART_BYTES = 32 << 20
"""Of an upload in parts, for S3; files of less than two parts go in one request."""
_S3_SETTINGS = {
    "retries": {"total_max_attempts": 2, "mode": "standard"},  # of one request; ours come on top
    "connect_timeout": 10,
    "read_timeout": 30,
    "max_pool_connections": 64,
}
_S3 = ("s3", "s3a")


class RemoteFolder:
    """A folder of a store, by URL. Every request is tried again after a fault that may pass."""

    is_remote = True

    def __init__(self, url: str, *, retries: Retries | None = None) -> None:
        self.url = url.rstrip("/")
        self._retries = retries or Retries()
        self._filesystem, self._path = _connect(self.url)

    def __reduce__(self) -> tuple[Callable[..., "RemoteFolder"], tuple[str, Retries]]:
        return _reopen, (self.url, self._retries)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemoteFolder({self.url!r})"

    def place(self, name: str) -> str:
        """URL of a file."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """All of a file."""
        size = self.size(name)
        if size is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.place(name))
        return self.read_range(name, 0, size)

    def read_range(self, name: str, start: int, size: int) -> bytes:
        """Bytes [start, start + size) of a file; see `Location`."""
        pieces = [
            self._read_piece(name, at, min(READ_BYTES, start + size - at))
            for at in range(start, start + size, READ_BYTES)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_piece(self, name: str, start: int, size: int) -> bytes:
        path = self._join(name)

        def request() -> bytes:
            data: bytes = self._filesystem.cat_file(path, start=start, end=start + size)
            if len(data) != size:
                self._check_reach(name, start + size)
                raise ShortRead(f"{len(data)} of {size} bytes came")
            return data

        try:
            return self._run(request, "reading", name)
        except StorageError as error:
            if getattr(error.__cause__, "errno", None) == errno.EINVAL:  # of a start behind the end
                self._check_reach(name, start + size)
            raise

    def _check_reach(self, name: str, stop: int) -> None:
        whole = self.size(name)
        if whole is not None and whole < stop:
            raise EndOfFileError(f"{self.place(name)} ends at byte {whole}, before byte {stop}")

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is no such file."""
        path = self._join(name)
        try:
            facts = self._run(lambda: self._info(path), "looking for", name)
        except FileNotFoundError:
            return None
        return int(facts["size"]) if facts["type"] == "file" else None

    def sizes(self) -> dict[str, int]:
        """Bytes of the folder's files, by name."""

        def request() -> list[dict[str, Any]]:
            self._filesystem.invalidate_cache(self._path)
            found: list[dict[str, Any]] = self._filesystem.ls(self._path, detail=True)
            return found

        try:
            entries = self._run(request, "listing")
        except FileNotFoundError:
            return {}
        return {
            posixpath.basename(entry["name"]): int(entry["size"])
            for entry in entries
            if entry["type"] == "file" and not entry["name"].endswith("/")
        }

    def write(self, name: str, data: bytes) -> None:
        """Put a file, in one request where the store has such a one."""
        path = self._join(name)

        def request() -> None:
            self._filesystem.pipe_file(path, data, **self._parts)
            self._check(name, io.BytesIO(data))

        self._run(request, "writing", name)

    def upload(self, path: Path, name: str) -> None:
        """Put a copy of a local file; see `Location`."""
        target = self._join(name)

        def request() -> None:
            self._filesystem.put_file(str(path), target, **self._parts)
            with path.open("rb") as file:
                self._check(name, file)

        self._run(request, "uploading", name)

    def delete(self, name: str) -> None:
        """Take a file away, if it is there."""
        path = self._join(name)
        with contextlib.suppress(FileNotFoundError):
            self._run(lambda: self._filesystem.rm_file(path), "deleting", name)

    def _check(self, name: str, sent: BinaryIO) -> None:
        """Compare what the store has with what was sent."""
        facts = self._info(self._join(name))
        size = sent.seek(0, io.SEEK_END)
        if facts["size"] != size:
            raise ShortRead(f"the store has {facts['size']} of {size} bytes")
        etag = str(facts.get("ETag") or "").strip('"')
        if not (self._is_s3 and etag) or etag == s3_etag(sent, size):
            return
        # a bucket with a key of its own (SSE-KMS) has other tags: look at the bytes themselves
        sent.seek(0)
        for start in range(0, size, READ_BYTES):
            length = min(READ_BYTES, size - start)
            if self.read_range(name, start, length) != sent.read(length):
                raise ShortRead("the store has other bytes than were sent")

    @property
    def _is_s3(self) -> bool:
        return self.url.partition("://")[0] in _S3

    @property
    def _parts(self) -> dict[str, int]:
        return {"chunksize": PART_BYTES, "max_concurrency": 4} if self._is_s3 else {}

    def _info(self, path: str) -> dict[str, Any]:
        self._filesystem.invalidate_cache(path)
        facts: dict[str, Any] = self._filesystem.info(path)
        return facts

    def _join(self, name: str) -> str:
        path = f"{self._path}/{name}"
        return posixpath.normpath(path) if name.startswith("..") else path

    def _run(self, request: Callable[[], Result], verb: str, name: str = "") -> Result:
        place = self.place(name) if name else self.url
        try:
            return self._retries.run(request, what=f"{verb} {place}")
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place) from None


def _reopen(url: str, retries: Retries) -> RemoteFolder:
    return RemoteFolder(url, retries=retries)


def _connect(url: str) -> tuple[Any, str]:
    """The driver of a URL, and the folder's name there."""
    options: dict[str, object] = {"skip_instance_cache": True}
    protocol = url.partition("://")[0]
    if protocol in _S3:
        theirs = user_settings.get("s3", {}).get("config_kwargs", {})
        options |= {"use_listings_cache": False, "config_kwargs": {**_S3_SETTINGS, **theirs}}
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        extra = " (`pip install 'avtoolkit[s3]'`)" if protocol in _S3 else ""
        raise StorageError(f"{url}: {error}; install that package{extra}") from None
    except ValueError as error:
        raise StorageError(
            f"{url}: {error}; give a local folder, s3://BUCKET/PREFIX or another URL that fsspec "
            "knows"
        ) from None
    if protocol in _S3:
        filesystem.retries = 1  # its own loop would multiply with ours
    return filesystem, path.rstrip("/")


def s3_etag(file: BinaryIO, size: int) -> str:
    """The tag that S3 gives a file that was put in one request, or in parts of `PART_BYTES`."""
    file.seek(0)
    if size < 2 * PART_BYTES:
        return _md5(file.read()).hexdigest()
    parts = [_md5(file.read(PART_BYTES)).digest() for _ in range(-(-size // PART_BYTES))]
    return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"


def _md5(data: bytes) -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)
