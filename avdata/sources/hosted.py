"""Lists of hosted videos whose header names an id column and a start column, in any order.

Names are read without regard to case; spaces count as underscores. Of several columns for one
thing the first named here counts; columns that are not named here are passed over, or kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avdata.schema import ListedClip
from avdata.sources.columns import ListingColumns, kept_cells
from avdata.sources.head import ListingHead
from avdata.sources.rows import (
    ID_REPAIRED,
    Header,
    delimiter_of,
    find_header,
    parse_seconds,
    parse_video_id,
    read_rows,
    split_cells,
    undo_spreadsheet,
)
from avdata.sources.source import ListedRow

ID_NAMES = ("youtube_id", "video_id", "yt_id")
START_NAMES = ("time_start", "start_time", "start_seconds", "start")
END_NAMES = ("time_end", "end_time", "end_seconds", "end")
LABEL_NAMES = ("label", "class", "category")
CAPTION_NAMES = ("caption",)
SPLIT_NAMES = ("split", "subset", "train/test_split")

SEGMENT_S = 10.0
"""Length of a clip in lists that give only where it starts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedColumns:
    """Position of each column that is read; None where the list has no such column."""

    names: tuple[str, ...]
    """All columns as the header has them."""
    source_id: int | None
    start: int | None
    end: int | None
    label: int | None
    caption: int | None
    split: int | None

    @property
    def label_column(self) -> int | None:
        """Of labels, or else of captions."""
        return self.caption if self.label is None else self.label


def find_columns(header: str) -> HostedColumns:
    """Where the known columns of a header line are."""
    try:
        names = split_cells(header, delimiter_of(header))
    except ValueError:
        names = [header]
    plain = ["_".join(name.strip().lower().split()) for name in names]

    def position(wanted: tuple[str, ...]) -> int | None:
        return next((plain.index(name) for name in wanted if name in plain), None)

    return HostedColumns(
        names=tuple(name.strip() for name in names),
        source_id=position(ID_NAMES),
        start=position(START_NAMES),
        end=position(END_NAMES),
        label=position(LABEL_NAMES),
        caption=position(CAPTION_NAMES),
        split=position(SPLIT_NAMES),
    )


def head_columns(head: ListingHead) -> HostedColumns | None:
    """Columns of a listing whose first line names an id and a start; else None."""
    if not head.lines:
        return None
    columns = find_columns(head.lines[0])
    return None if columns.source_id is None or columns.start is None else columns


def listing_columns(path: Path) -> ListingColumns | None:
    """Return the columns of a list whose header names an id and a start; else None."""
    header = find_header(path)
    if header is None:
        return None
    columns = find_columns(header.text)
    if columns.source_id is None or columns.start is None:
        return None
    used = {
        "id": columns.source_id,
        "start": columns.start,
        "end": columns.end,
        "label": columns.label_column,
        "split": columns.split,
    }
    return ListingColumns(
        names=columns.names,
        used={position: name for name, position in used.items() if position is not None},
        may_have=("label", "split"),
        delimiter=delimiter_of(header.text),
    )


def read_columns(
    path: Path, header: Header, columns: HostedColumns, keep: Sequence[str] = ()
) -> Iterator[ListedRow]:
    """Rows below `header`, with the cells of the columns `keep`; `columns` has an id and a start.

    A list without an end column holds clips of `SEGMENT_S`; a caption counts as the label where
    there is no label column.
    """
    delimiter = delimiter_of(header.text)
    kept = {name: columns.names.index(name) for name in keep}
    parse = partial(_parse_line, columns, kept, delimiter)
    return read_rows(path, parse, header_line=header.line_number)


def _parse_line(
    columns: HostedColumns, kept: dict[str, int], delimiter: str, line_number: int, text: str
) -> ListedClip:
    cells = split_cells(text, delimiter)
    if len(cells) != len(columns.names):
        raise ValueError(
            f"{len(cells)} columns; the header has {len(columns.names)} "
            f"({', '.join(columns.names)}), labels with commas stand in quotes"
        )
    assert columns.source_id is not None and columns.start is not None
    start_s = parse_seconds(cells[columns.start], columns.names[columns.start])
    end_s = start_s + SEGMENT_S
    if columns.end is not None:
        end_s = parse_seconds(cells[columns.end], columns.names[columns.end])
    source_id = cells[columns.source_id].strip()
    video_id = undo_spreadsheet(source_id)
    label = "" if columns.label_column is None else cells[columns.label_column].strip()
    return ListedClip(
        line_number=line_number,
        source_id=parse_video_id(video_id),
        repair="" if video_id == source_id else ID_REPAIRED,
        listed_start_s=start_s,
        listed_end_s=end_s,
        labels=(label,) if label else (),
        split=None if columns.split is None else cells[columns.split].strip() or None,
        kept=kept_cells(kept, cells) if kept else {},
    )
