"""The rows of two shard sets joined by key, and the columns in which they differ."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avdata.errors import ShardSetError
from avdata.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    OPTIONAL_COLUMNS,
    REJECTS_NAME,
    open_parquet,
    read_table,
)
from avdata.shards.manifest_rows import LIST_COLUMNS
from avdata.storage import Location, open_location

EXAMPLES = 3
ROWS_AT_A_TIME = 8192
NOT_COMPARED = frozenset({"key", "media_modified_s"})
"""Joined by key; and a copy of the same media may have other times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One clip whose fact differs."""

    key: str
    a: object
    b: object


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnChange:
    """A column of the manifest with other values in the two sets."""

    column: str
    num_clips: int
    largest: float | None
    """Largest absolute difference, of numbers that both sets have."""
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """Listed clips that came to one thing in set A and to another in set B."""

    a: str
    """`stored`, a reject reason, or `not listed`."""
    b: str
    count: int
    examples: tuple[str, ...]


class JoinedRows:
    """The manifests of two sets; row `at_a[i]` of A and row `at_b[i]` of B have the same key."""

    def __init__(self, a: Path | str, b: Path | str) -> None:
        """Join by key.

        Raises:
            ShardSetError: A manifest is missing or damaged.
        """
        self.where_a, self.where_b = open_location(a), open_location(b)
        self._file_a, self._file_b = _open(self.where_a), _open(self.where_b)
        keys_a, keys_b = self.read("a", "key"), self.read("b", "key")
        self.num_a, self.num_b = len(keys_a), len(keys_b)
        self._keys_a, self._keys_b = keys_a, keys_b
        if keys_a.equals(keys_b):
            self.at_a = self.at_b = np.arange(self.num_a)
        else:
            found = pc.index_in(keys_a, value_set=keys_b)
            there = found.is_valid().to_numpy(zero_copy_only=False)
            self.at_a = np.flatnonzero(there)
            self.at_b = found.drop_null().to_numpy().astype(np.int64)

    @property
    def columns(self) -> list[str]:
        """Columns of the manifest, then those kept of the listing that both sets have."""
        own, in_b = MANIFEST_SCHEMA.names, self._file_b.schema_arrow.names
        kept = [n for n in self._file_a.schema_arrow.names if n not in own and n in in_b]
        return [*own, *kept]

    @cached_property
    def order_changed(self) -> bool:
        """The clips of both sets stand in another order."""
        return bool((np.diff(self.at_b) <= 0).any())

    def read(self, which: str, column: str) -> Any:
        """One whole column of set `a` or `b`, as a single array."""
        file = self._file_a if which == "a" else self._file_b
        where = self.where_a if which == "a" else self.where_b
        if column not in file.schema_arrow.names:  # of a set of an earlier schema version
            return pa.nulls(file.metadata.num_rows, MANIFEST_SCHEMA.field(column).type)
        try:
            chunked = file.read(columns=[column]).column(0)
        except (pa.ArrowInvalid, OSError, KeyError) as error:
            raise ShardSetError(f"{where.place(MANIFEST_NAME)} cannot be read: {error}") from None
        array = chunked.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # an empty table stays chunked
            array = array.chunk(0) if array.num_chunks else pa.array([], chunked.type)
        return array

    def both(self, column: str) -> tuple[Any, Any]:
        """The column's values in A and in B for the clips that both have."""
        a, b = self.read("a", column), self.read("b", column)
        identity = len(self.at_a) == len(a) == len(b) and self.at_a is self.at_b
        return (a, b) if identity else (a.take(self.at_a), b.take(self.at_b))

    def list_at(self, which: str, column: str, row: int) -> list[Any]:
        """One row's list of set `a` or `b`."""
        file = self._file_a if which == "a" else self._file_b
        for group in range(file.num_row_groups):
            num_rows = file.metadata.row_group(group).num_rows
            if row < num_rows:
                cells = file.read_row_group(group, columns=[column]).column(0)
                return list(cells[row].as_py())
            row -= num_rows
        raise IndexError(row)

    def fingerprints(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """A number a clip of both sets that tells lists of other values apart."""
        a, b = (_fingerprints(file, column) for file in (self._file_a, self._file_b))
        return a[self.at_a], b[self.at_b]

    def key(self, i: int) -> str:
        """Key of the i-th clip of both sets."""
        return str(self._keys_a[int(self.at_a[i])])

    def examples_only_a(self) -> tuple[str, ...]:
        """The first keys that B lacks."""
        return _first_missing(self._keys_a, self.at_a)

    def examples_only_b(self) -> tuple[str, ...]:
        """The first keys that A lacks."""
        return _first_missing(self._keys_b, self.at_b)


def _open(where: Location) -> Any:
    file = open_parquet(where, MANIFEST_NAME)
    needed = [name for name in MANIFEST_SCHEMA.names if name not in OPTIONAL_COLUMNS]
    missing = [name for name in needed if name not in file.schema_arrow.names]
    if missing:
        raise ShardSetError(
            f"{where.place(MANIFEST_NAME)} has no columns {missing}; run `avdata verify {where}`"
        )
    return file


def _first_missing(keys: Any, found: np.ndarray) -> tuple[str, ...]:
    missing = np.ones(len(keys), bool)
    missing[found] = False
    return tuple(keys.take(np.flatnonzero(missing)[:EXAMPLES]).to_pylist())


def _fingerprints(file: Any, column: str) -> np.ndarray:
    """One 64-bit hash a row, so that lists of numbers need not be held."""
    parts = []
    for batch in file.iter_batches(ROWS_AT_A_TIME, columns=[column]):
        lists = batch.column(0)
        values = lists.values.to_numpy(zero_copy_only=False)
        data = values.tobytes()
        ends = (lists.offsets.to_numpy().astype(np.int64) * values.dtype.itemsize).tolist()
        parts.append(np.array([hash(data[i:j]) for i, j in itertools.pairwise(ends)], np.int64))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def changed_columns(rows: JoinedRows) -> tuple[ColumnChange, ...]:
    """Columns with other values for clips of both sets, in the manifest's order."""
    return tuple(
        change
        for name in rows.columns
        if name not in NOT_COMPARED and (change := _change(rows, name)) is not None
    )


def _change(rows: JoinedRows, name: str) -> ColumnChange | None:
    largest = None
    if name in LIST_COLUMNS:
        a, b = rows.fingerprints(name)
        changed = np.flatnonzero(a != b)
        examples = tuple(_list_examples(rows, name, changed[:EXAMPLES]))
    else:
        a, b = rows.both(name)
        differs = ~_equal(a, b)
        changed = np.flatnonzero(differs)
        if len(changed) and (pa.types.is_floating(a.type) or pa.types.is_integer(a.type)):
            largest = _largest(a, b)
        examples = tuple(
            Example(key=rows.key(i), a=a[i].as_py(), b=b[i].as_py())
            for i in changed[:EXAMPLES].tolist()
        )
    if not len(changed):
        return None
    return ColumnChange(column=name, num_clips=len(changed), largest=largest, examples=examples)


def _equal(a: Any, b: Any) -> np.ndarray:
    """Where two arrays hold the same: also nothing in both, or NaN in both."""
    if pa.types.is_list(a.type):
        return np.array([x == y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], bool)
    equal = pc.fill_null(pc.equal(a, b), False)
    equal = pc.or_(equal, pc.and_(pc.is_null(a), pc.is_null(b)))
    if pa.types.is_floating(a.type):
        nan = pc.and_(pc.is_nan(pc.fill_null(a, 0.0)), pc.is_nan(pc.fill_null(b, 0.0)))
        equal = pc.or_(equal, nan)
    return np.asarray(equal.to_numpy(zero_copy_only=False), bool)


def _largest(a: Any, b: Any) -> float | None:
    both = pc.and_(pc.is_valid(a), pc.is_valid(b))
    difference = np.abs(
        pc.filter(a, both).to_numpy().astype(np.float64)
        - pc.filter(b, both).to_numpy().astype(np.float64)
    )
    difference = difference[np.isfinite(difference)]
    return float(difference.max()) if len(difference) and difference.max() else None


def _list_examples(rows: JoinedRows, name: str, changed: np.ndarray) -> Iterator[Example]:
    """The first element that differs of each list, with its place."""
    for i in changed.tolist():
        a = rows.list_at("a", name, int(rows.at_a[i]))
        b = rows.list_at("b", name, int(rows.at_b[i]))
        at = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
        if at is None:
            yield Example(key=rows.key(i), a=f"{len(a)} values", b=f"{len(b)} values")
        else:
            yield Example(key=rows.key(i), a=f"[{at}]={a[at]:g}", b=f"[{at}]={b[at]:g}")


def transitions(rows: JoinedRows) -> tuple[Transition, ...]:
    """What listed clips came to in B where they came to something else in A, most frequent first.

    A line that could not be read is known by what is said of it.
    """
    a = _outcomes(rows.where_a, rows.read("a", "key"))
    b = _outcomes(rows.where_b, rows.read("b", "key"))
    names = pa.concat_arrays([a[0], b[0]]).unique()
    states = []
    for keys, outcomes in (a, b):
        found = pc.index_in(names, value_set=keys)
        states.append(pc.fill_null(outcomes.take(found), "not listed"))
    differs = pc.not_equal(states[0], states[1])
    table = pa.table({"key": names, "a": states[0], "b": states[1]}).filter(differs)
    groups = table.group_by(["a", "b"], use_threads=False).aggregate([("key", "count")])
    found_rows = [
        Transition(
            a=group["a"],
            b=group["b"],
            count=group["key_count"],
            examples=tuple(
                table.filter((pc.field("a") == group["a"]) & (pc.field("b") == group["b"]))
                .slice(0, EXAMPLES)["key"]
                .to_pylist()
            ),
        )
        for group in groups.to_pylist()
    ]
    return tuple(sorted(found_rows, key=lambda t: (-t.count, t.a, t.b)))


def _outcomes(where: Location, stored: Any) -> tuple[Any, Any]:
    """Keys of all listed clips, and what each came to."""
    rejects = read_table(where, REJECTS_NAME, ["key", "reason", "message"])
    keys = pc.coalesce(rejects["key"], rejects["message"]).combine_chunks()
    reasons = rejects["reason"].combine_chunks()
    if isinstance(keys, pa.ChunkedArray):
        keys, reasons = pa.array([], pa.string()), pa.array([], pa.string())
    all_stored = pa.array(np.full(len(stored), "stored", dtype=object), pa.string())
    return pa.concat_arrays([stored, keys]), pa.concat_arrays([all_stored, reasons])
