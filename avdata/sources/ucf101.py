"""UCF-101 split lists: `trainlist01.txt` with `Class/v_Class_g01_c01.avi 1`, `testlist01.txt`
without the number.

The label is the class folder, the split is train or test by the list's name. A listing is one
list, or a folder of lists: then all lists of one split number, by default the first that is there;
`--format ucf101-2` and `ucf101-3` choose another. Where `classInd.txt` lies beside a list, class
numbers are checked against it.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, mostly
from avdata.sources.rows import decode_line, read_rows
from avdata.sources.source import ListedRow
from avdata.sources.split_lists import SplitList, find_lists, lists_of_split, read_lists

LIST_NAME = re.compile(r"(?P<split>train|test)list(?P<number>[0-9]{1,2})\.txt")
CLASS_INDEX_NAME = "classInd.txt"
LINE = re.compile(
    r"(?P<path>(?P<label>[A-Za-z]+)/v_[A-Za-z]+_g[0-9]+_c[0-9]+\.[A-Za-z0-9]+)"
    r"(?: (?P<class_number>[0-9]+))?"
)


def matches(head: ListingHead) -> bool:
    """True for a folder with a list in it, or when most lines are rows of one."""
    if head.is_folder:
        return bool(find_lists(head.path, LIST_NAME))
    return mostly(lambda line: LINE.fullmatch(line.strip()) is not None, head.lines)


def read(path: Path, split_number: int | None = None) -> Iterator[ListedRow]:
    """Rows of one list, or of all lists of one split number.

    Raises:
        ListingError: There is no list of that split, or a file cannot be opened.
    """
    lists = lists_of_split(path, LIST_NAME, format_name="ucf101", split_number=split_number)
    return read_lists(lists, _read_list)


def _read_list(found: SplitList) -> Iterator[ListedRow]:
    numbers = _class_numbers(found.path.parent / CLASS_INDEX_NAME)
    return read_rows(found.path, partial(_parse_line, found.name["split"], numbers))


def _parse_line(split: str, numbers: dict[str, int], line_number: int, text: str) -> ListedClip:
    line = LINE.fullmatch(text.strip())
    if line is None:
        raise ValueError(
            "a UCF-101 row is Class/v_Class_g01_c01.avi, in train lists with the class number"
        )
    label, class_number = line["label"], line["class_number"]
    expected = numbers.get(label.lower())
    if class_number is not None and expected is not None and int(class_number) != expected:
        raise ValueError(
            f"class number is {class_number}; {CLASS_INDEX_NAME} gives {label} the number "
            f"{expected}"
        )
    return ListedClip(
        line_number=line_number,
        source_id=line["path"],
        path=line["path"],
        labels=(label,),
        split=split,
    )


def _class_numbers(path: Path) -> dict[str, int]:
    """Number by class name in lower case; what cannot be read is not checked against."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return {}
    numbers: dict[str, int] = {}
    for line in lines:
        try:
            number, name = decode_line(line).split()
            numbers[name.lower()] = int(number)
        except ValueError:
            continue
    return numbers
