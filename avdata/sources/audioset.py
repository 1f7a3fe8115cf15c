"""AudioSet segment lists: comment lines, then `YTID, start_seconds, end_seconds, "mid,mid"`.

Spreadsheets damage such lists. What the row still says is read: an id behind "=" or an apostrophe,
labels whose quotes are lost or misplaced, empty columns behind them, semicolons between the cells.
An id that was replaced by an error or a number is lost, and its row malformed.

Labels are listed as machine ids (`/m/09x0r`) and become display names ("Speech") in the order
listed; an id that has no name stays as it is. There is no split and no path.
"""

from collections.abc import Iterator
from pathlib import Path

from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, mostly, require_file
from avdata.sources.packaged import audioset_names
from avdata.sources.rows import (
    ID_REPAIRED,
    SPREADSHEET_ERRORS,
    parse_seconds,
    parse_video_id,
    read_rows,
    split_cells,
    undo_spreadsheet,
)
from avdata.sources.source import ListedRow

CELLS_REPAIRED = "quotes and separators that a spreadsheet changed were put back"
COLUMNS = "YTID, start_seconds, end_seconds, positive_labels"


def matches(head: ListingHead) -> bool:
    """True for the comment that names the columns, or for rows with two times and mids."""
    if any(line.startswith("#") and "YTID" in line for line in head.lines[:10]):
        return True
    lines = tuple(line for line in head.lines if not _is_comment(line) and not _is_header(line))
    return mostly(_has_shape, lines)


def read(path: Path) -> Iterator[ListedRow]:
    """Rows of an AudioSet list.

    Raises:
        ListingError: `path` is a folder, empty, or cannot be opened.
    """
    require_file(path, "audioset")
    return read_rows(path, parse_line)


def parse_line(line_number: int, text: str) -> ListedClip | None:
    """One segment; None for a comment.

    Raises:
        ValueError: The line is malformed.
    """
    if _is_comment(text) or _is_header(text):
        return None
    repairs: list[str] = []
    try:
        cells = split_cells(text)
        intact = len(cells) == 4 and ";" not in "".join(cells[:3])
        fault = None if intact else _wrong_columns(cells)
    except ValueError as error:
        cells, fault = [], error
    if fault is not None:
        cells = _repaired_cells(text) or []
        if not cells:
            raise fault
        repairs.append(CELLS_REPAIRED)
    source_id, start, end, labels = cells
    video_id = undo_spreadsheet(source_id)
    if video_id != source_id:
        repairs.append(ID_REPAIRED)
    names = audioset_names()
    mids = [mid for part in labels.split(",") if (mid := part.strip())]
    return ListedClip(
        line_number=line_number,
        source_id=parse_video_id(video_id),
        repair=" and ".join(repairs),
        listed_start_s=parse_seconds(start, "start_seconds"),
        listed_end_s=parse_seconds(end, "end_seconds"),
        labels=tuple([names.get(mid, mid) for mid in mids]),
    )


def _wrong_columns(cells: list[str]) -> ValueError:
    return ValueError(
        f"{len(cells)} columns; an AudioSet row has 4 ({COLUMNS}), the labels in quotes"
    )


def _repaired_cells(text: str) -> list[str] | None:
    """The four cells of a row whose quotes or separators a spreadsheet changed; None where what is
    behind the times is anything else than known machine ids, as where the row is cut."""
    delimiter = ";" if text.count(";") >= 3 else ","
    cells = [cell.strip(' "') for cell in text.split(delimiter)]
    while cells and not cells[-1]:
        cells.pop()
    mids = [mid.strip(' "') for cell in cells[3:] for mid in cell.split(",")]
    if not mids or not audioset_names().keys() >= set(mids):
        return None
    times = cells[1:3] if delimiter == "," else [cell.replace(",", ".") for cell in cells[1:3]]
    return [cells[0], *times, ",".join(mids)]


def _is_comment(text: str) -> bool:
    # A damaged row starts with "#NAME?" in place of its id.
    return text.startswith("#") and not text.startswith(SPREADSHEET_ERRORS)


def _is_header(text: str) -> bool:
    return text.startswith("YTID") and "start_seconds" in text


def _has_shape(text: str) -> bool:
    try:
        cells = split_cells(text) if text.count('"') % 2 == 0 else []
        if len(cells) != 4 or not cells[3].startswith("/"):
            cells = _repaired_cells(text) or []
        if not cells:
            return False
        parse_seconds(cells[1], "start")
        parse_seconds(cells[2], "end")
    except ValueError:
        return False
    return True
