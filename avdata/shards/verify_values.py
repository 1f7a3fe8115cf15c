"""Are the values of the manifest's columns possible, and do they fit each other?"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from avdata.manifest import MANIFEST_NAME
from avdata.schema import DatasetSpec
from avdata.shards.problem import Problem

FRACTIONS = (
    "coverage",
    "silence_fraction",
    "clipping_fraction",
    "still_fraction",
    "black_fraction",
)
"""Columns in [0, 1]."""

NOT_NEGATIVE = (
    "padded_start_s",
    "padded_end_s",
    "effective_duration_s",
    "native_jitter_s",
    "num_bad_packets",
    "num_skipped_packets",
    "num_dropped_frames",
    "num_corrupt_frames",
    "frame_gap_s",
    "audio_gap_s",
    "excess_s",
    "mono_loss_db",
    "media_bytes",
    "num_frames",
    "num_audio_samples",
    "num_logmel_columns",
)

POSITIVE = ("duration_s", "native_fps", "pixel_aspect", "frame_fps", "num_audio_forms")

TEXTS = {"frame_clock": ("pts", "dts", "rate")}
"""Columns of text that know few values, and these."""

GAPS = ("frame_gap_s", "audio_gap_s")

SLACK_S = 1e-6
"""Rounding of times."""

ROWS_AT_A_TIME = 8192


def list_lengths(path: Path, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Elements of each row's list in a parquet file, -1 where there is no list, by column."""
    found = {}
    file = pq.ParquetFile(path)
    for name in columns:
        parts = [
            pc.list_value_length(batch.column(0)).fill_null(-1).to_numpy(zero_copy_only=False)
            for batch in file.iter_batches(ROWS_AT_A_TIME, columns=[name])
        ]
        found[name] = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return found


def check_values(
    spec: DatasetSpec, table: Any, lengths: dict[str, np.ndarray]
) -> Iterator[Problem]:
    """What cannot be in a manifest `table`, with the `list_lengths` of its list columns."""
    if not table.num_rows:
        return
    for names, lowest, highest, expected in (
        (FRACTIONS, 0.0, 1.0, "in [0, 1]"),
        (NOT_NEGATIVE, 0.0, np.finfo(np.float64).max, "at least 0"),
        (POSITIVE, np.finfo(np.float64).tiny, np.finfo(np.float64).max, "above 0"),
    ):
        for name in names:
            values, there = _values(table[name])
            legal = (values >= lowest) & (values <= highest)  # NaN is neither
            yield from _problem(name, table, there & ~legal, values, expected)
    duration_s, _ = _values(table["duration_s"])
    padded_s = _values(table["padded_start_s"])[0] + _values(table["padded_end_s"])[0]
    real_s = duration_s - padded_s
    yield from _problem(
        "padded_start_s + padded_end_s",
        table,
        real_s < -SLACK_S,
        padded_s,
        "at most duration_s",
    )
    effective_s, _ = _values(table["effective_duration_s"])
    yield from _problem(
        "effective_duration_s",
        table,
        effective_s > np.maximum(real_s, 0) + SLACK_S,
        effective_s,
        "at most duration_s without padding",
    )
    yield from _check_gaps(table, duration_s)
    for name, known in TEXTS.items():
        strange = ~np.asarray(pc.is_in(table[name], pa.array([*known, None], pa.string())))
        texts = np.asarray(table[name].to_pylist(), dtype=object)
        yield from _problem(name, table, strange, texts, f"of {list(known)}")
    yield from _check_frames(spec, table, lengths)


def _check_gaps(table: Any, duration_s: np.ndarray) -> Iterator[Problem]:
    """What is missing inside a clip is part of it, and does not count as covered."""
    for name in GAPS:
        gap_s, _ = _values(table[name])
        yield from _problem(name, table, gap_s > duration_s + SLACK_S, gap_s, "at most duration_s")
    excess_s, cut = _values(table["excess_s"])
    trimmed = np.asarray(table["trimmed"].to_numpy(), bool)
    yield from _problem(
        "excess_s", table, cut & ~trimmed, excess_s, "none: the file was not taken as cut"
    )
    end_s, has_end = _values(table["listed_end_s"])
    most_s = end_s - _values(table["listed_start_s"])[0] + excess_s  # that a clip may want
    coverage, (gap_s, _) = _values(table["coverage"])[0], _values(table["frame_gap_s"])
    # gaps of the audio are left out: with `avdata noise` they come from another clip
    wrong = has_end & (gap_s > 0) & (coverage * most_s > most_s - gap_s + SLACK_S) & (coverage > 0)
    yield from _problem(
        "coverage", table, wrong, coverage, "less by frame_gap_s, which is not covered"
    )


def _check_frames(
    spec: DatasetSpec, table: Any, lengths: dict[str, np.ndarray]
) -> Iterator[Problem]:
    """Every stored frame has a time, and its rate is the one that the set promises."""
    num_frames = _values(table["num_frames"])[0]
    times = lengths["frame_times_s"]
    yield from _problem(
        "frame_times_s (their number)", table, times != num_frames, times, "num_frames"
    )
    rate, there = _values(table["frame_fps"])
    stored = "frames" in spec.fields and spec.video is not None
    if stored:
        yield from _problem("frame_fps", table, ~there, rate, "a rate: the set has frames")
    if stored and spec.video and spec.video.fps != "native":
        fps = spec.video.fps
        yield from _problem("frame_fps", table, there & (rate != fps), rate, f"video.fps={fps}")


def _values(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """A column's numbers, and where it has one; NaN is a number that nothing allows."""
    there = pc.is_valid(column).to_numpy()
    values = pc.fill_null(column, 0).to_numpy()
    return np.asarray(values), np.asarray(there)


def _problem(
    name: str, table: Any, wrong: np.ndarray, values: np.ndarray, expected: str
) -> Iterator[Problem]:
    """One problem for all rows that are wrong, with the first of them."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        first = int(rows[0])
        more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
        yield Problem(
            where=f"{MANIFEST_NAME} {name}",
            seen=f"{values[first : first + 1].tolist()[0]} ({table['key'][first].as_py()}{more})",
            expected=expected,
        )
