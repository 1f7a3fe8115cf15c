"""Values that no manifest can hold are found by columns, without opening a shard."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avdata.manifest import MANIFEST_SCHEMA
from avdata.shards.manifest_rows import ManifestRows
from avdata.shards.sidecar import read_sidecar, write_sidecar
from avdata.shards.verify import verify_set
from avdata.shards.verify_tables import read_tables


def found(directory: Path) -> list[str]:
    return [str(problem) for problem in verify_set(directory, decode=False).problems]


def rewrite(directory: Path, change: Callable[[list[dict]], object]) -> None:
    path = directory / "manifest.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("coverage", 1.5, "coverage: 1.5 (clip_1); expected in [0, 1]"),
        ("silence_fraction", -0.1, "silence_fraction: -0.1 (clip_1); expected in [0, 1]"),
        ("clipping_fraction", float("nan"), "clipping_fraction: nan (clip_1); expected in [0, 1]"),
        ("still_fraction", 2.0, "still_fraction: 2.0 (clip_1); expected in [0, 1]"),
        ("black_fraction", 7.0, "black_fraction: 7.0 (clip_1); expected in [0, 1]"),
        ("padded_start_s", -1.0, "padded_start_s: -1.0 (clip_1); expected at least 0"),
        ("padded_end_s", 0.8, "padded_start_s + padded_end_s: 0.8 (clip_1); expected at most dur"),
        ("native_jitter_s", float("inf"), "native_jitter_s: inf (clip_1); expected at least 0"),
        ("duration_s", 0.0, "duration_s: 0.0 (clip_1); expected above 0"),
        ("native_fps", 0.0, "native_fps: 0.0 (clip_1); expected above 0"),
        ("pixel_aspect", -1.0, "pixel_aspect: -1.0 (clip_1); expected above 0"),
        ("frame_fps", 5.0, "frame_fps: 5.0 (clip_1); expected video.fps=4.0"),
        ("frame_fps", None, "frame_fps: 0.0 (clip_1); expected a rate: the set has frames"),
        ("effective_duration_s", 0.9, "effective_duration_s: 0.9 (clip_1); expected at most dura"),
        ("excess_s", -0.5, "excess_s: -0.5 (clip_1); expected at least 0"),
        ("excess_s", 0.5, "excess_s: 0.5 (clip_1); expected none: the file was not taken as cut"),
        ("mono_loss_db", -3.0, "mono_loss_db: -3.0 (clip_1); expected at least 0"),
        ("num_skipped_packets", -1, "num_skipped_packets: -1 (clip_1); expected at least 0"),
        ("num_dropped_frames", -1, "num_dropped_frames: -1 (clip_1); expected at least 0"),
        ("num_corrupt_frames", -1, "num_corrupt_frames: -1 (clip_1); expected at least 0"),
        ("num_audio_forms", 0, "num_audio_forms: 0 (clip_1); expected above 0"),
        ("frame_gap_s", -0.1, "frame_gap_s: -0.1 (clip_1); expected at least 0"),
        ("frame_gap_s", 0.8, "frame_gap_s: 0.8 (clip_1); expected at most duration_s"),
        ("audio_gap_s", 0.8, "audio_gap_s: 0.8 (clip_1); expected at most duration_s"),
        ("audio_gap_s", float("nan"), "audio_gap_s: nan (clip_1); expected at least 0"),
        ("frame_clock", "guess", "frame_clock: guess (clip_1); expected of ['pts', 'dts', 'rate']"),
        ("frame_times_s", [0.0, 0.25], "frame_times_s (their number): 2 (clip_1); expected num_f"),
    ],
)
def test_impossible_value(column: str, value: object, text: str, tiny_set: Path) -> None:
    rewrite(tiny_set, lambda rows: rows[1].update({column: value}))
    assert any(text in line for line in found(tiny_set)), found(tiny_set)


def test_gaps_are_not_covered(tiny_set: Path) -> None:
    def change(rows: list[dict]) -> None:
        for row, coverage in zip(rows, (0.9, 0.8, 0.85), strict=True):
            row.update(listed_start_s=1.0, listed_end_s=2.0, frame_gap_s=0.2, coverage=coverage)
        rows[2].update(trimmed=True, excess_s=1.0)

    rewrite(tiny_set, change)
    lines = [line for line in found(tiny_set) if "coverage" in line and "as in shard" not in line]
    assert lines == [
        "manifest.parquet coverage: 0.9 (clip_0); expected less by frame_gap_s, which is not "
        "covered"
    ]


def test_one_line_for_many_rows(tiny_set: Path) -> None:
    rewrite(tiny_set, lambda rows: [row.update(coverage=2.0) for row in rows])
    (line,) = [line for line in found(tiny_set) if "[0, 1]" in line]
    assert "2.0 (clip_0, and 2 more)" in line


def test_possible_values_are_no_problem(tiny_set: Path) -> None:
    def change(rows: list[dict]) -> None:
        rows[0].update(
            silence_fraction=None,
            still_fraction=1.0,
            coverage=0.0,
            native_fps=None,
            padded_start_s=0.25,
            padded_end_s=0.25,
            effective_duration_s=0.0,
            trimmed=True,
            excess_s=0.0,
            frame_gap_s=0.5,
            audio_gap_s=0.5,
            num_corrupt_frames=0,
            mono_loss_db=100.0,
            num_audio_forms=1,
            frame_clock="dts",
        )

    rewrite(tiny_set, change)
    assert not [line for line in found(tiny_set) if "expected in" in line or "at least" in line]
    assert all("as in shard-000000.json" in line for line in found(tiny_set))


def test_times_are_compared_as_the_table_holds_them(tiny_set: Path) -> None:
    """Sidecars hold times as float64, the manifest as float32."""
    report = read_sidecar(tiny_set, "shard-000000.tar")
    assert report is not None
    rows = [replace(report.rows[0], frame_times_s=[0.0, 0.2500000001]), *report.rows[1:]]
    write_sidecar(tiny_set, replace(report, rows=rows))
    assert "0.2500000001" in (tiny_set / "shard-000000.json").read_text()
    assert found(tiny_set) == []


def test_a_damaged_list_column_is_found(tiny_set: Path) -> None:
    path = tiny_set / "manifest.parquet"
    column = next(
        c
        for i in range(pq.ParquetFile(path).metadata.num_columns)
        if (c := pq.ParquetFile(path).metadata.row_group(0).column(i)).path_in_schema.startswith(
            "frame_times_s"
        )
    )
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert any(
        "manifest.parquet" in line and "expected a readable table" in line
        for line in found(tiny_set)
    )


def test_rows_of_a_shard_wherever_they_stand(tiny_set: Path) -> None:
    """Row groups of any size, and shards that are torn apart."""
    path = tiny_set / "manifest.parquet"
    first = pq.read_table(path).to_pylist()[0]
    rows = [
        {**first, "key": f"k{i}", "row_index": i, "shard": f"shard-00000{i % 3}.tar"}
        for i in range(40)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), path, row_group_size=7)
    table = pq.read_table(path)
    by_shard = ManifestRows(tiny_set, table["shard"])
    for n in range(3):
        keys = [row.key for row in by_shard.of(f"shard-00000{n}.tar")]
        assert keys == [f"k{i}" for i in range(n, 40, 3)]
    assert by_shard.of("shard-000009.tar") == []
    assert [row["key"] for row in by_shard.take([39, 0, 8])] == ["k39", "k0", "k8"]


def test_a_hundred_thousand_rows_take_seconds(tiny_set: Path) -> None:
    count, per_shard = 100_000, 250
    one = pq.read_table(tiny_set / "manifest.parquet").slice(0, 1)
    at = np.arange(count)
    table = one.take(np.zeros(count, np.int64))
    for name, values in {
        "key": [f"k{i}" for i in at],
        "source_id": [f"s{i}" for i in at],
        "shard": [f"shard-{i // per_shard:06d}.tar" for i in at],
        "row_index": at,
        "source_index": at,
    }.items():
        field = MANIFEST_SCHEMA.field(name)
        table = table.set_column(
            table.schema.get_field_index(name), field, pa.array(values, field.type)
        )
    pq.write_table(table, tiny_set / "manifest.parquet", row_group_size=2048)
    started = time.perf_counter()
    tables = read_tables(tiny_set)
    assert tables.rows is not None and not tables.problems
    assert [len(tables.rows.of(f"shard-{n:06d}.tar")) for n in range(0, 400, 40)] == [250] * 10
    assert time.perf_counter() - started < 20  # 1 s where nothing else runs
