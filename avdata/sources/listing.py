"""Which format a listing has, told from its content, and its rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

# The package, for its table: that imports the formats and then this module.
from avdata import sources
from avdata.errors import ListingError
from avdata.sources import path_label
from avdata.sources.columns import ListingColumns
from avdata.sources.folder import no_media
from avdata.sources.head import BINARY_KINDS, ListingHead, mostly, read_head, require_file
from avdata.sources.media_names import FOLDER_EXTENSIONS
from avdata.sources.source import ListedRow
from avdata.sources.table_parquet import PARQUET_MAGIC, parquet_column_names

SHOWN_LINES = 2
SHOWN_CHARS = 60
SHOW_FORMATS = "`avdata build --formats` shows all formats; choose one with --format NAME"


def detect(path: Path) -> str:
    """Name of the format, one of `SOURCES`.

    Raises:
        ListingError: `path` is missing or empty, or its content fits no format, or two.
    """
    head = read_head(path)
    fitting = [name for name, source in sources.SOURCES.items() if source.matches(head)]
    not_meant = {other for name in fitting for other in sources.SOURCES[name].instead_of}
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
    raise ListingError(f"listing {path} fits no known format: {_seen(head)}{_advice(head)}")


def listing_columns(path: Path, format: str) -> ListingColumns | None:
    """The columns of a listing in `format`, one of `SOURCES`; None where it has no header.

    Raises:
        ListingError: The listing cannot be read.
    """
    if path.is_dir():
        return None
    require_file(path, format)
    return sources.SOURCES[format].columns(path)


def read_listing(path: Path, format: str = "auto", keep: Sequence[str] = ()) -> Iterator[ListedRow]:
    """The rows of a listing, in its order, made one at a time.

    Args:
        format: A name in `SOURCES`, or "auto" for what `detect` finds. A format that does not fit
            gives malformed lines.
        keep: Columns whose cells the rows keep, as `ListingColumns.find_kept` gives their names.

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
    source = sources.SOURCES[name]
    if not keep:
        return source.read(path)
    if source.read_keeping is None:
        raise no_columns(name)
    return source.read_keeping(path, keep)


def no_columns(format: str) -> ListingError:
    """The fault of asking a listing without a header for its columns."""
    having = ", ".join(n for n, s in sources.SOURCES.items() if s.read_keeping is not None)
    return ListingError(
        f"--keep-column: this listing ({format}) has no header that names columns; formats that "
        f"have one are {having}"
    )


def _advice(head: ListingHead) -> str:
    """Advice on a listing that fits no format, by its looks."""
    if head.is_binary or head.data.startswith((PARQUET_MAGIC, *BINARY_KINDS)):
        return ""
    if path_label.has_frames(head):
        return f"; {path_label.FOLDERS_OF_FRAMES}"
    if mostly(_is_media_name, head.lines):
        return (
            "; its lines are names of files alone: put a line `path` above them, and names with "
            "commas in quotes"
        )
    if mostly(lambda line: ";" in line and "," not in line, head.lines):
        return '; it is separated by ";": write a first line that names its columns, as path;label'
    if mostly(lambda line: _is_media_name(line.replace("\t", ",").split(",")[0]), head.lines):
        return (
            "; it has no header: put a line above its lines that names its columns, as path,label"
        )
    return f". {SHOW_FORMATS}, or write a table with a column `path`"


def _is_media_name(line: str) -> bool:
    name, dot, extension = line.strip().rpartition(".")
    return bool(name and dot) and extension.lower() in FOLDER_EXTENSIONS


def format_lines() -> list[str]:
    """One line a format: its name and what such a listing looks like."""
    width = max(map(len, sources.SOURCES))
    return [f"{name:<{width}}  {s.looks_like}" for name, s in sources.SOURCES.items()]


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
