"""`manifest.parquet` and `rejects.parquet`: arrow schema of the row types, writing, reading."""

import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from avdata.atomic_writing import partial_path
from avdata.errors import ShardSetError
from avdata.schema import ManifestRow, RejectRow

MANIFEST_NAME = "manifest.parquet"
REJECTS_NAME = "rejects.parquet"

_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    list[str]: pa.list_(pa.string()),
    list[int]: pa.list_(pa.uint32()),
    list[float]: pa.list_(pa.float32()),
}


def arrow_schema(row_type: type) -> Any:
    """Arrow schema of a row dataclass: one column a field, nullable where None is allowed."""
    fields = []
    for name, hint in typing.get_type_hints(row_type).items():
        nullable = isinstance(hint, types.UnionType)
        inner = next(t for t in typing.get_args(hint) if t is not type(None)) if nullable else hint
        fields.append(pa.field(name, _ARROW[inner], nullable=nullable))
    return pa.schema(fields)


MANIFEST_SCHEMA = arrow_schema(ManifestRow)
REJECTS_SCHEMA = arrow_schema(RejectRow)


class TableWriter:
    """Appends rows to a parquet file that appears at `close`."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._path, self._schema = path, schema
        self._partial = partial_path(path)
        self._writer = pq.ParquetWriter(self._partial, schema, compression="zstd")

    def append(self, rows: Iterable[ManifestRow | RejectRow]) -> None:
        """Write `rows` as one row group."""
        table = pa.Table.from_pylist([asdict(row) for row in rows], schema=self._schema)
        if table.num_rows:
            self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file and move it into place."""
        self._writer.close()
        self._partial.rename(self._path)


def read_table(directory: Path, name: str, columns: Sequence[str] | None = None) -> Any:
    """Arrow table of `manifest.parquet` or `rejects.parquet` in a shard set.

    Raises:
        ShardSetError: The file is missing, damaged, or lacks a column.
    """
    path = directory / name
    try:
        return pq.read_table(path, columns=list(columns) if columns is not None else None)
    except FileNotFoundError:
        raise ShardSetError(
            f"{directory} has no {name}: the build is not finished; run the same `avdata build` "
            "again"
        ) from None
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise ShardSetError(f"{path} cannot be read: {error}") from None
