"""Sets of schema version 2 are read: what they lack is empty."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from avdata import ShardSet
from avdata.cli import main
from avdata.manifest import MANIFEST_NAME, OPTIONAL_COLUMNS
from avdata.shards.manifest_rows import ManifestRows
from avdata.shards.verify import verify_set


@pytest.fixture
def older_set(tiny_set: Path) -> Path:
    """A set as version 2 wrote it: no later columns, in the manifest and in the sidecars."""
    table = pq.read_table(tiny_set / MANIFEST_NAME)
    kept = [name for name in table.column_names if name not in OPTIONAL_COLUMNS]
    assert len(kept) < len(table.column_names)
    pq.write_table(table.select(kept), tiny_set / MANIFEST_NAME)
    for path in (tiny_set / "dataset.json", *tiny_set.glob("shard-*.json")):
        data = json.loads(path.read_text())
        data["schema_version"] = 2
        data.pop("checksum", None)
        for row in data.get("rows", []):
            for name in [*(OPTIONAL_COLUMNS & row.keys()), "kept"]:
                row.pop(name, None)
        path.write_text(json.dumps(data))
    return tiny_set


def test_later_columns_are_empty(older_set: Path) -> None:
    shard_set = ShardSet(older_set)
    assert shard_set.manifest["audio_gap_s"].null_count == len(shard_set.manifest)
    rows = ManifestRows(older_set, shard_set.manifest["shard"])
    assert [row.audio_gap_s for row in rows.of("shard-000000.tar")] == [None, None]


def test_an_older_set_is_whole(older_set: Path) -> None:
    assert verify_set(older_set).ok


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "SET"],
        ["inspect", "SET", "clip_0"],
        ["stats", "SET"],
        ["stats", "SET", "--where", "audio_gap_s is None"],
        ["diff", "SET", "SET"],
        ["derive", "SET", "--out", "OUT", "--set", "logmel.num_mels=8"],
    ],
)
def test_commands_take_an_older_set(words: list[str], older_set: Path, tmp_path: Path) -> None:
    paths = {"SET": str(older_set), "OUT": str(tmp_path / "out")}
    done = CliRunner().invoke(main, [paths.get(word, word) for word in words])
    assert done.exit_code == 0, done.output
