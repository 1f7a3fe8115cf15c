"""Columns of the tables: read when asked for, one by one; lists of numbers in one array."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_NAME, ROWS_A_GROUP, LazyTable, read_table
from avdata.storage import open_location
from avdata.storage.remote import RemoteFolder

NUM_ROWS = 3 * ROWS_A_GROUP + 17


class CountingFolder(RemoteFolder):
    """Counts what is read."""

    num_bytes = 0

    def read_range(self, name: str, start: int, size: int) -> bytes:
        self.num_bytes += size
        return super().read_range(name, start, size)


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    """Rows with keys and lists of 0 to 99 numbers, also written to tmp_path."""
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 2**32, i % 100, np.uint32) for i in range(NUM_ROWS)]
    made = pa.table(
        {
            "key": [f"k{i}" for i in range(NUM_ROWS)],
            "offsets": pa.array(lists, pa.list_(pa.uint32())),
            "size": np.arange(NUM_ROWS),
        }
    )
    pq.write_table(made, tmp_path / MANIFEST_NAME, row_group_size=ROWS_A_GROUP, compression="zstd")
    return made


def test_a_column_is_read_without_its_neighbors(table: pa.Table, tmp_path: Path) -> None:
    folder = CountingFolder(f"memory://{tmp_path.name}")
    folder.upload(tmp_path / MANIFEST_NAME, MANIFEST_NAME)
    size = folder.size(MANIFEST_NAME)
    assert size is not None
    lazy = LazyTable(folder, MANIFEST_NAME)
    assert (lazy.num_rows, len(lazy)) == (NUM_ROWS, NUM_ROWS)
    assert lazy.column_names[:3] == table.column_names  # then what sets of before lack
    assert lazy["size"].equals(table["size"])
    assert folder.num_bytes < size / 5
    before = folder.num_bytes
    assert lazy["size"].equals(table["size"])
    assert folder.num_bytes == before
    part = lazy.slice(2 * ROWS_A_GROUP - 1, 2).select(table.column_names)
    assert part.equals(table.slice(2 * ROWS_A_GROUP - 1, 2))
    assert folder.num_bytes - before < 0.8 * size


def test_all_ways_to_the_same_values(table: pa.Table, tmp_path: Path) -> None:
    lazy = LazyTable(tmp_path, MANIFEST_NAME)
    assert lazy.read().select(table.column_names).equals(table)
    assert lazy.select(["size", "key"]).equals(table.select(["size", "key"]))
    assert lazy.select([]).num_rows == NUM_ROWS
    for start, length in ((0, 1), (NUM_ROWS - 1, 5), (ROWS_A_GROUP, 3), (5, 0), (NUM_ROWS, 2)):
        part = lazy.slice(start, length).select(table.column_names)
        assert part.equals(table.slice(start, length)), (start, length)
    lists = lazy.lists("offsets")
    assert lists.values.dtype == np.uint32
    expected = table["offsets"].to_pylist()
    for row in (0, 1, 99, ROWS_A_GROUP - 1, ROWS_A_GROUP, NUM_ROWS - 1):
        assert lists[row].tolist() == expected[row]
    assert len(lists.first) == NUM_ROWS + 1
    assert len(lists.values) == sum(map(len, expected))


def test_no_rows_at_all(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table.slice(0, 0), tmp_path / MANIFEST_NAME)
    lazy = LazyTable(tmp_path, MANIFEST_NAME)
    lists = lazy.lists("offsets")
    assert (len(lazy), lists.first.tolist(), len(lists.values)) == (0, [0], 0)
    assert lazy.slice(0, 3).num_rows == 0
    assert lazy["key"].to_pylist() == []


def test_what_is_wrong_is_said(table: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(ShardSetError, match=r"no column 'sizes'; its columns are key, offsets, s"):
        read_table(tmp_path, MANIFEST_NAME, ["sizes"])
    with pytest.raises(ShardSetError, match=r"has no rejects\.parquet: the build is not finished"):
        read_table(open_location(f"memory://{tmp_path.name}"), "rejects.parquet")
    (tmp_path / MANIFEST_NAME).write_bytes(b"PAR1 no")
    with pytest.raises(ShardSetError, match=r"manifest\.parquet cannot be read"):
        LazyTable(tmp_path, MANIFEST_NAME)
