"""Rows of a listing in little memory: JSON lists, compressed in blocks, read back by position."""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

ROWS_A_BLOCK = 256
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedRows:
    """Rows that were packed; each is a JSON list."""

    num_rows: int
    blocks: tuple[bytes, ...]
    sha256: str
    """Of the JSON of all blocks: the hash of the rows."""

    def __repr__(self) -> str:
        return f"PackedRows({self.num_rows} rows, {sum(map(len, self.blocks))} bytes)"

    def read(self, start: int, stop: int) -> Iterator[list[object]]:
        """Rows [start, stop)."""
        for block in range(start // ROWS_A_BLOCK, -(-stop // ROWS_A_BLOCK)):
            first = block * ROWS_A_BLOCK
            rows: list[list[object]] = json.loads(zlib.decompress(self.blocks[block]))
            yield from rows[max(start - first, 0) : stop - first]


class RowPacker:
    """Packs rows as they come; `finish` gives them back."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._rows: list[list[object]] = []
        self._digest = hashlib.sha256()

    def append(self, row: list[object]) -> None:
        """Add one row of JSON values; times come back as the very same floats."""
        self._rows.append(row)
        if len(self._rows) == ROWS_A_BLOCK:
            self._close_block()

    def finish(self) -> PackedRows:
        """All rows so far."""
        num_rows = len(self._blocks) * ROWS_A_BLOCK + len(self._rows)
        self._close_block()
        return PackedRows(
            num_rows=num_rows, blocks=tuple(self._blocks), sha256=self._digest.hexdigest()
        )

    def _close_block(self) -> None:
        if self._rows:
            text = _encode(self._rows).encode()
            self._digest.update(text)
            self._blocks.append(zlib.compress(text, 1))
            self._rows = []
