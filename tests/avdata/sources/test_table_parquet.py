"""Parquet tables mean what the same CSV means."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import detect, read_listing


def test_parquet_rows(tmp_path: Path) -> None:
    path = tmp_path / "listing"
    table = pa.table(
        {
            "frame": [b"x", b"y", b"z", None],
            "labels": [["dog", "cat"], None, [], None],
            "path": ["a.mp4", "a.mp4", None, "b\0.mp4"],
            "start_s": [1.5, float("nan"), None, 0.0],
            "end_s": [3, None, None, None],
        }
    )
    pq.write_table(table, path)
    assert detect(path) == "table"
    rows = list(read_listing(path))
    assert rows[:2] == [
        ListedClip(
            line_number=1,
            source_id="a.mp4",
            path="a.mp4",
            listed_start_s=1.5,
            listed_end_s=3.0,
            labels=("dog", "cat"),
        ),
        ListedClip(line_number=2, source_id="a.mp4", path="a.mp4"),
    ]
    assert [row.message for row in rows if isinstance(row, MalformedLine)] == [
        "path is empty; every row must have one",
        "path is 'b\\x00.mp4'; it must not hold NUL",
    ]


def test_parquet_without_path_and_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "listing"
    pq.write_table(pa.table({"clip": ["a.mp4"]}), path)
    with pytest.raises(ListingError, match="it is a parquet file with columns 'clip'"):
        detect(path)
    with pytest.raises(ListingError, match="none of them a path"):
        read_listing(path, "table")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ListingError, match=r"cannot be read: .*write it again"):
        detect(path)
