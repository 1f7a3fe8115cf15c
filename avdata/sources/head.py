"""The first bytes of a listing, which is all that detection looks at."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avdata.errors import ListingError

HEAD_BYTES = 65536
BOM = b"\xef\xbb\xbf"

BINARY_KINDS = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"PK\x03\x04": "a zip or spreadsheet file; save the sheet as CSV",
}
"""First bytes of files that are often taken for a listing, and what to do with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingHead:
    """What detection may look at."""

    path: Path
    is_folder: bool
    data: bytes
    """First `HEAD_BYTES` bytes; empty for a folder."""
    lines: tuple[str, ...]
    """Complete lines in `data` that are text and not blank, without their line ends."""
    num_unreadable: int
    """Complete lines in `data` that are not UTF-8 or hold NUL bytes."""

    @property
    def is_binary(self) -> bool:
        return self.num_unreadable > len(self.lines)


def require_listing(path: Path) -> os.stat_result:
    """Status of `path`, which is a folder or a file that is not empty.

    Raises:
        ListingError: It is missing, of zero bytes, or neither a file nor a folder.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ListingError(f"listing {path} cannot be opened: {reason}; check the path") from error
    if stat.S_ISDIR(status.st_mode):
        return status
    if not stat.S_ISREG(status.st_mode):
        raise ListingError(
            f"listing {path} is a pipe or device; it is read more than once, so save it to a file"
        )
    if status.st_size == 0:
        raise ListingError(f"listing {path} is empty (0 bytes); name a listing that has rows")
    return status


def require_file(path: Path, format_name: str) -> None:
    """Refuse a listing that cannot be read as a file of `format_name`.

    Raises:
        ListingError: `path` is a folder, empty, or cannot be opened.
    """
    if stat.S_ISDIR(require_listing(path).st_mode):
        raise ListingError(
            f"listing {path} is a folder and format {format_name} is a file; name the listing "
            "file, or use --format folder"
        )
    refuse_utf_16(path, read_start(path))  # every line of it would be malformed


def refuse_utf_16(path: Path, start: bytes) -> None:
    """Refuse a listing in UTF-16 or UTF-32, with a byte-order mark or without.

    Raises:
        ListingError: It is.
    """
    marked = start.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))
    if marked or any(_is_text(start[:512], encoding) for encoding in ("utf-16-le", "utf-16-be")):
        raise ListingError(f"listing {path} is UTF-16 text; save it as UTF-8")


def _is_text(sample: bytes, encoding: str) -> bool:
    """Whether bytes with NULs, as UTF-16 has them and UTF-8 does not, are text in `encoding`."""
    if b"\0" not in sample:
        return False
    try:
        text = sample[: len(sample) // 2 * 2].decode(encoding)
    except UnicodeDecodeError:
        return False
    return text.isascii() and all(c.isprintable() or c in "\r\n\t" for c in text)


def read_start(path: Path) -> bytes:
    """First `HEAD_BYTES` bytes of a file.

    Raises:
        ListingError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise ListingError(
            f"listing {path} cannot be read: {error.strerror}; check its permissions"
        ) from error


def read_head(path: Path) -> ListingHead:
    """The start of a listing, split into lines.

    Raises:
        ListingError: `path` is missing, empty, or cannot be read.
    """
    status = require_listing(path)
    if stat.S_ISDIR(status.st_mode):
        return ListingHead(path=path, is_folder=True, data=b"", lines=(), num_unreadable=0)
    data = read_start(path)
    refuse_utf_16(path, data)
    if b"\n" not in data and b"\r" in data.rstrip(b"\r") and b"\0" not in data:
        raise ListingError(
            f"listing {path} ends its lines with carriage returns alone (old Mac); save it with "
            "LF or CRLF"
        )
    pieces = data.removeprefix(BOM).split(b"\n")
    if len(data) < status.st_size and len(pieces) > 1:
        pieces.pop()  # cut by HEAD_BYTES, not by a line end
    lines: list[str] = []
    num_unreadable = 0
    for piece in pieces:
        try:
            text = piece.decode("utf-8")
        except UnicodeDecodeError:
            num_unreadable += 1
            continue
        if "\0" in text:
            num_unreadable += 1
        elif text.strip():
            lines.append(text.rstrip("\r"))
    if not lines and not num_unreadable:
        raise ListingError(f"listing {path} has only blank lines; name a listing that has rows")
    return ListingHead(
        path=path, is_folder=False, data=data, lines=tuple(lines), num_unreadable=num_unreadable
    )


def mostly(fits: Callable[[str], bool], lines: tuple[str, ...]) -> bool:
    """True when more than half of `lines` fit: a few damaged ones do not hide a format."""
    return 2 * sum(map(fits, lines)) > len(lines)
