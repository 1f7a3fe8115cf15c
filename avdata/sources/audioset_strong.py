"""AudioSet strong labels: TSV with `segment_id, start_time_seconds, end_time_seconds, label`.

A line is one sound event of a 10 s segment; the id of the segment ends in its start in
milliseconds. One row a segment comes out, at the line of its first event, with the distinct
labels of its events in the order listed. When an event sounds is not part of the row: the
`line_number` of the manifest leads back to the events.

The framed list has a fifth column, `present`: lines with NOT_PRESENT give no label.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, require_file
from avdata.sources.hosted import SEGMENT_S
from avdata.sources.merge import merge_events
from avdata.sources.packaged import audioset_label
from avdata.sources.rows import (
    check_undamaged,
    parse_seconds,
    parse_video_id,
    read_header,
    read_rows,
)
from avdata.sources.source import ListedRow

COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
FRAMED_COLUMNS = (*COLUMNS, "present")
SEGMENT_ID = re.compile(r"(?P<id>.+)_(?P<start_ms>[0-9]+)")
PRESENCE = ("PRESENT", "NOT_PRESENT")


def matches(head: ListingHead) -> bool:
    """True for the header of the strong labels."""
    return bool(head.lines) and _names(head.lines[0]) in (COLUMNS, FRAMED_COLUMNS)


def read(path: Path) -> Iterator[ListedRow]:
    """One row a segment.

    Raises:
        ListingError: The header is another one, or the file cannot be opened.
    """
    require_file(path, "audioset_strong")
    header = read_header(path)
    names = _names(header.text)
    if names not in (COLUMNS, FRAMED_COLUMNS):
        raise ListingError(
            f"listing {path} starts with {header.text[:200]!r}; strong labels start with "
            f"{', '.join(COLUMNS)} (and present), separated by tabs; add the header or choose "
            "another --format"
        )
    parse = partial(_parse_line, len(names))
    return merge_events(read_rows(path, parse, header_line=header.line_number))


def _names(header: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in header.split("\t"))


def _parse_line(num_columns: int, line_number: int, text: str) -> ListedClip:
    cells = [cell.strip() for cell in text.split("\t")]
    if len(cells) != num_columns:
        raise ValueError(f"{len(cells)} columns; the header has {num_columns}, separated by tabs")
    segment = SEGMENT_ID.fullmatch(cells[0])
    if segment is None:
        check_undamaged(cells[0], "segment_id")
        raise ValueError(
            f"segment_id is {cells[0][:40]!r}; it must be an id, '_' and the start in "
            "milliseconds, such as abc_30000"
        )
    onset_s = parse_seconds(cells[1], COLUMNS[1])
    offset_s = parse_seconds(cells[2], COLUMNS[2])
    if not 0 <= onset_s <= offset_s:
        raise ValueError(f"event from {onset_s} s to {offset_s} s; its end must not precede it")
    check_undamaged(cells[3], "label")
    present = cells[4] if num_columns == len(FRAMED_COLUMNS) else PRESENCE[0]
    if present not in PRESENCE:
        raise ValueError(f"present is {present[:40]!r}; it must be {' or '.join(PRESENCE)}")
    start_s = int(segment["start_ms"]) / 1000
    return ListedClip(
        line_number=line_number,
        source_id=parse_video_id(segment["id"]),
        listed_start_s=start_s,
        listed_end_s=start_s + SEGMENT_S,
        labels=(audioset_label(cells[3]),) if present == PRESENCE[0] else (),
    )
