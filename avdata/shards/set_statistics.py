"""Columns of a shard set in numbers: what `avdata stats DIR` tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from avdata.errors import ShardSetError
from avdata.shards.histograms import (
    VERDICT_COLUMNS,
    VERDICT_TEXTS,
    Histogram,
    TextCounts,
    check_columns,
    has_histogram,
    histogram,
    is_counted,
    text_counts,
)
from avdata.shards.reader import ShardSet
from avdata.shards.row_filter import RowFilter
from avdata.shards.summary import RejectGroup, reject_groups
from avdata.shards.training_advice import Advice, advise, advised_columns


@dataclass(frozen=True, kw_only=True, slots=True)
class SetStatistics:
    """How the clips of a set are spread."""

    num_clips: int
    num_chosen: int
    """Clips that meet the condition; all of them without one."""
    histograms: tuple[Histogram, ...]
    counts: tuple[TextCounts, ...]
    """Of columns of text."""
    advice: tuple[Advice, ...]
    num_listed: int
    num_rejected: int
    rejects: tuple[RejectGroup, ...]


def read_statistics(
    shard_set: ShardSet, *, columns: Sequence[str] = (), where: str | None = None
) -> SetStatistics:
    """Return how `columns`, by default all verdicts, are spread over the clips that meet `where`.

    Reads the columns it needs and nothing else.

    Raises:
        ShardSetError: A column is unknown or holds lists of numbers, or no clip meets `where`.
        ConfigError: `where` is no condition.
    """
    check_columns(columns, shard_set.manifest.schema)
    spec = shard_set.spec
    shown = tuple(dict.fromkeys(columns)) or (*VERDICT_COLUMNS, *VERDICT_TEXTS)
    advised = advised_columns(spec) if not columns else ()
    num_clips, table = chosen_rows(shard_set, where, (*shown, *advised))
    return SetStatistics(
        num_clips=num_clips,
        num_chosen=table.num_rows,
        histograms=tuple(
            histogram(name, table[name]) for name in shown if has_histogram(table[name].type)
        ),
        counts=tuple(
            text_counts(name, table[name]) for name in shown if is_counted(table[name].type)
        ),
        advice=advise(table, spec) if not columns else (),
        num_listed=spec.num_listed,
        num_rejected=spec.num_rejected,
        rejects=reject_groups(shard_set.rejects),
    )


def chosen_rows(shard_set: ShardSet, where: str | None, columns: Sequence[str]) -> tuple[int, Any]:
    """Number of clips, and `columns` with `position` in the manifest of those that meet `where`.

    Raises:
        ShardSetError: No clip meets `where`.
        ConfigError: `where` is no condition.
    """
    condition = RowFilter(where, shard_set.manifest.schema) if where is not None else None
    needed = dict.fromkeys([*columns, *(condition.columns if condition else ())])
    num_clips, table = len(shard_set), shard_set.manifest.select(list(needed))
    table = table.append_column("position", pa.array(np.arange(num_clips)))
    if condition is not None:
        table_chosen = table.filter(pa.array(condition.mask(table)))
        if num_clips and not table_chosen.num_rows:
            parts = "; ".join(
                f"{part.text} keeps {part.num_kept}" for part in condition.counts(table)
            )
            raise ShardSetError(f"--where {where!r} leaves none of {num_clips} clips: {parts}")
        table = table_chosen
    return num_clips, table
