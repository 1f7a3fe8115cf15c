"""Source files of stored clips: their names, sizes and times, and whether they are still the same.

A manifest row keeps name, size and modification time of its source file. A build that is resumed
compares them with the files of now, so that clips of two versions of a file never mix unnoticed.
"""

import os
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from avdata.errors import FailureReason, MediaError
from avdata.schema import ManifestRow
from avdata.sources.resolve import MediaResolver

NAMES_A_CALL = 16
"""A thread looks at so many files: handing over one costs more than looking at a local file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A source file as it was at one time."""

    name: str
    """Path from the folder of the media or of the listing, so that a moved set builds alike;
    absolute for files elsewhere."""
    num_bytes: int
    modified_s: float
    """Seconds since 1970."""


def describe_source(path: Path, resolver: MediaResolver) -> SourceFile:
    """Return name, size and modification time of the file at `path`.

    Raises:
        MediaError: MISSING_FILE, when it has gone since it was found.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise MediaError(
            FailureReason.MISSING_FILE,
            f"{path.name} was there and cannot be looked at any more: {error.strerror}",
        ) from None
    for base in _bases(resolver):
        if path.is_relative_to(base):
            path = path.relative_to(base)
            break
    return SourceFile(
        name=path.as_posix(), num_bytes=found.st_size, modified_s=found.st_mtime_ns / 1e9
    )


def changed_sources(
    rows: Iterable[ManifestRow], resolver: MediaResolver, threads: Executor
) -> list[tuple[SourceFile, SourceFile]]:
    """Return the source files of `rows` that are other files now, as stored and as of now.

    Files that have gone do not count: nothing can be made of them. Nor do rows of earlier schema
    versions, which do not state size and time.
    """
    stored = {
        row.media: SourceFile(
            name=row.media, num_bytes=row.media_bytes, modified_s=row.media_modified_s
        )
        for row in rows
        if row.media_bytes is not None and row.media_modified_s is not None
    }
    bases = [str(base) for base in _bases(resolver)]
    names = list(stored)
    parts = [names[at : at + NAMES_A_CALL] for at in range(0, len(names), NAMES_A_CALL)]
    found = threads.map(lambda part: [_find(name, bases) for name in part], parts)
    pairs = zip(stored.values(), chain.from_iterable(found), strict=True)
    return [(then, now) for then, now in pairs if now is not None and now != then]


def _find(name: str, bases: list[str]) -> SourceFile | None:
    """The file that a build would take now under the name that a row states."""
    for base in bases:
        try:
            found = os.stat(os.path.join(base, name))
        except (OSError, ValueError):
            continue
        return SourceFile(name=name, num_bytes=found.st_size, modified_s=found.st_mtime_ns / 1e9)
    return None


def _bases(resolver: MediaResolver) -> list[Path]:
    return [base for base in (resolver.media_dir, resolver.listing_dir) if base is not None]
