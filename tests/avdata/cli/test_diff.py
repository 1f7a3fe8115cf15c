"""`avdata diff`: what changed is named, what did not is not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avdata.manifest import MANIFEST_SCHEMA
from avdata.schema import ManifestRow
from avdata.shards.difference import SetDifference, compare_sets
from avdata.shards.reader import ShardSet
from avdata.shards.sidecar import read_sidecar, write_sidecar

FIRST = "shard-000000.tar"


def rewrite(path: Path, change: Callable[[list[dict]], object]) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.fixture
def other(tiny_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_set, tmp_path / "other"))


def lines(run: Callable, *arguments: object) -> list[str]:
    done = run("diff", *arguments)
    assert done.exit_code == 1, done.output
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_the_same(tiny_set: Path, other: Path, run: Callable) -> None:
    done = run("diff", tiny_set, other)
    assert done.exit_code == 0
    assert "the same: 3 clips; 2 shards are equal by sha256, 0 clips of 0 others" in done.stdout
    assert "no shard was opened" in run("diff", tiny_set, other, "--no-bytes").stdout
    found = json.loads(run("diff", tiny_set, other, "--json").stdout)
    assert found["same"] is True
    assert found["num_both"] == 3


def test_changed_facts(tiny_set: Path, other: Path, run: Callable) -> None:
    def change(rows: list[dict]) -> None:
        rows[0]["native_fps"] = 25.0 + 2.0**-40
        rows[1]["native_fps"] = None
        rows[1]["labels"] = ["cat", "dog"]
        rows[2]["frame_times_s"][1] = 0.5
        rows[2]["num_bad_packets"] = 7

    rewrite(other / "manifest.parquet", change)
    text = lines(run, tiny_set, other)
    assert "2 native_fps, by at most 9.09495e-13" in text
    assert "clip_0: 25.0 -> 25.00000000000091" in text
    assert "clip_1: 25.0 -> none" in text
    assert "clip_1: ['dog'] -> ['cat', 'dog']" in text
    assert "clip_2: [1]=0.25 -> [1]=0.5" in text
    assert "1 num_bad_packets, by at most 7" in text
    assert "all equal" in text


def test_nan_equals_nan_and_nothing_equals_nothing(tiny_set: Path, other: Path) -> None:
    def change(rows: list[dict]) -> None:
        rows[0].update(silence_fraction=float("nan"), native_fps=None)

    for folder in (tiny_set, other):
        rewrite(folder / "manifest.parquet", change)
    assert compare_sets(tiny_set, other).same


def test_copies_of_the_media_may_have_other_times(tiny_set: Path, other: Path) -> None:
    rewrite(other / "manifest.parquet", lambda rows: rows[0].update(media_modified_s=1e9))
    assert compare_sets(tiny_set, other).same
    rewrite(other / "manifest.parquet", lambda rows: rows[0].update(media_bytes=1000))
    assert [change.column for change in compare_sets(tiny_set, other).facts] == ["media_bytes"]


def test_rows_come_go_and_move(tiny_set: Path, other: Path, run: Callable) -> None:
    lost: list[dict] = []
    rewrite(other / "manifest.parquet", lambda rows: (lost.append(rows.pop(1)), rows.reverse()))
    rewrite(
        other / "rejects.parquet",
        lambda rows: (
            rows.append({**rows[0], "key": "clip_1", "reason": "timeout", "row_index": 1}),
            rows[0].update(reason="crashed"),
            rows[1].update(key="clip_9"),
        ),
    )
    text = lines(run, tiny_set, other, "--no-bytes")
    assert "clips: 3 in A, 2 in B, 2 in both" in text
    assert "1 only in A: clip_1" in text
    assert "they stand in another order" in text
    assert "1 stored -> timeout: clip_1" in text
    assert "1 missing_file -> crashed: clip_3" in text
    assert "1 missing_file -> not listed: clip_4" in text
    assert "1 not listed -> missing_file: clip_9" in text


def test_lines_without_a_key_are_known_by_their_message(tiny_set: Path, other: Path) -> None:
    def change(rows: list[dict]) -> None:
        rows[0].update(key=None, message="no comma; line: 'x'", reason="malformed_line")

    for folder in (tiny_set, other):
        rewrite(folder / "rejects.parquet", change)
    rewrite(other / "rejects.parquet", lambda rows: rows[0].update(line_number=77))
    assert compare_sets(tiny_set, other).transitions == ()
    rewrite(other / "rejects.parquet", lambda rows: rows[0].update(message="else"))
    assert {(t.a, t.b) for t in compare_sets(tiny_set, other).transitions} == {
        ("malformed_line", "not listed"),
        ("not listed", "malformed_line"),
    }


def test_changed_bytes_of_one_field(tiny_set: Path, other: Path, run: Callable) -> None:
    shards = ShardSet(other)
    at = shards.manifest["audio_offset_bytes"][1].as_py()
    with (other / FIRST).open("r+b") as file:
        file.seek(at + 300)
        byte = file.read(1)
        file.seek(at + 300)
        file.write(bytes([byte[0] ^ 1]))
    assert compare_sets(tiny_set, other).same  # the sidecars still state one sha256
    (other / "shard-000000.json").unlink()
    found = compare_sets(tiny_set, other)
    assert found.bytes is not None
    assert found.bytes.num_changed == {"frames": 0, "audio": 1, "logmel": 0, "meta": 0}
    assert found.bytes.examples["audio"] == ("clip_1",)
    assert (found.bytes.num_shards_equal, found.bytes.num_shards_other) == (1, 1)
    assert found.bytes.num_clips_read == 2
    assert "1 audio: clip_1" in lines(run, tiny_set, other)


def test_settings_software_listing(
    tiny_set: Path, tmp_path: Path, make_tiny_set: Callable[..., Path], run: Callable
) -> None:
    other = make_tiny_set(tmp_path / "fewer", ("frames", "audio"))
    path = other / "dataset.json"
    facts = json.loads(path.read_text())
    facts["video"]["quality"] = 70
    facts["software"] = {"av": "18.2"}
    facts["labels"] = ["cat", "cow", "dog"]
    path.write_text(json.dumps(facts))
    text = lines(run, tiny_set, other)
    assert "fields 1 gone (logmel)" in text
    assert "video.quality 85 -> 70" in text
    assert "logmel sample_rate_hz=8000, n_fft=256, win_s... -> none" in text
    assert "av none -> 18.2" in text
    assert "labels 1 new (cow)" in text
    assert "num_mels 16 -> none" in text
    assert "3 clips in both lie elsewhere in the shards" in text
    assert "3 logmel: clip_0, clip_1, clip_2" in text


def test_a_build_with_one_setting_changed(
    built: Path, build: Callable, tmp_path: Path, run: Callable
) -> None:
    other = build(tmp_path / "other", "video.quality=60", "limits.max_streams=9")
    found: SetDifference = compare_sets(built, other)
    assert [(c.path, c.a, c.b) for c in found.settings] == [
        ("video.quality", 85, 60),
        ("limits.max_streams", 64, 9),
    ]
    assert not (found.software or found.listing or found.statistics or found.transitions)
    assert {c.column for c in found.facts} == {"frames_bytes", "frame_offsets"}
    assert found.bytes is not None
    assert found.bytes.num_changed == {"frames": 7, "audio": 0, "logmel": 0, "meta": 0}
    again = build(tmp_path / "again")
    assert run("diff", built, again).exit_code == 0


def test_faults(tiny_set: Path, other: Path, tmp_path: Path, run: Callable) -> None:
    gone = run("diff", tiny_set, tmp_path / "gone")
    assert gone.exit_code == 2
    assert "has no dataset.json" in gone.stderr
    (other / "shard-000000.json").unlink()
    (other / FIRST).unlink()
    done = run("diff", tiny_set, other)
    assert done.exit_code == 2
    assert "No such file or directory; run `avdata verify" in done.stderr
    table = pq.read_table(other / "manifest.parquet")
    pq.write_table(table.drop(["media"]), other / "manifest.parquet")
    assert "has no columns ['media']" in run("diff", tiny_set, other).stderr


def test_a_sidecar_with_a_late_hash_is_read_whole(tiny_set: Path, other: Path) -> None:
    for folder in (tiny_set, other):
        path = folder / "shard-000000.json"
        facts = json.loads(path.read_text())
        del facts["checksum"]  # as in sets of schema version 2
        facts["sha256"] = facts.pop("sha256")  # now behind the rows
        path.write_text(json.dumps(facts))
        report = read_sidecar(folder, FIRST)
        assert report is not None
    found = compare_sets(tiny_set, other)
    assert found.bytes is not None
    assert found.bytes.num_shards_equal == 2
    write_sidecar(tiny_set, report)
    assert compare_sets(tiny_set, other).same


def test_many_rows_against_plain_python(tiny_set: Path, tmp_path: Path) -> None:
    """Tables of thousands of rows, shuffled and changed, against a join of dictionaries."""
    rng = np.random.default_rng(0)
    first = pq.read_table(tiny_set / "manifest.parquet").to_pylist()[0]
    rows_a = [{**first, "key": f"k{i}", "row_index": i} for i in range(3000)]
    kept = rng.permutation(3000)[:2500]
    rows_b = [dict(rows_a[i]) for i in kept]
    for i in range(0, 2500, 7):
        rows_b[i]["coverage"] = float(rng.uniform())
    for i in range(0, 2500, 100):
        rows_b[i]["frame_offsets"] = [*rows_b[i]["frame_offsets"], i]
    sets = []
    for name, rows in (("a", rows_a), ("b", rows_b)):
        folder = Path(shutil.copytree(tiny_set, tmp_path / name))
        table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
        pq.write_table(table, folder / "manifest.parquet", row_group_size=256)
        sets.append(folder)
    found = compare_sets(*sets, with_bytes=False)
    assert (found.num_both, found.only_a, found.only_b) == (2500, 500, 0)
    assert found.order_changed
    by_key = {row["key"]: row for row in rows_b}
    expected = {}
    for name in (f for f in ManifestRow.__dataclass_fields__ if f not in ("key", "kept")):
        changed = [
            r["key"] for r in rows_a if r["key"] in by_key and by_key[r["key"]][name] != r[name]
        ]
        if changed:
            expected[name] = (len(changed), changed[:3])
    assert {c.column: (c.num_clips, [e.key for e in c.examples]) for c in found.facts} == expected
