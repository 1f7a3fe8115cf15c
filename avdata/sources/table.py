"""Tables: CSV, TSV or parquet with a `path` column, for media that follow no dataset's list.

Columns, in any order, names without regard to case; others are passed over, or kept:

    path            the file, absolute or relative to the media folder; also `file`, `filename`,
                    `video`
    id              name of the medium; without this column, the path as listed
    start_s, end_s  span in seconds; empty: from the start, to the end of the file
    label           one label; also `category`
    labels          several labels, separated by "|"
    split

Of several columns for one thing the first named above counts, `labels` before `label`. A CSV
whose header has ";" and no "," is separated by ";". Times
have no other names on purpose: a `start_seconds` beside a file that is cut already is the place
in the original upload, not in the file. Rows that share an id (or a path) are clips of one source.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.columns import ListingColumns, kept_cells
from avdata.sources.head import ListingHead, read_start, require_file
from avdata.sources.rows import (
    check_undamaged,
    delimiter_of,
    parse_seconds,
    read_header,
    read_rows,
    split_cells,
)
from avdata.sources.source import ListedRow
from avdata.sources.table_parquet import (
    PARQUET_MAGIC,
    parquet_column_names,
    read_parquet_cells,
)

PATH_NAMES = ("path", "file", "filename", "video")
LABEL_NAMES = ("labels", "label", "category")
LABEL_SEPARATOR = "|"
KNOWN_NAMES = frozenset({*PATH_NAMES, *LABEL_NAMES, "id", "start_s", "end_s", "split"})


@dataclass(frozen=True, kw_only=True, slots=True)
class TableColumns:
    """Position of each column that is read; None where the table has no such column."""

    num_columns: int
    path: int
    source_id: int | None
    start_s: int | None
    end_s: int | None
    label: int | None
    labels_are_lists: bool
    split: int | None
    kept: Mapping[str, int]


def matches(head: ListingHead) -> bool:
    """True for a header, of text or parquet, that names a path column."""
    if head.data.startswith(PARQUET_MAGIC):
        names = parquet_column_names(head.path)
    elif head.lines:
        names = _header_names(head.lines[0])
    else:
        return False
    return find_columns(names) is not None


def read(path: Path, keep: Sequence[str] = ()) -> Iterator[ListedRow]:
    """Rows of a table, with the cells of the columns `keep`.

    Raises:
        ListingError: There is no path column, or the file cannot be opened.
    """
    require_file(path, "table")
    if read_start(path).startswith(PARQUET_MAGIC):
        names = parquet_column_names(path)
        known = [n for n in names if n.strip().lower() in KNOWN_NAMES or n.strip() in keep]
        columns = find_columns(known, keep) or _refuse(path, names)
        return read_parquet_cells(path, known, partial(_clip_from_cells, columns))
    header = read_header(path)
    names = _header_names(header.text)
    columns = find_columns(names, keep) or _refuse(path, names)
    parse = partial(_parse_line, columns, delimiter_of(header.text))
    return read_rows(path, parse, header_line=header.line_number)


def _refuse(path: Path, names: list[str]) -> NoReturn:
    raise ListingError(
        f"table {path} has columns {', '.join(names)[:200]!r}, none of them a path; name the "
        f"column of files {PATH_NAMES[0]!r} ({', '.join(map(repr, PATH_NAMES[1:]))} also "
        "serve) or choose another --format"
    )


def columns(path: Path) -> ListingColumns | None:
    """Return the columns of a table and what they are read as; None without a path column."""
    if read_start(path).startswith(PARQUET_MAGIC):
        names, delimiter = parquet_column_names(path), ""
    else:
        header = read_header(path).text
        names, delimiter = _header_names(header), delimiter_of(header)
    found = find_columns(names)
    if found is None:
        return None
    used = {
        "path": found.path,
        "id": found.source_id,
        "start_s": found.start_s,
        "end_s": found.end_s,
        "labels" if found.labels_are_lists else "label": found.label,
        "split": found.split,
    }
    return ListingColumns(
        names=tuple(name.strip() for name in names),
        used={position: name for name, position in used.items() if position is not None},
        may_have=tuple(name for name, position in used.items() if position is None),
        delimiter=delimiter,
    )


def find_columns(names: list[str], keep: Sequence[str] = ()) -> TableColumns | None:
    """Where the known columns and those to keep are; None when there is no path column."""
    plain = [name.strip().lower() for name in names]

    def position(*wanted: str) -> int | None:
        return next((plain.index(name) for name in wanted if name in plain), None)

    path = position(*PATH_NAMES)
    if path is None:
        return None
    label = position(*LABEL_NAMES)
    return TableColumns(
        num_columns=len(names),
        path=path,
        source_id=position("id"),
        start_s=position("start_s"),
        end_s=position("end_s"),
        label=label,
        labels_are_lists=label is not None and plain[label] == "labels",
        split=position("split"),
        kept={name: [n.strip() for n in names].index(name) for name in keep},
    )


def _header_names(header: str) -> list[str]:
    try:
        return split_cells(header, delimiter_of(header))
    except ValueError:
        return [header]


def _parse_line(columns: TableColumns, delimiter: str, line_number: int, text: str) -> ListedClip:
    cells = split_cells(text, delimiter)
    if len(cells) != columns.num_columns:
        raise ValueError(
            f"{len(cells)} columns; the header has {columns.num_columns}, cells that hold the "
            "separator stand in quotes"
        )
    return _clip_from_cells(columns, line_number, cells)


def _clip_from_cells(columns: TableColumns, line_number: int, cells: list[str]) -> ListedClip:
    path = cells[columns.path]
    check_undamaged(path, "path")
    if "\0" in path:
        raise ValueError(f"path is {path[:40]!r}; it must not hold NUL")
    source_id = path
    if columns.source_id is not None:
        source_id = cells[columns.source_id].strip()
        check_undamaged(source_id, "id")
    return ListedClip(
        line_number=line_number,
        source_id=source_id,
        path=path,
        listed_start_s=_seconds(cells, columns.start_s, "start_s"),
        listed_end_s=_seconds(cells, columns.end_s, "end_s"),
        labels=_labels(cells, columns),
        split=None if columns.split is None else cells[columns.split].strip() or None,
        kept=kept_cells(columns.kept, cells) if columns.kept else {},
    )


def _seconds(cells: list[str], position: int | None, column: str) -> float | None:
    if position is None or not (cell := cells[position].strip()):
        return None
    return parse_seconds(cell, column)


def _labels(cells: list[str], columns: TableColumns) -> tuple[str, ...]:
    if columns.label is None:
        return ()
    cell = cells[columns.label]
    parts = cell.split(LABEL_SEPARATOR) if columns.labels_are_lists else [cell]
    return tuple(label for part in parts if (label := part.strip()))
