"""Kinetics lists: CSV whose header has `youtube_id, time_start, time_end`, in any order.

`label` and `split` are read where they are (the published test lists have no label), other
columns such as `is_cc` are passed over.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, require_file
from avdata.sources.rows import (
    parse_seconds,
    parse_video_id,
    read_header,
    read_rows,
    split_cells,
)
from avdata.sources.source import ListedRow

REQUIRED = ("youtube_id", "time_start", "time_end")


def matches(head: ListingHead) -> bool:
    """True for a header with the three required columns."""
    return bool(head.lines) and set(REQUIRED) <= set(_column_names(head.lines[0]))


def read(path: Path) -> Iterator[ListedRow]:
    """Rows of a Kinetics list.

    Raises:
        ListingError: A required column is missing, or the file cannot be opened.
    """
    require_file(path, "kinetics")
    header = read_header(path)
    names = _column_names(header.text)
    missing = [name for name in REQUIRED if names.count(name) != 1]
    if missing:
        raise ListingError(
            f"listing {path} starts with {header.text[:200]!r}; a Kinetics header has each of "
            f"{', '.join(REQUIRED)} once, this one has not {', '.join(missing)}; add the header "
            "or choose another --format"
        )
    return read_rows(path, partial(_parse_line, tuple(names)), header_line=header.line_number)


def _parse_line(names: tuple[str, ...], line_number: int, text: str) -> ListedClip:
    cells = split_cells(text)
    if len(cells) != len(names):
        raise ValueError(
            f"{len(cells)} columns; the header has {len(names)} ({', '.join(names)}), labels "
            "with commas stand in quotes"
        )
    row = dict(zip(names, cells, strict=True))
    label = row.get("label", "").strip()
    return ListedClip(
        line_number=line_number,
        source_id=parse_video_id(row["youtube_id"].strip()),
        listed_start_s=parse_seconds(row["time_start"], "time_start"),
        listed_end_s=parse_seconds(row["time_end"], "time_end"),
        labels=(label,) if label else (),
        split=row.get("split", "").strip() or None,
    )


def _column_names(header: str) -> list[str]:
    try:
        return [cell.strip().lower() for cell in split_cells(header)]
    except ValueError:
        return []
