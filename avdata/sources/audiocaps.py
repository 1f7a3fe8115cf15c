"""AudioCaps lists: CSV with `audiocap_id,youtube_id,start_time,caption`; every clip is 10 s long.

The caption is the label of its clip. Lists with several captions a clip (validation and test have
five) give one row a clip with all its captions, in the order listed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from avdata.errors import ListingError
from avdata.sources.head import ListingHead, require_file
from avdata.sources.hosted import find_columns, head_columns, read_columns
from avdata.sources.merge import merge_events
from avdata.sources.rows import read_header
from avdata.sources.source import ListedRow


def matches(head: ListingHead) -> bool:
    """True for a header with an id, a start and captions."""
    columns = head_columns(head)
    return columns is not None and columns.caption is not None


def read(path: Path, keep: Sequence[str] = ()) -> Iterator[ListedRow]:
    """One row a clip of an AudioCaps list, with the cells to `keep` of its first line.

    Raises:
        ListingError: A required column is missing, or the file cannot be opened.
    """
    require_file(path, "audiocaps")
    header = read_header(path)
    columns = find_columns(header.text)
    if columns.source_id is None or columns.start is None or columns.caption is None:
        raise ListingError(
            f"listing {path} starts with {header.text[:200]!r}; an AudioCaps header has "
            "youtube_id, start_time and caption; add the header or choose another --format"
        )
    return merge_events(read_columns(path, header, columns, keep))
