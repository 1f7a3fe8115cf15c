"""VGGSound lists; every segment is 10 s long.

The published lists have no header: `{id}_{start:06d}.mp4,label` (the start in the name of the
file) and `id,start_seconds,label,split`; copies leave the split out, or put a header over the
columns. Labels with commas stand in quotes.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, mostly, require_file
from avdata.sources.hosted import SEGMENT_S, find_columns, head_columns, read_columns
from avdata.sources.media_names import SPLIT_NAMES
from avdata.sources.rows import (
    ID_REPAIRED,
    check_undamaged,
    find_header,
    parse_seconds,
    parse_video_id,
    read_rows,
    split_cells,
    undo_spreadsheet,
)
from avdata.sources.source import ListedRow

VIDEO_ID_CHARS = 11
FILE_NAME = re.compile(r"(?P<id>.+)_(?P<start>[0-9]{6,7})(\.[A-Za-z0-9]{2,4})?")


def matches(head: ListingHead) -> bool:
    """True for a header with a start, a label and no end, or when most lines are rows."""
    columns = head_columns(head)
    if columns is not None:
        return columns.end is None and columns.label is not None and columns.caption is None
    return mostly(_has_shape, head.lines)


def read(path: Path, keep: Sequence[str] = ()) -> Iterator[ListedRow]:
    """Rows of a VGGSound list, with the cells of the columns `keep`.

    Raises:
        ListingError: `path` is a folder, empty, or cannot be opened.
    """
    require_file(path, "vggsound")
    header = find_header(path)
    if header is not None:
        columns = find_columns(header.text)
        if columns.source_id is not None and columns.start is not None:
            return read_columns(path, header, columns, keep)
    return read_rows(path, parse_line)


def parse_line(line_number: int, text: str) -> ListedClip:
    """One segment of a list without a header.

    Raises:
        ValueError: The line is malformed.
    """
    cells = split_cells(text)
    split: str | None = None
    if len(cells) == 2:
        name = FILE_NAME.fullmatch(cells[0])
        if name is None:
            check_undamaged(cells[0], "file name")
            raise ValueError(
                f"file name is {cells[0][:40]!r}; it must be an id, '_' and the start second in "
                "six digits, such as abc_000030.mp4"
            )
        source_id, start_s = name["id"], float(name["start"])
    elif len(cells) in (3, 4):
        source_id = cells[0]
        start_s = parse_seconds(cells[1], "start_seconds")
        split = (cells[3].strip() or None) if len(cells) == 4 else None
    else:
        raise ValueError(
            f"{len(cells)} columns; a VGGSound row has 2 (file name, label), 3 or 4 (id, "
            "start_seconds, label, split), labels with commas in quotes"
        )
    video_id = undo_spreadsheet(source_id)
    label = (cells[1] if len(cells) == 2 else cells[2]).strip()
    return ListedClip(
        line_number=line_number,
        source_id=parse_video_id(video_id),
        repair="" if video_id == source_id else ID_REPAIRED,
        listed_start_s=start_s,
        listed_end_s=start_s + SEGMENT_S,
        labels=(label,) if label else (),
        split=split,
    )


def _has_shape(text: str) -> bool:
    try:
        clip = parse_line(1, text)
    except ValueError:
        return False
    if len(clip.source_id) != VIDEO_ID_CHARS:  # any "name_000001.mp4,label" is not yet VGGSound
        return False
    num_cells = len(split_cells(text))
    if num_cells == 3:  # "id,30,40" are times, "id,30,dog" is a label
        return bool(clip.labels) and not clip.labels[0].replace(".", "", 1).isdigit()
    return num_cells == 2 or (clip.split or "").lower() in SPLIT_NAMES
