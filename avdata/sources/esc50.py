"""ESC-50: `esc50.csv` with `filename, fold, category`; the five folds are splits "fold1" ...

Files lie in the folder `audio` of the set: name it with `--media`. Others are passed over, or kept:
`target` follows from the category, and the ten classes marked `esc10` are the packaged subset
`--labels esc10`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.columns import ListingColumns, kept_cells
from avdata.sources.head import ListingHead, require_file
from avdata.sources.rows import (
    check_undamaged,
    delimiter_of,
    read_header,
    read_rows,
    split_cells,
)
from avdata.sources.source import ListedRow

REQUIRED = ("filename", "fold", "target", "category")
FOLDS = ("1", "2", "3", "4", "5")


def matches(head: ListingHead) -> bool:
    """True for a header with the four columns of ESC-50."""
    return bool(head.lines) and set(REQUIRED) <= set(_names(head.lines[0]))


def read(path: Path, keep: Sequence[str] = ()) -> Iterator[ListedRow]:
    """Rows of ESC-50, with the cells of the columns `keep`.

    Raises:
        ListingError: A required column is missing, or the file cannot be opened.
    """
    require_file(path, "esc50")
    header = read_header(path)
    names = _names(header.text)
    missing = [name for name in REQUIRED if names.count(name) != 1]
    if missing:
        raise ListingError(
            f"listing {path} starts with {header.text[:200]!r}; an ESC-50 header has each of "
            f"{', '.join(REQUIRED)} once, this one has not {', '.join(missing)}; add the header "
            "or choose another --format"
        )
    kept = {name: _cells(header.text).index(name) for name in keep}
    parse = partial(_parse_line, tuple(names), kept, delimiter_of(header.text))
    return read_rows(path, parse, header_line=header.line_number)


def columns(path: Path) -> ListingColumns | None:
    """Return the columns of ESC-50 and what they are read as; None when one is missing."""
    header = read_header(path)
    names = _names(header.text)
    if not set(REQUIRED) <= set(names):
        return None
    return ListingColumns(
        names=tuple(_cells(header.text)),
        used={names.index(name): name for name in REQUIRED if name != "target"},
        delimiter=delimiter_of(header.text),
    )


def _parse_line(
    names: tuple[str, ...], kept: dict[str, int], delimiter: str, line_number: int, text: str
) -> ListedClip:
    cells = split_cells(text, delimiter)
    if len(cells) != len(names):
        raise ValueError(f"{len(cells)} columns; the header has {len(names)} ({', '.join(names)})")
    row = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    check_undamaged(row["filename"], "filename")
    check_undamaged(row["category"], "category")
    if row["fold"] not in FOLDS:
        raise ValueError(f"fold is {row['fold'][:40]!r}; it must be one of {', '.join(FOLDS)}")
    return ListedClip(
        line_number=line_number,
        source_id=row["filename"],
        path=row["filename"],
        labels=(row["category"],),
        split=f"fold{row['fold']}",
        kept=kept_cells(kept, cells) if kept else {},
    )


def _names(header: str) -> list[str]:
    return [name.lower() for name in _cells(header)]


def _cells(header: str) -> list[str]:
    try:
        return [name.strip() for name in split_cells(header, delimiter_of(header))]
    except ValueError:
        return []
