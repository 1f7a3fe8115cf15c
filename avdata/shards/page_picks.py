"""Which samples of a set stand on its page: extremes of the verdicts, and an even pick."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

EXTREMES_SHARE = 0.5
"""At most this part of a page goes to extremes."""
COMMON_SHARE = 0.05
"""A highest value that more clips have than this part is no extreme: most are silent for 0 %."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A sample of a set that is shown."""

    position: int
    """Row among those that may be picked."""
    reasons: tuple[str, ...]
    """Why it was picked: `highest silence_fraction`; empty for the even pick."""


def pick_samples(table: Any, columns: Sequence[str], *, num_samples: int, seed: int) -> list[Pick]:
    """At most `num_samples` rows of `table`, in order of the table.

    First the rows with the highest and the lowest value of each of `columns` (of equal values the
    first), for as many columns as fill half of the page. The others are one at random out of each
    of equal parts of the table: rows of a manifest lie in shard order, so all shards have their
    share.
    """
    num_samples = min(num_samples, table.num_rows)
    reasons: dict[int, list[str]] = {}
    for column in columns:
        for position, reason in _extremes(column, table[column]):
            if position in reasons or len(reasons) < EXTREMES_SHARE * num_samples:
                reasons.setdefault(position, []).append(reason)
    others = np.setdiff1d(np.arange(table.num_rows), list(reasons))
    wanted = num_samples - len(reasons)
    generator = np.random.default_rng(seed)
    borders = np.linspace(0, len(others), wanted + 1).astype(np.int64)
    even = others[generator.integers(borders[:-1], borders[1:])] if wanted else others[:0]
    picked: dict[int, list[str]] = {**{int(position): [] for position in even}, **reasons}
    return [Pick(position=i, reasons=tuple(picked[i])) for i in sorted(picked)]


def _extremes(name: str, column: Any) -> list[tuple[int, str]]:
    """Rows with the highest and lowest value, where those are rare; a row that says yes."""
    if pa.types.is_boolean(column.type):
        values = np.asarray(column.cast(pa.int8()).to_numpy(), np.float64)
    else:
        values = np.asarray(column.to_numpy(), np.float64)
    if not np.isfinite(values).any() or np.nanmin(values) == np.nanmax(values):
        return []
    places = {"highest ": int(np.nanargmax(values)), "lowest ": int(np.nanargmin(values))}
    if pa.types.is_boolean(column.type):
        return [(places["highest "], name)]
    most = max(1, COMMON_SHARE * len(values))
    return [
        (place, which + name)
        for which, place in places.items()
        if np.count_nonzero(values == values[place]) <= most
    ]
