"""What a listing format is: a test of the content and a reader of the rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from avdata.schema import ListedClip, MalformedLine
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
    instead_of: str = ""
    """A format that fits some of the same listings: where both fit, this one is meant."""


def never(head: ListingHead) -> bool:
    """False: the format is only read when it is named."""
    return False
