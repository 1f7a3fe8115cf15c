"""Folders of media: `CLASS/clip.mp4`, `SPLIT/CLASS/clip.mp4`, or files side by side.

The class is the first folder below the listing (below the split), however deep the file lies; a
first folder named train, val, valid, validation or test is a split. Rows are sorted by name, folder
by folder. Names that start with a dot and files without a media extension are passed over; a
broken link is a row, which then has no file.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, require_listing
from avdata.sources.media_names import FOLDER_EXTENSIONS, SPLIT_NAMES
from avdata.sources.rows import malformed
from avdata.sources.source import ListedRow


def matches(head: ListingHead) -> bool:
    """True for a folder with at least one media file in it or below.

    Raises:
        ListingError: A folder cannot be opened.
    """
    return head.is_folder and any(True for _ in _walk(head.path))


def read(path: Path) -> Iterator[ListedRow]:
    """One row a media file; `path` of a row is relative to the folder, with forward slashes.

    Raises:
        ListingError: `path` is no folder, has no media, or a folder in it cannot be opened.
    """
    require_listing(path)
    if not path.is_dir():
        raise ListingError(
            f"listing {path} is a file and format folder is a folder; name the folder, or choose "
            "another --format"
        )
    if not any(True for _ in _walk(path)):
        raise no_media(path)
    return (_row(number, name) for number, name in enumerate(_walk(path), start=1))


def no_media(path: Path) -> ListingError:
    """The fault of a folder without media."""
    names = sorted(os.listdir(path))[:5]
    seen = f"holds {names}" if names else "is empty"
    return ListingError(
        f"folder {path} {seen}: no media files in it or below; a listing folder has files such "
        "as CLASS/clip.mp4 (mp4, mkv, webm, avi, wav, flac, ...)"
    )


def _row(row_number: int, name: str) -> ListedRow:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "backslashreplace").decode("utf-8")
        return malformed(row_number, shown, f"file name {shown!r} is not UTF-8; rename the file")
    folders = PurePosixPath(name).parts[:-1]
    split = folders[0] if folders and folders[0].lower() in SPLIT_NAMES else None
    classes = folders if split is None else folders[1:]
    return ListedClip(
        line_number=row_number, source_id=name, path=name, labels=classes[:1], split=split
    )


def _walk(folder: Path) -> Iterator[str]:
    status = folder.stat()
    return _walk_below(str(folder), "", frozenset({(status.st_dev, status.st_ino)}))


def _walk_below(folder: str, prefix: str, ancestors: frozenset[tuple[int, int]]) -> Iterator[str]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise ListingError(
            f"folder {folder} cannot be listed: {error.strerror}; check its permissions"
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            status = entry.stat()
            identity = (status.st_dev, status.st_ino)
            if identity not in ancestors:  # a link to a folder above would never end
                below = f"{prefix}{entry.name}/"
                yield from _walk_below(entry.path, below, ancestors | {identity})
        elif entry.name.rpartition(".")[2].lower() in FOLDER_EXTENSIONS and "." in entry.name:
            yield prefix + entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
