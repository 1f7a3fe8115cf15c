"""Do `dataset.json`, `manifest.parquet` and `rejects.parquet` agree with themselves and each other?

Nothing is decoded here and no shard is opened. Tables are compared by columns: a set may have a
million rows.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from avdata.errors import FailureReason, ShardSetError
from avdata.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    OPTIONAL_COLUMNS,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    manifest_schema,
    read_table,
)
from avdata.schema import FIELDS, KEY_PATTERN, DatasetSpec, shard_name
from avdata.shards.manifest_rows import LIST_COLUMNS, SHORT_COLUMNS, ManifestRows
from avdata.shards.problem import Problem
from avdata.shards.reader import DATASET_NAME
from avdata.shards.verify_values import check_values, list_lengths

EXAMPLES = 3
"""Values that a problem names where many are wrong."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SetTables:
    """The two tables of a set; None for what cannot be used."""

    manifest: Any | None
    """Its columns without `LIST_COLUMNS`."""
    lengths: dict[str, np.ndarray]
    """Elements of each row's list, by list column; -1 where there is no list."""
    rows: ManifestRows | None
    rejects: Any | None
    problems: list[Problem]
    """Why a table cannot be used."""


def read_tables(directory: Path, kept_columns: Sequence[str] = ()) -> SetTables:
    """Both tables, as far as they can be read and have the columns of this schema version.

    Args:
        kept_columns: Columns of the listing that the manifest must carry as well.
    """
    promised = manifest_schema(kept_columns)
    problems: list[Problem] = []
    manifest, rejects = None, None
    lengths: dict[str, np.ndarray] = {}
    rows = None
    if _has_columns(directory, MANIFEST_NAME, promised, problems):
        try:
            manifest = read_table(directory, MANIFEST_NAME, SHORT_COLUMNS)
            lengths = list_lengths(directory / MANIFEST_NAME, LIST_COLUMNS)
            rows = ManifestRows(directory, manifest["shard"])
        except (ShardSetError, pa.ArrowInvalid, OSError) as error:
            problems.append(_unreadable(MANIFEST_NAME, error))
            manifest = None
        else:
            empty = _empty_cells(MANIFEST_NAME, manifest, MANIFEST_SCHEMA)
            problems += empty
            manifest, rows = (None, None) if empty else (manifest, rows)
    if _has_columns(directory, REJECTS_NAME, REJECTS_SCHEMA, problems):
        try:
            rejects = read_table(directory, REJECTS_NAME)
        except ShardSetError as error:
            problems.append(_unreadable(REJECTS_NAME, error))
        else:
            empty = _empty_cells(REJECTS_NAME, rejects, REJECTS_SCHEMA)
            problems += empty
            rejects = None if empty else rejects
    return SetTables(
        manifest=manifest, lengths=lengths, rows=rows, rejects=rejects, problems=problems
    )


def _unreadable(name: str, error: Exception) -> Problem:
    return Problem(where=name, seen=str(error), expected="a readable table")


def _has_columns(directory: Path, name: str, promised: Any, problems: list[Problem]) -> bool:
    """Whether the table has the columns that are promised, by its header."""
    try:
        seen = pq.read_schema(directory / name)
    except FileNotFoundError:
        problems.append(Problem(where=name, seen="no such file", expected="a readable table"))
        return False
    except (pa.ArrowInvalid, OSError) as error:
        problems.append(_unreadable(name, ValueError(f"{name} cannot be read: {error}")))
        return False
    before = len(problems)
    needed = [column for column in promised.names if column not in OPTIONAL_COLUMNS]
    if missing := [column for column in needed if column not in seen.names]:
        problems.append(
            Problem(where=name, seen=f"no columns {missing}", expected="all columns of the schema")
        )
    if unknown := [column for column in seen.names if column not in promised.names]:
        problems.append(
            Problem(where=name, seen=f"columns {unknown}", expected="no others than the schema's")
        )
    for field in promised:
        if field.name in seen.names and seen.field(field.name).type != field.type:
            problems.append(
                Problem(
                    where=f"{name} {field.name}",
                    seen=f"type {seen.field(field.name).type}",
                    expected=str(field.type),
                )
            )
    return len(problems) == before


def _empty_cells(name: str, table: Any, promised: Any) -> list[Problem]:
    return [
        Problem(
            where=f"{name} {field.name}",
            seen=f"{table[field.name].null_count} rows without a value",
            expected="a value in each",
        )
        for field in promised
        if field.name in table.column_names and not field.nullable and table[field.name].null_count
    ]


def check_spec(spec: DatasetSpec) -> Iterator[Problem]:
    """What is wrong with `dataset.json` by itself."""
    if spec.num_listed != spec.num_clips + spec.num_rejected:
        yield Problem(
            where=DATASET_NAME,
            seen=f"num_listed {spec.num_listed}",
            expected=f"num_clips + num_rejected = {spec.num_clips} + {spec.num_rejected}",
        )
    if unknown := [name for name in spec.fields if name not in FIELDS]:
        yield Problem(where=DATASET_NAME, seen=f"fields {unknown}", expected=f"of {list(FIELDS)}")
    promised = {"frames": spec.video, "audio": spec.audio, "logmel": spec.logmel}
    for name, settings in promised.items():
        if name in spec.fields and settings is None:
            yield Problem(
                where=DATASET_NAME, seen=f"field {name} without its spec", expected="both"
            )
    if list(spec.labels) != sorted(set(spec.labels)):
        yield Problem(where=DATASET_NAME, seen="labels unsorted or repeated", expected="sorted")
    labels_hash = hashlib.sha256(json.dumps(spec.labels).encode()).hexdigest()
    if spec.labels_hash != labels_hash:
        yield Problem(
            where=f"{DATASET_NAME} labels_hash",
            seen=spec.labels_hash,
            expected=f"{labels_hash}, the hash of its labels",
        )


def check_tables(spec: DatasetSpec, tables: SetTables) -> Iterator[Problem]:
    """What is wrong with the tables that can be read."""
    if tables.manifest is not None:
        yield from _check_manifest(spec, tables.manifest)
        yield from check_values(spec, tables.manifest, tables.lengths)
    if tables.rejects is not None:
        yield from _check_count(REJECTS_NAME, tables.rejects, spec.num_rejected)
        known = {str(reason) for reason in FailureReason}
        if unknown := set(tables.rejects["reason"].to_pylist()) - known:
            yield Problem(
                where=f"{REJECTS_NAME} reason", seen=_some(unknown), expected="a known reason"
            )
    if tables.manifest is not None and tables.rejects is not None:
        yield from _check_conservation(spec, tables.manifest, tables.rejects)
    for name, table in ((MANIFEST_NAME, tables.manifest), (REJECTS_NAME, tables.rejects)):
        if table is not None and table.num_rows:
            labels = set(pc.list_flatten(table["labels"]).unique().to_pylist())
            if strange := labels - set(spec.labels):
                yield Problem(
                    where=f"{name} labels",
                    seen=_some(strange),
                    expected=f"only the {len(spec.labels)} labels of {DATASET_NAME}",
                )


def _check_manifest(spec: DatasetSpec, table: Any) -> Iterator[Problem]:
    yield from _check_count(MANIFEST_NAME, table, spec.num_clips)
    keys = table["key"]
    if repeated := _repeated(keys):
        yield Problem(
            where=f"{MANIFEST_NAME} key", seen=f"repeated {_some(repeated)}", expected="unique keys"
        )
    legal = pc.match_substring_regex(keys, f"^(?:{KEY_PATTERN.pattern})$")
    if illegal := keys.filter(pc.invert(legal)).to_pylist():
        yield Problem(
            where=f"{MANIFEST_NAME} key",
            seen=_some(illegal),
            expected=f"keys that match {KEY_PATTERN.pattern}",
        )
    sources = table["source_index"].to_numpy()
    outside = sources[(sources < 0) | (sources >= spec.num_sources)]
    if len(outside):
        yield Problem(
            where=f"{MANIFEST_NAME} source_index",
            seen=_some(outside.tolist()),
            expected=f"in [0, {spec.num_sources})",
        )
    pairs = table.select(["source_index", "source_id"]).group_by(["source_index", "source_id"])
    num_pairs = pairs.aggregate([]).num_rows
    names = pc.count_distinct(table["source_id"]).as_py()
    if num_pairs != len(np.unique(sources)) or num_pairs != names:
        yield Problem(
            where=f"{MANIFEST_NAME} source_index",
            seen="one source_index for two source_id, or the reverse",
            expected="one number a source",
        )
    shards = table["shard"].unique().to_pylist()
    known = {shard_name(index) for index in range(spec.num_shards)}
    if strange := [name for name in shards if name not in known]:
        yield Problem(
            where=f"{MANIFEST_NAME} shard",
            seen=_some(strange),
            expected=f"shards among the {spec.num_shards} of {DATASET_NAME}",
        )
    rows = table["row_index"].to_numpy()
    if (np.diff(rows) <= 0).any():
        yield Problem(
            where=f"{MANIFEST_NAME} row_index", seen="rows out of order", expected="listing order"
        )
    columns = int(table["num_logmel_columns"].to_numpy().sum())
    statistics = spec.logmel_statistics
    # statistics run over the channels, too: a multiple of the columns
    if statistics and columns and statistics.num_columns % columns:
        yield Problem(
            where=f"{DATASET_NAME} logmel_statistics",
            seen=f"made of {statistics.num_columns} columns",
            expected=f"of the {columns} of {MANIFEST_NAME}",
        )


def _check_count(name: str, table: Any, promised: int) -> Iterator[Problem]:
    if table.num_rows != promised:
        yield Problem(
            where=name,
            seen=f"{table.num_rows} rows",
            expected=f"the {promised} that {DATASET_NAME} promises",
        )


def _check_conservation(spec: DatasetSpec, manifest: Any, rejects: Any) -> Iterator[Problem]:
    rows = np.concatenate([manifest["row_index"].to_numpy(), rejects["row_index"].to_numpy()])
    inside = (rows >= 0) & (rows < spec.num_listed)
    seen = np.bincount(rows[inside], minlength=spec.num_listed)
    for values, what in (
        (np.flatnonzero(seen == 0), "is in neither table"),
        (np.unique(rows[~inside]), "is not of the listing"),
        (np.flatnonzero(seen > 1), "is there more than once"),
    ):
        if len(values):
            yield Problem(
                where=f"{MANIFEST_NAME} and {REJECTS_NAME}",
                seen=f"row_index {_some(values.tolist())} {what}",
                expected=f"each of range({spec.num_listed}) in exactly one of them",
            )


def _repeated(column: Any) -> list[Any]:
    if pc.count_distinct(column).as_py() == len(column):
        return []
    counts = pc.value_counts(column)
    repeated: list[Any] = (
        counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
    )
    return repeated


def _some(values: Iterable[Any]) -> str:
    ordered = sorted(values, key=str)
    more = f" and {len(ordered) - EXAMPLES} more" if len(ordered) > EXAMPLES else ""
    return ", ".join(repr(value) for value in ordered[:EXAMPLES]) + more
