"""HMDB-51 split lists: `CLASS_test_split1.txt` with `video.avi 1`; 1 is train, 2 is test.

A video with 0 belongs to neither part of its split: its row has split "unused", which
`--split train --split test` leaves out. The label is the class of the list's name, and the file is
`CLASS/video.avi`. A listing is one list, or a folder of lists: then all classes of one split
number, by default the first that is there; `--format hmdb51-2` and `hmdb51-3` choose another.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, mostly
from avdata.sources.rows import read_rows
from avdata.sources.source import ListedRow
from avdata.sources.split_lists import SplitList, find_lists, lists_of_split, read_lists

LIST_NAME = re.compile(r"(?P<label>[a-z_]+)_test_split(?P<number>[0-9]+)\.txt")
LINE = re.compile(r"(?P<name>[^/]+\.[A-Za-z0-9]+)\s+(?P<part>[0-9])")
SPLITS = {"0": "unused", "1": "train", "2": "test"}


def matches(head: ListingHead) -> bool:
    """True for a folder with a list in it, or when most lines are rows of one."""
    if head.is_folder:
        return bool(find_lists(head.path, LIST_NAME))
    return LIST_NAME.fullmatch(head.path.name) is not None and mostly(
        lambda line: LINE.fullmatch(line.strip()) is not None, head.lines
    )


def read(path: Path, split_number: int | None = None) -> Iterator[ListedRow]:
    """Rows of one class, or of all classes, of one split number.

    Raises:
        ListingError: There is no list of that split, or a file cannot be opened.
    """
    lists = lists_of_split(path, LIST_NAME, format_name="hmdb51", split_number=split_number)
    return read_lists(lists, _read_list)


def _read_list(found: SplitList) -> Iterator[ListedRow]:
    return read_rows(found.path, partial(_parse_line, found.name["label"]))


def _parse_line(label: str, line_number: int, text: str) -> ListedClip:
    line = LINE.fullmatch(text.strip())
    if line is None:
        raise ValueError("an HMDB-51 row is video.avi and 0, 1 or 2")
    if line["part"] not in SPLITS:
        raise ValueError(
            f"part of the split is {line['part']}; it must be 0 (unused), 1 (train) or 2 (test)"
        )
    path = f"{label}/{line['name']}"
    return ListedClip(
        line_number=line_number,
        source_id=path,
        path=path,
        labels=(label,),
        split=SPLITS[line["part"]],
    )
