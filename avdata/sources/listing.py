"""Which format a listing has, told from its content, and its rows."""

from collections.abc import Iterator
from pathlib import Path

# The package, for its table: that imports the formats and then this module.
from avdata import sources
from avdata.errors import ListingError
from avdata.sources.folder import no_media
from avdata.sources.head import BINARY_KINDS, ListingHead, read_head
from avdata.sources.source import ListedRow
from avdata.sources.table_parquet import PARQUET_MAGIC, parquet_column_names

SHOWN_LINES = 2
SHOWN_CHARS = 100


def detect(path: Path) -> str:
    """Name of the format, one of `SOURCES`.

    Raises:
        ListingError: `path` is missing or empty, or its content fits no format, or two.
    """
    head = read_head(path)
    fitting = [name for name, source in sources.SOURCES.items() if source.matches(head)]
    not_meant = {sources.SOURCES[name].instead_of for name in fitting}
    fitting = [name for name in fitting if name not in not_meant]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ListingError(
            f"listing {path} fits several formats, {' and '.join(fitting)}: {_seen(head)}; choose "
            "one with --format NAME"
        )
    if head.is_folder:
        raise no_media(path)
    formats = "; ".join(f"{name}: {s.looks_like}" for name, s in sources.SOURCES.items())
    raise ListingError(
        f"listing {path} fits no known format: {_seen(head)}. Formats are {formats}. Choose one "
        "with --format NAME, or write the listing as a table with a `path` column"
    )


def read_listing(path: Path, format: str = "auto") -> Iterator[ListedRow]:
    """The rows of a listing, in its order, made one at a time.

    Args:
        format: A name in `SOURCES`, or "auto" for what `detect` finds. A format that does not fit
            gives malformed lines.

    Raises:
        ListingError: No row can be read: the listing is missing or empty, its format is unknown,
            or a header that the format needs is not there.
    """
    if format != "auto" and format not in sources.SOURCES:
        raise ListingError(
            f"listing format {format!r} is unknown; --format is auto or one of "
            f"{', '.join(sources.SOURCES)}"
        )
    name = detect(path) if format == "auto" else format
    return sources.SOURCES[name].read(path)


def _seen(head: ListingHead) -> str:
    if head.data.startswith(PARQUET_MAGIC):
        names = ", ".join(parquet_column_names(head.path))
        return f"it is a parquet file with columns {names[:SHOWN_CHARS]!r}"
    for magic, kind in BINARY_KINDS.items():
        if head.data.startswith(magic):
            return f"it is {kind}"
    if head.is_binary:
        return f"it is not text, its first bytes are {head.data[:12].hex(' ')}"
    return "it starts with " + ", ".join(
        repr(line[:SHOWN_CHARS]) for line in head.lines[:SHOWN_LINES]
    )
