"""YT-360 lists: `segments.txt` with `ID 10,29,41` (where 10 s clips start), ids in `train.txt` and
`test.txt`.

A listing is `segments.txt` (splits come from the id lists where those lie beside it), one of the
id lists with `segments.txt` beside it, or the folder of the three files: then the ids of train and
test, and not the videos in neither. One row a clip: several rows share a line of `segments.txt`.
There are no labels. Files are named `{id}-{start}`, as the release asks.

Lists of spatial clips as CSV with a header (`youtube_id,time_start,time_end,split`) are read as
format kinetics, without an end column as vggsound.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources.head import ListingHead, mostly, require_file, require_listing
from avdata.sources.hosted import SEGMENT_S
from avdata.sources.rows import (
    TextLine,
    check_undamaged,
    malformed,
    parse_seconds,
    parse_video_id,
    read_text_lines,
)
from avdata.sources.source import ListedRow

SEGMENTS_NAME = "segments.txt"
SPLIT_BY_LIST = {"train.txt": "train", "test.txt": "test"}
SEGMENTS_LINE = re.compile(r"[A-Za-z0-9_-]{11}\s+[0-9]+(,[0-9]+)*,?")
ID_LINE = re.compile(r"[A-Za-z0-9_-]{11}")


def matches(head: ListingHead) -> bool:
    """True for the folder of the lists, for segments, and for ids beside segments."""
    if head.is_folder:
        return (head.path / SEGMENTS_NAME).is_file() and bool(_id_lists(head.path))
    if mostly(lambda line: SEGMENTS_LINE.fullmatch(line.strip()) is not None, head.lines):
        return True
    return _segments_beside(head.path) is not None and mostly(
        lambda line: ID_LINE.fullmatch(line.strip()) is not None, head.lines
    )


def read(path: Path) -> Iterator[ListedRow]:
    """One row a clip.

    Raises:
        ListingError: A list is missing or cannot be opened.
    """
    require_listing(path)
    if path.is_dir():
        lists = _id_lists(path)
        if not lists:
            raise ListingError(
                f"folder {path} has neither of {', '.join(SPLIT_BY_LIST)}; name a folder with "
                f"them and {SEGMENTS_NAME}, or {SEGMENTS_NAME} itself"
            )
        return _read_ids(lists, _require_segments(path))
    require_file(path, "yt360")
    if path.name in SPLIT_BY_LIST:
        return _read_ids([path], _require_segments(path.parent))
    splits = {
        line.text.strip(): SPLIT_BY_LIST[found.name]
        for found in _id_lists(path.parent)
        for line in read_text_lines(found)
        if isinstance(line, TextLine)
    }
    return _read_segments(path, splits)


def _read_segments(path: Path, splits: dict[str, str]) -> Iterator[ListedRow]:
    for line in read_text_lines(path):
        if isinstance(line, MalformedLine):
            yield line
            continue
        try:
            yield from _clips(line.line_number, line.text, splits)
        except ValueError as error:
            yield malformed(line.line_number, line.text, str(error))


def _read_ids(lists: list[Path], segments_path: Path) -> Iterator[ListedRow]:
    """Rows of the ids; the rows of several lists are numbered through."""
    segments = {
        line.text.split()[0]: line.text
        for line in read_text_lines(segments_path)
        if isinstance(line, TextLine) and line.text.strip()
    }
    row_number = 0
    for found in lists:
        split = SPLIT_BY_LIST[found.name]
        for line in read_text_lines(found):
            for row in _clips_of_id(line, segments, split):
                row_number += 1
                yield replace(row, line_number=row_number) if len(lists) > 1 else row


def _clips_of_id(
    line: TextLine | MalformedLine, segments: dict[str, str], split: str
) -> Iterable[ListedRow]:
    if isinstance(line, MalformedLine):
        return [line]
    try:
        video_id = parse_video_id(line.text.strip())
        if video_id not in segments:
            raise ValueError(f"id {video_id} has no line in {SEGMENTS_NAME}; add its clips there")
        return _clips(line.line_number, segments[video_id], {video_id: split})
    except ValueError as error:
        return [malformed(line.line_number, line.text, str(error))]


def _clips(line_number: int, text: str, splits: dict[str, str]) -> list[ListedClip]:
    """Clips of one line of segments.

    Raises:
        ValueError: The line is malformed; no clip of it is taken.
    """
    cells = text.split()
    check_undamaged(cells[0] if cells else "", "id")
    if len(cells) != 2:
        raise ValueError(f"{len(cells)} fields; a row is an id, a space, and start seconds 10,29")
    video_id = parse_video_id(cells[0])
    starts = [parse_seconds(cell, "start") for cell in cells[1].rstrip(",").split(",")]
    if len(set(starts)) != len(starts):
        raise ValueError("a start is listed twice; every clip of a video has its own")
    return [
        ListedClip(
            line_number=line_number,
            source_id=video_id,
            listed_start_s=start_s,
            listed_end_s=start_s + SEGMENT_S,
            split=splits.get(video_id),
        )
        for start_s in starts
    ]


def _id_lists(folder: Path) -> list[Path]:
    return [folder / name for name in SPLIT_BY_LIST if (folder / name).is_file()]


def _segments_beside(path: Path) -> Path | None:
    beside = path.parent / SEGMENTS_NAME
    return beside if path.name in SPLIT_BY_LIST and beside.is_file() else None


def _require_segments(folder: Path) -> Path:
    path = folder / SEGMENTS_NAME
    if not path.is_file():
        raise ListingError(
            f"there is no {path}; the id lists name videos only, the clips stand in "
            f"{SEGMENTS_NAME}: put it beside them"
        )
    require_file(path, "yt360")
    return path
