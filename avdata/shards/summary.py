"""A shard set in numbers: what `avdata inspect DIR` tells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avdata.schema import FIELDS, DatasetSpec, shard_name
from avdata.shards.reader import ShardSet

MAX_EXAMPLES = 3
"""Messages that stand for a reject reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Where the values of some clips lie."""

    min: float
    median: float
    max: float
    mean: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectExample:
    """One listed clip without a sample."""

    line: int
    """Of the listing."""
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectGroup:
    """Listed clips without a sample, of one reason."""

    reason: str
    count: int
    examples: tuple[RejectExample, ...]
    """The first one, and the next whose messages differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetSummary:
    """A shard set in numbers. A spread is None when no clip has such a value."""

    spec: DatasetSpec
    num_bytes: int
    """Of all shards on disk."""
    num_missing_shards: int
    total_duration_s: float
    duration_s: Spread | None
    bytes_by_field: dict[str, Spread]
    """Bytes a clip of each field's data."""
    av_offset_s: Spread | None
    """First sound minus first picture: positive when sound starts late."""
    frame_sizes: dict[str, int]
    """Clips by "WIDTHxHEIGHT" of their stored frames, most frequent first."""
    labels: dict[str, int]
    """Clips by label, most frequent first; a clip counts for each of its labels."""
    num_unlabeled: int
    splits: dict[str, int]
    """Clips by split; empty when the listing has none."""
    rejects: tuple[RejectGroup, ...]
    """Most frequent reason first."""


def summarize(shard_set: ShardSet) -> SetSummary:
    """Numbers of a shard set, out of its tables and file sizes.

    Raises:
        ShardSetError: A table is missing or does not fit `dataset.json`.
    """
    spec, table = shard_set.spec, shard_set.manifest
    tars = [shard_name(index) for index in range(spec.num_shards)]
    sizes = shard_set.location.sizes()
    there = [sizes[tar] for tar in tars if tar in sizes]
    duration_s = _values(table["duration_s"])
    return SetSummary(
        spec=spec,
        num_bytes=sum(there),
        num_missing_shards=len(tars) - len(there),
        total_duration_s=float(duration_s.sum()),
        duration_s=_spread(duration_s),
        bytes_by_field={
            name: spread
            for name in FIELDS
            if name in (*spec.fields, "meta")
            and (spread := _spread(_values(table[f"{name}_bytes"])))
        },
        av_offset_s=_spread(_values(table["av_offset_s"])),
        frame_sizes=_frame_sizes(table),
        labels=_counts(_labels(table)),
        num_unlabeled=pc.sum(pc.equal(pc.list_value_length(table["labels"]), 0)).as_py() or 0,
        splits=_counts(table["split"].drop_null()),
        rejects=reject_groups(shard_set.rejects),
    )


def _values(column: Any) -> np.ndarray:
    return np.asarray(column.drop_null().to_numpy(), np.float64)


def _spread(values: np.ndarray) -> Spread | None:
    if not len(values):
        return None
    return Spread(
        min=float(values.min()),
        median=float(np.median(values)),
        max=float(values.max()),
        mean=float(values.mean()),
    )


def _labels(table: Any) -> Any:
    return pc.list_flatten(table["labels"]) if table.num_rows else pa.array([], pa.string())


def _counts(column: Any) -> dict[str, int]:
    """Value -> count, most frequent first, then by name."""
    pairs = [(pair["values"], pair["counts"]) for pair in column.value_counts().to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _frame_sizes(table: Any) -> dict[str, int]:
    sides = ["frame_width_px", "frame_height_px"]
    groups = table.select(sides).group_by(sides).aggregate([([], "count_all")]).to_pylist()
    counts = {
        f"{group[sides[0]]}x{group[sides[1]]}": group["count_all"]
        for group in groups
        if group[sides[0]]
    }
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def reject_groups(table: Any) -> tuple[RejectGroup, ...]:
    """Reasons of the rejected clips of `table`, most frequent first."""
    table, groups = table.select(["reason", "line_number", "message"]), []
    for reason, count in _counts(table["reason"]).items():
        of_reason = table.filter(pc.equal(table["reason"], reason))
        seen: dict[str, int] = {}
        for batch in of_reason.to_batches(max_chunksize=1000):
            for row in batch.to_pylist():
                seen.setdefault(row["message"], row["line_number"])
            if len(seen) >= MAX_EXAMPLES:
                break
        examples = [RejectExample(line=line, message=message) for message, line in seen.items()]
        groups.append(
            RejectGroup(reason=reason, count=count, examples=tuple(examples[:MAX_EXAMPLES]))
        )
    return tuple(groups)
