"""What a shard's tar holds, by its headers alone: ours, or anybody's WebDataset tar."""

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from avdata.errors import ShardSetError
from avdata.shards.writer import ByteRange
from avdata.storage import LocalFolder, Location
from avdata.storage.ranged_file import RangedFile

_KEY_AND_SUFFIX = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)")
"""WebDataset's rule: the key ends at the first dot of the file's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TarSample:
    """Adjacent members of a tar that share a key: one sample, as WebDataset sees it."""

    key: str
    members: dict[str, ByteRange]
    """Suffix -> where its data lies, in tar order."""

    @property
    def num_bytes(self) -> int:
        return sum(member.size for member in self.members.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class TarContents:
    """All that the headers of one tar say."""

    samples: tuple[TarSample, ...]
    """In tar order; a key whose members are not adjacent is here more than once."""
    strays: tuple[str, ...]
    """Members that are no file of a sample: links, devices, names without a suffix."""
    repeated: tuple[str, ...]
    """Members whose key and suffix were there just before."""


def read_contents(path: Path) -> TarContents:
    """Samples of the tar at `path`.

    Raises:
        ShardSetError: There is no such file, it is no tar, or it ends in the middle of a member.
    """
    return read_contents_at(LocalFolder(path.parent), path.name)


def read_contents_at(location: Location, name: str) -> TarContents:
    """Samples of a tar in a folder near or far; from far, one request a member.

    Raises:
        ShardSetError: As for `read_contents`.
    """
    place = location.place(name)
    try:
        with _open(location, name) as file:
            return _contents(file, place)
    except OSError as error:
        raise ShardSetError(
            f"shard {place}: {error.strerror or error}; give the folder of a shard set, or a .tar"
        ) from None


def read_contents_between(location: Location, name: str, start: int, stop: int) -> TarContents:
    """Samples of the part [start, stop) of a tar, whole members; one request.

    Raises:
        ShardSetError: The part does not consist of whole members.
        StorageError: The tar is shorter, or cannot be reached.
    """
    part = _contents(
        io.BytesIO(location.read_range(name, start, stop - start)), location.place(name)
    )
    return replace(part, samples=tuple(_moved(sample, start) for sample in part.samples))


def _moved(sample: TarSample, by: int) -> TarSample:
    members = {
        suffix: ByteRange(offset=where.offset + by, size=where.size)
        for suffix, where in sample.members.items()
    }
    return TarSample(key=sample.key, members=members)


def _contents(file: IO[bytes], place: str) -> TarContents:
    samples: list[TarSample] = []
    strays: list[str] = []
    repeated: list[str] = []
    for member, where in _files(file, place, strays):
        match = _KEY_AND_SUFFIX.fullmatch(member)
        if match is None:
            strays.append(member)
            continue
        key, suffix = match.groups()
        if not samples or samples[-1].key != key:
            samples.append(TarSample(key=key, members={}))
        if suffix in samples[-1].members:
            repeated.append(member)
        samples[-1].members[suffix] = where
    return TarContents(samples=tuple(samples), strays=tuple(strays), repeated=tuple(repeated))


def _files(file: IO[bytes], place: str, strays: list[str]) -> Iterator[tuple[str, ByteRange]]:
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # a shard may hold very many
                if member.isreg():
                    yield member.name, ByteRange(offset=member.offset_data, size=member.size)
                elif not member.isdir():
                    strays.append(member.name)
    except tarfile.TarError as error:
        raise ShardSetError(f"{place} is no whole tar ({error}); it was cut or damaged") from None


def _open(location: Location, name: str) -> IO[bytes]:
    if isinstance(location, LocalFolder):
        return (location.path / name).open("rb")
    return cast(IO[bytes], RangedFile(location, name))
