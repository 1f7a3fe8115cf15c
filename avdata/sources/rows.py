"""A text listing, line by line: one bad line costs one row and never the lines after it.

A cell may hold line ends inside quotes where the format has a header: they are read as spaces.
Where a quote may as well be lost, because a line inside the quotes is a row of its own, each of
these lines is a row, the damaged ones malformed.
"""

import csv
import math
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources.head import BOM
from avdata.sources.source import ListedRow

MAX_LINE_BYTES = 131_072
MAX_TEXT_CHARS = 200
MAX_CELL_LINES = 32
"""Lines beyond the first that a cell in quotes may go over."""
LINE_ENDS_REPAIRED = "line ends inside quotes were read as spaces"
ID_REPAIRED = "the id was taken out of a spreadsheet's formula or forced text"
FORCED_ID = re.compile(r"""[='\u2019]"?(?P<id>[A-Za-z0-9_-]{11})"?'?""")
LINE_END = re.compile(r"\s*\n\s*")
EXTENSION = re.compile(r"\.[A-Za-z0-9]{2,5}$")

SPREADSHEET_ERRORS = ("#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#NUM!", "#N/A", "#NULL!")
"""What a spreadsheet writes in place of a cell that it took for a formula."""

# The csv module checks a ready dialect object far faster than keyword arguments.
_DIALECTS = {
    delimiter: csv.reader((), delimiter=delimiter, skipinitialspace=True, strict=True).dialect
    for delimiter in (",", "\t", ";")
}

LineParser = Callable[[int, str], ListedClip | None]
"""(line number, text) to clip; None for a comment; ValueError for a malformed line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextLine:
    """One line of a listing that is text."""

    line_number: int
    """1-based."""
    text: str
    """Without its line end."""


def read_rows(path: Path, parse: LineParser, *, header_line: int = 0) -> Iterator[ListedRow]:
    """One row for each line after `header_line` that is neither blank nor a comment.

    Below a header a cell in quotes may go over several lines, which are then one row.

    Args:
        parse: Called with every line as text, without its line end.
        header_line: 1-based line of the header; 0 when there is none.
    """
    lines = _Lines(_lines(path, header_line))
    for line_number, line, fault in lines:
        try:
            if fault:
                raise ValueError(fault)
            text = decode_line(line)
            clip = None
            if header_line and text.count('"') % 2:
                clip = _read_over_lines(line_number, text, parse, lines)
            clip = clip or parse(line_number, text)
        except ValueError as error:
            yield malformed(line_number, line.decode("utf-8", "replace"), str(error))
        else:
            if clip is not None:
                yield clip


class _Lines(Iterator[tuple[int, bytes, str]]):
    """Lines that can be looked at before they are taken."""

    def __init__(self, lines: Iterator[tuple[int, bytes, str]]) -> None:
        self._lines = lines
        self._ahead: deque[tuple[int, bytes, str]] = deque()

    def __next__(self) -> tuple[int, bytes, str]:
        return self._ahead.popleft() if self._ahead else next(self._lines)

    def look(self, count: int) -> Iterator[tuple[int, bytes, str]]:
        """The next lines, at most `count` of them."""
        for at in range(count):
            if at == len(self._ahead):
                line = next(self._lines, None)
                if line is None:
                    return
                self._ahead.append(line)
            yield self._ahead[at]

    def take(self, count: int) -> None:
        """Pass over the next `count` lines."""
        for _ in range(count):
            self._ahead.popleft()


def _read_over_lines(
    line_number: int, text: str, parse: LineParser, lines: _Lines
) -> ListedClip | None:
    """The row that begins in `text` and ends on the next line with an odd number of quotes.

    None where the lines together are not a row, or where one inside the quotes is a row itself.
    """
    for count, (_, line, fault) in enumerate(lines.look(MAX_CELL_LINES), start=1):
        try:
            if fault:
                return None
            piece = decode_line(line)
            if _is_row(parse, line_number, piece.replace('"', "")):
                return None
            text += f"\n{piece}"
            if not piece.count('"') % 2:
                continue
            clip = parse(line_number, text)
        except ValueError:
            return None
        if clip is None:
            return None
        lines.take(count)
        return replace(clip, repair=LINE_ENDS_REPAIRED)
    return None


def _is_row(parse: LineParser, line_number: int, text: str) -> bool:
    try:
        clip = parse(line_number, text)
    except ValueError:
        return False
    return clip is not None and (clip.path is None or bool(EXTENSION.search(clip.path)))


def read_text_lines(path: Path) -> Iterator[TextLine | MalformedLine]:
    """The lines that are not blank; those that are not text are malformed."""
    for line_number, line, fault in _lines(path, 0):
        try:
            if fault:
                raise ValueError(fault)
            yield TextLine(line_number=line_number, text=decode_line(line))
        except ValueError as error:
            yield malformed(line_number, line.decode("utf-8", "replace"), str(error))


def _lines(path: Path, header_line: int) -> Iterator[tuple[int, bytes, str]]:
    """Number, bytes without line end and fault of the lines after `header_line` that are not
    blank."""
    line_number = 0
    with path.open("rb") as file:
        while data := file.readline(MAX_LINE_BYTES):
            line_number += 1
            if line_number == 1:
                data = data.removeprefix(BOM)
            fault = ""
            if len(data) == MAX_LINE_BYTES and not data.endswith(b"\n"):
                fault = f"longer than {MAX_LINE_BYTES} bytes; split the line"
                _skip_line(file.readline)
            if line_number > header_line and (line := data.rstrip(b"\r\n")).strip():
                yield line_number, line, fault


def _skip_line(readline: Callable[[int], bytes]) -> None:
    while (rest := readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def malformed(line_number: int, text: str, message: str) -> MalformedLine:
    """The row of a line that cannot be read."""
    prefix = f"line {line_number}: "  # ListedClip names the line; the row has it already
    return MalformedLine(
        line_number=line_number,
        text=text[:MAX_TEXT_CHARS],
        message=message.removeprefix(prefix),
    )


def decode_line(line: bytes) -> str:
    """The text of one line.

    Raises:
        ValueError: It is not UTF-8, or holds a NUL byte or a lone carriage return.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte 0x{line[error.start]:02x} at position {error.start} is not UTF-8; "
            "save the listing as UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError(f"NUL byte at position {text.index(chr(0))}; the line must be text")
    if "\r" in text:
        raise ValueError("carriage return inside the line; lines must end with LF or CRLF")
    return text


def split_cells(text: str, delimiter: str = ",") -> list[str]:
    """Cells of one line; spaces after a delimiter do not count.

    Raises:
        ValueError: A quote is lost or misplaced.
    """
    num_quotes = text.count('"')
    if not num_quotes:
        return [cell.lstrip(" ") for cell in text.split(delimiter)]
    if num_quotes % 2:
        raise ValueError(
            f"odd number of quotes ({num_quotes}): a cell holds a line end, or a quote is lost; "
            "write each row on one line, and double a quote inside a quoted cell"
        )
    try:
        cells: list[str] = next(csv.reader((text,), dialect=_DIALECTS[delimiter]))
    except csv.Error as error:
        raise ValueError(f"quotes cannot be understood ({error}); quote whole cells") from error
    return [LINE_END.sub(" ", cell) for cell in cells] if "\n" in text else cells


def delimiter_of(header: str) -> str:
    """The sign between the cells of a header: a tab, a semicolon where there is no comma, or a
    comma."""
    if "\t" in header:
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def parse_seconds(text: str, column: str) -> float:
    """A time of the listing, in seconds.

    Raises:
        ValueError: It is not a plain number.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value) or "_" in text:  # Python reads 1_000
        raise ValueError(f"{column} is {text[:40]!r}; it must be seconds, such as 30 or 30.5")
    return value


def check_undamaged(cell: str, column: str) -> None:
    """Refuse a cell that a spreadsheet has replaced.

    Raises:
        ValueError: The cell is empty, a spreadsheet error or a formula.
    """
    if not cell or cell.isspace():
        raise ValueError(f"{column} is empty; every row must have one")
    if cell.startswith(SPREADSHEET_ERRORS):
        raise ValueError(
            f"{column} is {cell[:40]!r}: a spreadsheet replaced it; take the row from the "
            "original listing"
        )
    if cell.startswith("="):
        raise ValueError(
            f"{column} is {cell[:40]!r}: a spreadsheet made it a formula; take the row from the "
            "original listing"
        )


def undo_spreadsheet(cell: str) -> str:
    """The id of a hosted video that a spreadsheet made a formula or a text by force: behind `=` or
    an apostrophe, in quotes or not; any other cell as it is.

    Only ids of the length that hosted videos have are taken, so that no other formula passes.
    """
    found = FORCED_ID.fullmatch(cell)
    return found["id"] if found else cell


def parse_video_id(cell: str) -> str:
    """The id of a hosted video: letters, digits, `-` and `_`, not all of them signs.

    Raises:
        ValueError: The id is empty, damaged by a spreadsheet, or holds other characters.
    """
    plain = cell.replace("-", "").replace("_", "")
    if plain.isalnum() and plain.isascii() and len(cell) <= 64:
        return cell
    check_undamaged(cell, "id")
    raise ValueError(
        f"id is {cell[:40]!r}; it must be up to 64 letters, digits, '-' and '_', at least one "
        "of them a letter or digit"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The first line of a listing that is not blank."""

    text: str
    line_number: int


def read_header(path: Path) -> Header:
    """The header line of a listing that must have one.

    Raises:
        ListingError: There is none, or it is not text.
    """
    line_number = 0
    with path.open("rb") as file:
        while data := file.readline(MAX_LINE_BYTES):
            line_number += 1
            if line_number == 1:
                data = data.removeprefix(BOM)
            line = data.rstrip(b"\r\n")
            if not line.strip():
                continue
            try:
                if len(data) == MAX_LINE_BYTES:
                    raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
                return Header(text=decode_line(line), line_number=line_number)
            except ValueError as error:
                raise ListingError(
                    f"listing {path} has no readable header, line {line_number}: {error}; add "
                    "the header or choose another --format"
                ) from error
    raise ListingError(f"listing {path} has only blank lines; name a listing that has rows")


def find_header(path: Path) -> Header | None:
    """The first line that is not blank, where there is one and it is text."""
    try:
        return read_header(path)
    except ListingError:
        return None
