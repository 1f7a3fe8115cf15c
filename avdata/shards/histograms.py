"""How the values of a manifest column are spread over the clips of a shard set."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_SCHEMA

MAX_BINS = 20
TAIL_QUANTILE = 0.01
TAIL_REACH = 4.0
"""A tail that reaches this many times beyond the middle 98 % is gathered in the end bins, so that
one absurd clip does not press all others into a single bin."""
SMALL_SHARE = 0.2
"""Shares are drawn from 0 to 1, unless they lie closer together than this."""

VERDICT_COLUMNS = (
    "silence_fraction",
    "clipping_fraction",
    "sound_missing",
    "dual_mono",
    "mono_loss_db",
    "num_audio_forms",
    "audio_gap_s",
    "still_fraction",
    "black_fraction",
    "interlaced",
    "mirrored",
    "frame_gap_s",
    "num_dropped_frames",
    "num_corrupt_frames",
    "num_bad_packets",
    "num_skipped_packets",
    "native_fps",
    "native_jitter_s",
    "av_offset_s",
    "excess_s",
    "coverage",
    "duration_s",
    "effective_duration_s",
    "native_height_px",
    "frames_bytes",
    "audio_bytes",
    "logmel_bytes",
)
"""Columns of numbers and of yes or no that are shown when none is asked for."""

VERDICT_TEXTS = ("frame_clock", "color_transfer")
"""Columns of text that are shown when none is asked for."""

MAX_TEXTS = 100
"""Values of a column of text that are counted one by one, the most frequent ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """Values of one column, counted."""

    column: str
    unit: str
    """Unit of the values; empty for counts, shares and yes or no."""
    is_bool: bool
    num_values: int
    num_missing: int
    """Clips for which the column has no value."""
    min: float
    median: float
    max: float
    """All three are 0 without values."""
    edges: tuple[float, ...]
    """Bin k holds [edges[k], edges[k + 1]), the last one its end too. The values of an end bin may
    lie beyond its outer edge: compare with min and max."""
    counts: tuple[int, ...]
    """One count a bin; (no, yes) for a column of yes or no. All values that are the same have one
    edge and one count."""

    @property
    def is_constant(self) -> bool:
        """Whether all clips that have a value have the same one."""
        return self.num_values > 0 and self.min == self.max


@dataclass(frozen=True, kw_only=True, slots=True)
class TextCounts:
    """Counts of the values of a column of text."""

    column: str
    num_values: int
    """Clips that have a value."""
    num_missing: int
    """Clips for which the column has no value."""
    num_distinct: int
    texts: tuple[str, ...]
    """At most `MAX_TEXTS` values, most frequent first, of equal ones in order of the alphabet."""
    counts: tuple[int, ...]
    """Clips that have each of `texts`: a clip counts for each element of a list."""


def has_histogram(kind: Any) -> bool:
    """Whether a column of an arrow type is one of numbers or of yes or no."""
    return bool(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    )


def is_counted(kind: Any) -> bool:
    """Whether a column of an arrow type is one of text or of lists of text."""
    return bool(
        pa.types.is_string(kind) or (pa.types.is_list(kind) and pa.types.is_string(kind.value_type))
    )


def check_columns(names: Sequence[str], schema: Any = MANIFEST_SCHEMA) -> None:
    """Refuse names of columns whose values can neither be shown as a histogram nor counted.

    Raises:
        ShardSetError: A column is unknown, or holds lists of numbers.
    """
    known = [one.name for one in schema if has_histogram(one.type) or is_counted(one.type)]
    for name in names:
        if name in known:
            continue
        allowed = ", ".join(difflib.get_close_matches(name, known, n=4, cutoff=0.4) or known)
        if name in schema.names:
            kind = schema.field(name).type
            raise ShardSetError(
                f"column {name!r} holds {kind}; shown are columns of numbers, of yes or no and of "
                f"text, as {allowed}"
            )
        raise ShardSetError(f"the manifest has no column {name!r}; near it are {allowed}")


def histogram(name: str, column: Any) -> Histogram:
    """Histogram of one column: an arrow array of numbers or of yes or no."""
    known = column.drop_null()
    is_bool = pa.types.is_boolean(column.type)
    if is_bool:
        known = pc.cast(known, pa.int8())
    values = np.asarray(known.to_numpy(), np.float64)
    # to nanoseconds: what differs by rounding errors alone is the same
    values = np.round(values[np.isfinite(values)], 9)
    edges = np.array([0.0, 1.0, 2.0]) if is_bool else _edges(name, values, _is_whole(column))
    if len(edges) > 1:
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    else:
        counts = np.array([len(values)] * len(edges))
    return Histogram(
        column=name,
        unit=unit_of(name),
        is_bool=is_bool,
        num_values=len(values),
        num_missing=len(column) - len(values),
        min=float(values.min()) if len(values) else 0.0,
        median=float(np.median(values)) if len(values) else 0.0,
        max=float(values.max()) if len(values) else 0.0,
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def text_counts(name: str, column: Any) -> TextCounts:
    """Count the values of one column: an arrow array of text, or of lists of text."""
    num_missing = column.null_count
    values = column.drop_null()
    if pa.types.is_list(column.type):
        lengths = pc.list_value_length(values)
        num_missing += int(pc.sum(pc.equal(lengths, 0)).as_py() or 0)
        values = _each_once(values)
    counted = pc.value_counts(values)
    pairs = zip(
        counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
    )
    ordered = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    shown = ordered[:MAX_TEXTS]
    return TextCounts(
        column=name,
        num_values=len(column) - num_missing,
        num_missing=num_missing,
        num_distinct=len(ordered),
        texts=tuple(text for text, _ in shown),
        counts=tuple(count for _, count in shown),
    )


def _each_once(lists: Any) -> Any:
    """Elements of all lists, each of them once a list."""
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
    pairs = pa.table({"row": pc.list_parent_indices(lists), "text": pc.list_flatten(lists)})
    return pairs.group_by(["row", "text"]).aggregate([])["text"]


def unit_of(column: str) -> str:
    """Unit of a column, by the end of its name."""
    ends = {
        "_s": "s",
        "_fps": "fps",
        "_bytes": "bytes",
        "_hz": "Hz",
        "_px": "px",
        "_deg": "deg",
        "_db": "dB",
    }
    return next((unit for end, unit in ends.items() if column.endswith(end)), "")


def _is_whole(column: Any) -> bool:
    return bool(pa.types.is_integer(column.type))


def _edges(name: str, values: np.ndarray, whole: bool) -> np.ndarray:
    """Borders of at most MAX_BINS bins at round numbers.

    One border when all values are the same, and none without values.
    """
    if not len(values) or values.min() == values.max():
        return values[:1].copy()
    low, high = float(values.min()), float(values.max())
    if (name == "coverage" or name.endswith("_fraction")) and high - low > SMALL_SHARE:
        return np.arange(MAX_BINS + 1) / MAX_BINS
    near, far = np.quantile(values, (TAIL_QUANTILE, 1 - TAIL_QUANTILE))
    reach = TAIL_REACH * (far - near)
    if reach > 0:
        low, high = max(low, float(near) - reach), min(high, float(far) + reach)
    step = _round_up((high - low) / MAX_BINS)
    if whole:
        step = max(1.0, step)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    if last - first > MAX_BINS:  # the range straddles a border more than its length needs
        step = _round_up(step * 1.01)
        first = math.floor(low / step + 1e-9)
        last = max(math.ceil(high / step - 1e-9), first + 1)
    # through text, so that a border is the decimal number that it looks like
    return np.array([float(f"{k * step:.12g}") for k in range(first, last + 1)])


def _round_up(step: float) -> float:
    """The least of 1, 2, 2.5 or 5 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= step * (1 - 1e-9))
