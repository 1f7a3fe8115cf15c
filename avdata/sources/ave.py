"""AVE lists, fields separated by "&": `Category&VideoID&Quality&StartTime&EndTime`.

The clips of the set are 10 s files named by their id, and the times are those of the event within
the file. A row is the whole clip, 0 to 10 s, with its category; a video that is listed under two
categories is one row with both, at the line of the first. When the event happens is not part of
the row: the `line_number` of the manifest leads back to it. The split follows from the file's name
(`trainSet.txt`, `valSet.txt`, `testSet.txt`).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, mostly, require_file
from avdata.sources.hosted import SEGMENT_S
from avdata.sources.merge import merge_events
from avdata.sources.rows import check_undamaged, parse_seconds, parse_video_id, read_rows
from avdata.sources.source import ListedRow

COLUMNS = ("Category", "VideoID", "Quality", "StartTime", "EndTime")
SPLIT_BY_NAME = {"trainset": "train", "valset": "val", "testset": "test"}


def matches(head: ListingHead) -> bool:
    """True when most lines have five fields separated by "&", two of them times."""
    return mostly(_has_shape, head.lines)


def read(path: Path) -> Iterator[ListedRow]:
    """One row a video.

    Raises:
        ListingError: `path` is a folder, empty, or cannot be opened.
    """
    require_file(path, "ave")
    split = SPLIT_BY_NAME.get(path.stem.lower())
    return merge_events(read_rows(path, partial(_parse_line, split)))


def _parse_line(split: str | None, line_number: int, text: str) -> ListedClip | None:
    cells = [cell.strip() for cell in text.split("&")]
    if _is_header(cells):
        return None
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} fields; an AVE row has {len(COLUMNS)}, {'&'.join(COLUMNS)}")
    category, video_id, _, start, end = cells
    check_undamaged(category, "category")
    onset_s, offset_s = parse_seconds(start, "StartTime"), parse_seconds(end, "EndTime")
    if not 0 <= onset_s <= offset_s <= SEGMENT_S:
        raise ValueError(
            f"event from {onset_s} s to {offset_s} s; it must lie in the {SEGMENT_S:.0f} s of the "
            "clip"
        )
    return ListedClip(
        line_number=line_number,
        source_id=parse_video_id(video_id),
        listed_start_s=0.0,
        listed_end_s=SEGMENT_S,
        labels=(category,),
        split=split,
    )


def _is_header(cells: list[str]) -> bool:
    return [cell.lower() for cell in cells] == [name.lower() for name in COLUMNS]


def _has_shape(text: str) -> bool:
    try:
        _parse_line(None, 1, text)
    except ValueError:
        return False
    return True
