"""What a listing format is: a test of the content and a reader of the rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avdata.schema import ListedClip, MalformedLine
from avdata.sources.columns import ListingColumns
from avdata.sources.head import ListingHead

ListedRow = ListedClip | MalformedLine
"""One row of a listing, readable or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One listing format."""

    looks_like: str
    """What a user sees on opening such a listing; stands in error messages."""
    matches: Callable[[ListingHead], bool]
    """Whether the content, never the name, is of this format."""
    read: Callable[[Path], Iterator[ListedRow]]
    """Rows in listing order, made as they are asked for. What does not fit the format is a
    `MalformedLine`; `ListingError` comes from the call itself, when no row could be read."""
    instead_of: tuple[str, ...] = ()
    """Formats that fit some of the same listings: where both fit, this one is meant."""
    columns: Callable[[Path], ListingColumns | None] = lambda path: None
    """The columns of a listing that has a header; it is called for a listing that can be read."""
    read_keeping: Callable[[Path, Sequence[str]], Iterator[ListedRow]] | None = None
    """`read`, with the cells of some columns kept; None where the format has no header."""


def never(head: ListingHead) -> bool:
    """False: the format is only read when it is named."""
    return False
