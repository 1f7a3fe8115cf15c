"""Rows of a manifest chosen by a condition such as `silence_fraction < 0.9 and label == 'dog'`.

The condition is read with `ast` and computed column by column with arrow; nothing of it is run as
Python. A column without a value (NULL) makes every comparison with it False, `!=` included; ask
for it with `is None` and `is not None`. `not` turns the False round.

::

    comparison   duration_s >= 2      0.5 < coverage <= 1     av_offset_s is not None
    text         split == 'train'     key.startswith('a')     'abc' in source_id
    one of       label in ('dog', 'cat')                      split not in ('test',)
    labels       'dog' in labels      len(labels) > 1         label  is the first of them
    numbers      + - * / abs()        frame_width_px / frame_height_px > 1
    flags        sound_missing        not truncated           dual_mono == True
    kept column  class == 'dog'       `clip id` != ''         in backquotes where it is no word
    joined by    and  or  not  ( )
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from avdata.shards.row_filter_terms import read_condition


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterCount:
    """How many rows one part of a condition keeps by itself."""

    text: str
    num_kept: int


class RowFilter:
    """A condition that was checked against the columns of a table."""

    def __init__(self, text: str, schema: Any) -> None:
        """Read `text` for tables of `schema`.

        Raises:
            ConfigError: It is no condition, names an unknown column, or compares what cannot be
                compared.
        """
        self.text = text.strip()
        condition = read_condition(self.text, schema)
        self._parts = condition.parts
        self.columns = condition.columns
        """Columns that it needs."""

    def __repr__(self) -> str:
        return f"RowFilter({self.text!r})"

    def mask(self, table: Any) -> np.ndarray:
        """bool (rows,): the rows of `table` that meet the condition."""
        kept = np.ones(table.num_rows, bool)
        for mask in self._masks(table):
            kept &= mask
        return kept

    def counts(self, table: Any) -> list[FilterCount]:
        """What each part between the outermost `and`s keeps by itself."""
        masks = self._masks(table)
        return [
            FilterCount(text=part.text, num_kept=int(mask.sum()))
            for part, mask in zip(self._parts, masks, strict=True)
        ]

    def _masks(self, table: Any) -> list[np.ndarray]:
        columns = {name: _whole(table[name]) for name in self.columns}
        return [_as_mask(part.evaluate(columns), num_rows=table.num_rows) for part in self._parts]


def _whole(column: Any) -> Any:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], whole.type)
    return whole


def _as_mask(values: Any, *, num_rows: int) -> np.ndarray:
    if isinstance(values, pa.Scalar):  # a condition without a column
        return np.full(num_rows, bool(values.as_py()))
    return np.asarray(values.to_numpy(zero_copy_only=False), bool)
