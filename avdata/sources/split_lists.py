"""Folders of official split lists, several numbered splits side by side, read as one listing."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import MalformedLine
from avdata.sources.head import require_file, require_listing
from avdata.sources.source import ListedRow


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitList:
    """One list of a folder."""

    path: Path
    name: re.Match[str]
    """What the pattern of list names found in the file's name."""
    split_number: int


def find_lists(folder: Path, pattern: re.Pattern[str]) -> list[SplitList]:
    """Files of `folder` named by `pattern`, whose group `number` is the split number, by name.

    Raises:
        ListingError: The folder cannot be opened.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ListingError(
            f"folder {folder} cannot be listed: {error.strerror}; check its permissions"
        ) from error
    found = ((name, pattern.fullmatch(name)) for name in names)
    return [
        SplitList(path=folder / name, name=match, split_number=int(match["number"]))
        for name, match in found
        if match is not None and (folder / name).is_file()
    ]


def lists_of_split(
    path: Path, pattern: re.Pattern[str], *, format_name: str, split_number: int | None
) -> list[SplitList]:
    """The lists that make up a listing: the file `path`, or one split of the folder `path`.

    Args:
        split_number: Which split of a folder; None for the one that is there, or the first.

    Raises:
        ListingError: There is no list, not of this split, or its name is not the published one.
    """
    require_listing(path)
    if not path.is_dir():
        require_file(path, format_name)
        match = pattern.fullmatch(path.name)
        if match is None:
            raise ListingError(
                f"listing {path} is not named like a list of {format_name}, whose class and "
                f"split stand in its name; rename it to match {pattern.pattern}"
            )
        return [SplitList(path=path, name=match, split_number=int(match["number"]))]
    lists = find_lists(path, pattern)
    numbers = sorted({found.split_number for found in lists})
    if not numbers:
        raise ListingError(
            f"folder {path} has no list of {format_name}; its files must be named to match "
            f"{pattern.pattern}"
        )
    wanted = numbers[0] if split_number is None else split_number
    if wanted not in numbers:
        raise ListingError(
            f"folder {path} has lists of the splits {', '.join(map(str, numbers))}, not of "
            f"{wanted}; choose another --format"
        )
    return [found for found in lists if found.split_number == wanted]


def read_lists(
    lists: list[SplitList], read: Callable[[SplitList], Iterator[ListedRow]]
) -> Iterator[ListedRow]:
    """Rows of all lists, one after another.

    Of several lists the rows are numbered through, and a malformed line names its list.
    """
    if len(lists) == 1:
        yield from read(lists[0])
        return
    row_number = 0
    for found in lists:
        for row in read(found):
            row_number += 1
            if isinstance(row, MalformedLine):
                where = f"{found.path.name}, line {row.line_number}: "
                yield replace(row, line_number=row_number, message=where + row.message)
            else:
                yield replace(row, line_number=row_number)
