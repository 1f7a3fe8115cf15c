"""What a shard's tar holds, by its headers alone: ours, or anybody's WebDataset tar."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avdata.errors import ShardSetError
from avdata.shards.writer import ByteRange

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
    samples: list[TarSample] = []
    strays: list[str] = []
    repeated: list[str] = []
    for name, where in _files(path, strays):
        match = _KEY_AND_SUFFIX.fullmatch(name)
        if match is None:
            strays.append(name)
            continue
        key, suffix = match.groups()
        if not samples or samples[-1].key != key:
            samples.append(TarSample(key=key, members={}))
        if suffix in samples[-1].members:
            repeated.append(name)
        samples[-1].members[suffix] = where
    return TarContents(samples=tuple(samples), strays=tuple(strays), repeated=tuple(repeated))


def _files(path: Path, strays: list[str]) -> Iterator[tuple[str, ByteRange]]:
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # a shard may hold very many
                if member.isreg():
                    yield member.name, ByteRange(offset=member.offset_data, size=member.size)
                elif not member.isdir():
                    strays.append(member.name)
    except tarfile.TarError as error:
        raise ShardSetError(f"{path} is no whole tar ({error}); it was cut or damaged") from None
    except OSError as error:
        raise ShardSetError(
            f"shard {path}: {error.strerror or error}; give the folder of a shard set, or a .tar"
        ) from None
