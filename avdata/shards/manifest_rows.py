"""Rows of a manifest as objects, for one shard at a time."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from avdata.manifest import MANIFEST_NAME, MANIFEST_SCHEMA, manifest_row, open_parquet
from avdata.schema import ManifestRow
from avdata.storage import Location

LIST_COLUMNS = tuple(
    field.name
    for field in MANIFEST_SCHEMA
    if pa.types.is_list(field.type) and not pa.types.is_string(field.type.value_type)
)
"""Columns of many numbers a row: with a million rows they do not fit beside each other."""

SHORT_COLUMNS = tuple(name for name in MANIFEST_SCHEMA.names if name not in LIST_COLUMNS)

CACHED_GROUPS = 4


class ManifestRows:
    """The rows of each shard, read when they are asked for. Threads may share it."""

    def __init__(self, where: Path | str | Location, shards: Any) -> None:
        """Know where the rows of each shard are; `shards` is the column of that name."""
        codes = shards.combine_chunks().dictionary_encode()
        if isinstance(codes, pa.ChunkedArray):
            codes = codes.combine_chunks()
        names: list[str] = codes.dictionary.to_pylist()
        indices = codes.indices.to_numpy()
        order = np.argsort(indices, kind="stable")
        starts = np.searchsorted(indices[order], np.arange(len(names) + 1))
        self._positions = {name: order[starts[i] : starts[i + 1]] for i, name in enumerate(names)}
        self._file = open_parquet(where, MANIFEST_NAME)
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._num_groups)]
        self._group_starts = np.cumsum([0, *sizes])
        self._lock = threading.Lock()
        self._cache: dict[int, Any] = {}

    @property
    def _num_groups(self) -> int:
        return int(self._file.num_row_groups)

    def of(self, shard: str) -> list[ManifestRow]:
        """Rows of `shard` in table order; none where the manifest does not know it."""
        positions = self._positions.get(shard, np.zeros(0, np.int64))
        return [manifest_row(row) for row in self.take(positions)]

    def take(self, positions: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Rows at `positions` of the table, as plain values; each row group is read once."""
        positions = np.asarray(positions, np.int64)
        if not len(positions):
            return []
        of_group = np.searchsorted(self._group_starts, positions, side="right") - 1
        rows: list[dict[str, Any]] = [{}] * len(positions)
        for group in np.unique(of_group):
            wanted = np.flatnonzero(of_group == group)
            table = self._group(int(group)).take(positions[wanted] - self._group_starts[group])
            for at, row in zip(wanted, table.to_pylist(), strict=True):
                rows[at] = row
        return rows

    def _group(self, group: int) -> Any:
        """One row group; the last few are kept, as shards next to each other share them."""
        with self._lock:
            if group not in self._cache:
                self._cache[group] = self._file.read_row_group(group)
                for old in list(self._cache)[:-CACHED_GROUPS]:
                    del self._cache[old]
            return self._cache[group]
