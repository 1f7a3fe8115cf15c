"""`manifest.parquet` and `rejects.parquet`: arrow schema of the row types, writing, reading."""

import threading
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from avdata.atomic_writing import partial_path
from avdata.errors import ConfigError, ShardSetError
from avdata.schema import ManifestRow, RejectRow
from avdata.storage import LocalFolder, Location, open_location
from avdata.storage.ranged_file import RangedFile

MANIFEST_NAME = "manifest.parquet"
REJECTS_NAME = "rejects.parquet"
ROWS_A_GROUP = 2048
"""Rows that a reader must take together; a far reader makes two or three requests a group."""

_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    list[str]: pa.list_(pa.string()),
    list[int]: pa.list_(pa.uint32()),
    list[float]: pa.list_(pa.float32()),
}
_KEPT_COLUMN = pa.string()


def arrow_schema(row_type: type) -> Any:
    """Arrow schema of a row dataclass: one column a field, nullable where None is allowed.

    `ManifestRow.kept` has no column of its own: see `manifest_schema`.
    """
    columns = []
    for name, hint in typing.get_type_hints(row_type).items():
        if hint == dict[str, str]:
            continue
        nullable = isinstance(hint, types.UnionType)
        inner = next(t for t in typing.get_args(hint) if t is not type(None)) if nullable else hint
        columns.append(pa.field(name, _ARROW[inner], nullable=nullable))
    return pa.schema(columns)


MANIFEST_SCHEMA = arrow_schema(ManifestRow)
REJECTS_SCHEMA = arrow_schema(RejectRow)
_MANIFEST_COLUMNS = frozenset(MANIFEST_SCHEMA.names)


def manifest_schema(kept_columns: Iterable[str] = ()) -> Any:
    """`MANIFEST_SCHEMA` with a column of text for each kept column of the listing, at the end."""
    kept = [pa.field(name, _KEPT_COLUMN) for name in kept_columns]
    return pa.schema([*MANIFEST_SCHEMA, *kept])


def check_kept_columns(names: Iterable[str]) -> None:
    """Refuse to keep columns of a listing under names that the manifest has.

    Raises:
        ConfigError: As said.
    """
    for name in names:
        if name.lower() in _MANIFEST_COLUMNS:
            raise ConfigError(
                f"--keep-column {name!r}: the manifest has a column of that name already; rename "
                "the column in the listing"
            )


def manifest_row(values: dict[str, Any]) -> ManifestRow:
    """The row of a table's values by column; columns that are not its own are the kept ones."""
    own = {name: value for name, value in values.items() if name in _MANIFEST_COLUMNS}
    kept = {n: v for n, v in values.items() if n not in own and v is not None}
    return ManifestRow(**own, kept=kept)


def _as_values(row: ManifestRow | RejectRow) -> dict[str, Any]:
    values = asdict(row)
    return {**values, **values.pop("kept", {})}


OPTIONAL_COLUMNS = frozenset(
    field.name
    for row_type in (ManifestRow, RejectRow)
    for field in fields(row_type)
    if field.default is not MISSING
)
"""Columns that sets of earlier schema versions lack: they are read as empty."""


def _with_later_columns(table: Any, name: str) -> Any:
    """`table` with the columns that a set of an earlier schema version lacks, all empty."""
    for field in MANIFEST_SCHEMA if name == MANIFEST_NAME else REJECTS_SCHEMA:
        if field.name in OPTIONAL_COLUMNS and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


class TableWriter:
    """Appends rows to a parquet file that appears at `close`."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._path, self._schema = path, schema
        self._partial = partial_path(path)
        self._writer = pq.ParquetWriter(self._partial, schema, compression="zstd")
        self._tables: list[Any] = []

    def append(self, rows: Iterable[ManifestRow | RejectRow]) -> None:
        """Add `rows` behind those before."""
        self._tables.append(
            pa.Table.from_pylist([_as_values(row) for row in rows], schema=self._schema)
        )
        if sum(table.num_rows for table in self._tables) >= ROWS_A_GROUP:
            self._write()

    def close(self) -> None:
        """Finish the file and move it into place."""
        self._write()
        self._writer.close()
        self._partial.rename(self._path)

    def _write(self) -> None:
        table = pa.concat_tables(self._tables) if self._tables else None
        self._tables = []
        if table is not None and table.num_rows:
            self._writer.write_table(table.combine_chunks(), row_group_size=table.num_rows)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NumberLists:
    """A column of lists of numbers, all rows in one array."""

    values: np.ndarray
    first: np.ndarray
    """Row i has values [first[i], first[i + 1])."""

    def __repr__(self) -> str:
        return f"NumberLists({len(self.first) - 1} rows, {len(self.values)} {self.values.dtype})"

    def __getitem__(self, row: int) -> np.ndarray:
        """The list of a row."""
        return self.values[self.first[row] : self.first[row + 1]]


class LazyTable:
    """A table whose columns are read when they are first asked for. Threads may share it."""

    def __init__(self, where: Path | str | Location, name: str) -> None:
        """Read the header.

        Raises:
            ShardSetError: The file is missing or damaged.
        """
        self._where, self._name = open_location(where), name
        self._file = open_parquet(self._where, name)
        self._columns: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LazyTable({self._where.place(self._name)!r}, {self.num_rows} rows)"

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, column: str) -> Any:
        """One column, a `pyarrow.ChunkedArray`; it is kept."""
        if column not in self._columns:
            self.select([column])
        return self._columns[column]

    @property
    def num_rows(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def schema(self) -> Any:
        """Arrow schema of all columns, those included that only later versions store."""
        return _with_later_columns(self._file.schema_arrow.empty_table(), self._name).schema

    @property
    def column_names(self) -> list[str]:
        return list(self.schema.names)

    def select(self, columns: Sequence[str]) -> Any:
        """Arrow table of some columns; they are kept.

        Raises:
            ShardSetError: There is no such column, or it cannot be read.
        """
        if not columns:
            return self._read([])
        with self._lock:
            missing = [name for name in dict.fromkeys(columns) if name not in self._columns]
            if missing:
                table = self._read(missing)
                self._columns.update((name, table[name]) for name in missing)
        return pa.table({name: self._columns[name] for name in columns})

    def read(self) -> Any:
        """Arrow table of all columns; nothing is kept."""
        with self._lock:
            return self._read(self.column_names)

    def slice(self, start: int, length: int) -> Any:
        """Arrow table of rows [start, start + length), of all columns; nothing is kept."""
        stop = min(start + length, self.num_rows)
        groups, first, at = [], None, 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if at < stop and start < at + rows:
                groups.append(group)
                first = at if first is None else first
            at += rows
        with self._lock:
            table = self._guarded(partial(self._file.read_row_groups, groups))
        return _with_later_columns(table.slice(start - (first or 0), length), self._name)

    def lists(self, column: str) -> NumberLists:
        """A column of lists; read group by group, so that there is never more than one copy."""
        self._check([column])
        dtype = self.schema.field(column).type.value_type.to_pandas_dtype()
        groups, metadata = range(self._file.num_row_groups), self._file.metadata
        leaf = [metadata.schema.column(i).path.split(".")[0] for i in range(metadata.num_columns)]
        at = leaf.index(column)
        # an empty list counts as one, so this is enough
        room = sum(metadata.row_group(group).column(at).num_values for group in groups)
        values, num_values = np.empty(room, dtype), 0
        lengths = [np.zeros(1, np.int64)]
        for group in groups:
            with self._lock:
                table = self._guarded(partial(self._file.read_row_group, group, columns=[column]))
            for chunk in table[column].chunks:
                flat = chunk.flatten().to_numpy()
                values[num_values : num_values + len(flat)] = flat
                num_values += len(flat)
                lengths.append(np.diff(chunk.offsets.to_numpy()))
        first = np.cumsum(np.concatenate(lengths), dtype=np.int64)
        return NumberLists(values=values[:num_values], first=first)

    def _read(self, columns: list[str]) -> Any:
        self._check(columns)
        stored = [name for name in columns if name in self._file.schema_arrow.names]
        table = self._guarded(partial(self._file.read, columns=stored))
        return (
            table if stored == columns else _with_later_columns(table, self._name).select(columns)
        )

    def _check(self, columns: Iterable[str]) -> None:
        if unknown := [name for name in columns if name not in self.schema.names]:
            raise ShardSetError(
                f"{self._where.place(self._name)} has no column {unknown[0]!r}; its columns are "
                f"{', '.join(self.schema.names)}"
            )

    def _guarded(self, read: Callable[[], Any]) -> Any:
        return _guarded(read, self._where.place(self._name))


def read_table(
    where: Path | str | Location, name: str, columns: Sequence[str] | None = None
) -> Any:
    """Arrow table of `manifest.parquet` or `rejects.parquet` in a shard set.

    Raises:
        ShardSetError: The file is missing, damaged, or lacks a column.
    """
    table = LazyTable(where, name)
    return table.read() if columns is None else table.select(columns)


def open_parquet(where: Path | str | Location, name: str) -> Any:
    """`pyarrow.parquet.ParquetFile` of a table in a shard set, near or far.

    Raises:
        ShardSetError: The file is missing or damaged.
    """
    location = open_location(where)
    try:
        if isinstance(location, LocalFolder):
            return _guarded(lambda: pq.ParquetFile(location.path / name), location.place(name))
        file = RangedFile(location, name)
        return _guarded(lambda: pq.ParquetFile(file, pre_buffer=True), location.place(name))
    except FileNotFoundError:
        raise ShardSetError(
            f"{location} has no {name}: the build is not finished; run the same `avdata build` "
            "again"
        ) from None


def _guarded(read: Callable[[], Any], place: str) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise ShardSetError(f"{place} cannot be read: {error}") from None
