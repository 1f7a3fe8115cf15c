"""Kinetics lists (400, 600, 700): CSV whose header names an id, a start and an end.

The published habits are `label,youtube_id,time_start,time_end,split` with or without `is_cc`, and
the test lists without a label; copies call the columns `video_id`, `start_time` or `end`, put
them in another order, or separate them by tabs. `hosted.py` has all names.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from avdata.errors import ListingError
from avdata.sources.head import ListingHead, require_file
from avdata.sources.hosted import find_columns, head_columns, read_columns
from avdata.sources.rows import read_header
from avdata.sources.source import ListedRow


def matches(head: ListingHead) -> bool:
    """True for a header with an id, a start and an end, and no captions."""
    columns = head_columns(head)
    return columns is not None and columns.end is not None and columns.caption is None


def read(path: Path, keep: Sequence[str] = ()) -> Iterator[ListedRow]:
    """Rows of a Kinetics list, with the cells of the columns `keep`.

    Raises:
        ListingError: A required column is missing, or the file cannot be opened.
    """
    require_file(path, "kinetics")
    header = read_header(path)
    columns = find_columns(header.text)
    required = {
        "youtube_id": columns.source_id,
        "time_start": columns.start,
        "time_end": columns.end,
    }
    missing = [name for name, position in required.items() if position is None]
    if missing:
        raise ListingError(
            f"listing {path} starts with {header.text[:200]!r}; a Kinetics header has each of "
            f"{', '.join(required)}, this one has not {', '.join(missing)}; add the header "
            "or choose another --format"
        )
    return read_columns(path, header, columns, keep)
