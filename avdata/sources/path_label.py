"""Lists of `PATH LABEL`, separated by blanks, as mmaction2, SlowFast and TimeSformer have them.

The path is the file, absolute or relative to the media folder; it may hold blanks itself and ends
at the last media extension that a blank follows. All that is behind it is the label, a number or a
name. Lines with `PATH NUM_FRAMES LABEL` name folders of frames, which are not media; several
numbers behind a media file may be labels or a number of frames, and are refused.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, mostly, require_file
from avdata.sources.media_names import FOLDER_EXTENSIONS
from avdata.sources.rows import check_undamaged, read_rows
from avdata.sources.source import ListedRow

LINE = re.compile(
    rf"(?P<path>\S.*\.(?:{'|'.join(sorted(FOLDER_EXTENSIONS))}))\s+(?P<label>\S.*)", re.IGNORECASE
)
FRAMES_LINE = re.compile(r"(?P<path>\S.*?)\s+(?P<num_frames>[0-9]+)\s+(?P<label>[0-9]+)")
NUMBERS = re.compile(r"[0-9]+(?:\s+[0-9]+)+")
FOLDERS_OF_FRAMES = (
    "lines PATH NUM_FRAMES LABEL name folders of frames, which are not media; list the video files "
    "they were made of, as PATH LABEL"
)


def matches(head: ListingHead) -> bool:
    """Whether most lines are a file with a media extension, blanks and a label."""
    return mostly(lambda line: LINE.fullmatch(line.strip()) is not None, head.lines)


def has_frames(head: ListingHead) -> bool:
    """Whether most lines are a folder of frames, their number and a label."""
    return mostly(_is_frames_line, head.lines)


def read(path: Path) -> Iterator[ListedRow]:
    """Rows of a list.

    Raises:
        ListingError: `path` is a folder, empty, or cannot be opened.
    """
    require_file(path, "path-label")
    return read_rows(path, parse_line)


def parse_line(line_number: int, text: str) -> ListedClip:
    """One clip, which is the whole file.

    Raises:
        ValueError: The line is malformed.
    """
    line = LINE.fullmatch(text.strip())
    if line is None:
        check_undamaged(text, "path")
        if _is_frames_line(text):
            raise ValueError(FOLDERS_OF_FRAMES)
        raise ValueError("a row is the path of a media file, a blank and a label, as in a.mp4 3")
    path, label = line["path"], line["label"]
    check_undamaged(path, "path")
    if NUMBERS.fullmatch(label):
        raise ValueError(
            f"several numbers, {label[:40]!r}, are behind the path: labels, or a number of frames "
            "and a label; write a table with columns path and labels"
        )
    return ListedClip(line_number=line_number, source_id=path, path=path, labels=(label,))


def _is_frames_line(text: str) -> bool:
    line = FRAMES_LINE.fullmatch(text.strip())
    return line is not None and line["path"].rpartition(".")[2].lower() not in FOLDER_EXTENSIONS
