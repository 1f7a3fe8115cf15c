"""Every kind of damage is found, named, and found alone."""

import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avdata.errors import ShardSetError
from avdata.schema import ManifestRow
from avdata.shards.codec import encode_array
from avdata.shards.reader import ShardSet
from avdata.shards.sidecar import read_sidecar, write_sidecar
from avdata.shards.tar_contents import read_contents
from avdata.shards.verify import verify_set
from avdata.shards.verify_sample import check_sample_data

SHARD = "shard-000000.tar"
Agree = Callable[[Path, str], None]


def lines(directory: Path, *, decode: bool = True) -> list[str]:
    return [str(problem) for problem in verify_set(directory, decode=decode).problems]


def overwrite(directory: Path, key: str, suffix: str, data: bytes, at: int = 0) -> None:
    """Replace bytes of a member in place."""
    sample = next(s for s in read_contents(directory / SHARD).samples if s.key == key)
    where = sample.members[suffix]
    assert at + len(data) <= where.size
    with (directory / SHARD).open("r+b") as file:
        file.seek(where.offset + at)
        file.write(data)


def member(directory: Path, key: str, suffix: str) -> bytes:
    with tarfile.open(directory / SHARD) as tar:
        file = tar.extractfile(f"{key}.{suffix}")
        assert file is not None
        return file.read()


def rewrite_table(path: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)


def rewrite_spec(directory: Path, **changes: object) -> None:
    path = directory / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_sound_set_has_no_problems(tiny_set: Path) -> None:
    seen = []
    report = verify_set(tiny_set, num_workers=2, on_sample=lambda: seen.append(1))
    assert report.ok, report.problems
    assert (report.num_clips, report.num_shards, len(seen)) == (3, 3, 3)


@pytest.mark.parametrize(
    "fields", [("frames",), ("audio",), ("logmel",), ("frames", "audio"), ("audio", "logmel")]
)
def test_a_set_of_some_fields_has_no_problems(
    fields: tuple[str, ...], tmp_path: Path, make_tiny_set: Callable[..., Path]
) -> None:
    assert lines(make_tiny_set(tmp_path, fields)) == []


def test_flipped_byte(tiny_set: Path) -> None:
    overwrite(tiny_set, "clip_0", "audio.flac", b"\x99", at=200)
    assert any("sha256" in line and SHARD in line for line in lines(tiny_set, decode=False))


def test_truncated_tar(tiny_set: Path) -> None:
    data = (tiny_set / SHARD).read_bytes()
    (tiny_set / SHARD).write_bytes(data[: len(data) // 2])
    found = lines(tiny_set)
    assert any(f"{len(data) // 2} bytes; expected {len(data)}" in line for line in found)
    assert any("is no whole tar" in line for line in found)


def test_missing_tar(tiny_set: Path) -> None:
    (tiny_set / SHARD).unlink()
    assert ["No such file" in line for line in lines(tiny_set)] == [True]


def test_missing_and_broken_sidecar(tiny_set: Path) -> None:
    (tiny_set / "shard-000000.json").unlink()
    (tiny_set / "shard-000001.json").write_text("{")
    missing, broken = lines(tiny_set)
    assert missing == ("shard-000000.json: no such file; expected the sidecar of a committed shard")
    assert "is damaged" in broken


def test_a_changed_sidecar_is_not_believed(tiny_set: Path) -> None:
    path = tiny_set / "shard-000000.json"
    path.write_text(path.read_text().replace('"coverage":1.0', '"coverage":0.9', 1))
    assert "its checksum is not that of its text" in "".join(lines(tiny_set))


def test_sidecar_of_another_build(tiny_set: Path) -> None:
    report = read_sidecar(tiny_set, "shard-000000.tar")
    assert report is not None
    write_sidecar(tiny_set, replace(report, build_hash="other"))
    assert lines(tiny_set) == ["shard-000000.json: build_hash other; expected a build"]


def test_manifest_row_removed(tiny_set: Path) -> None:
    rewrite_table(tiny_set / "manifest.parquet", lambda rows: rows.pop(1))
    found = lines(tiny_set)
    assert "manifest.parquet: 2 rows; expected the 3 that dataset.json promises" in found
    assert any("row_index 1 is in neither table" in line for line in found)
    assert any("clip_1: a sample without a row" in line for line in found)
    assert any("row_index 1 (clip_1): no such row" in line for line in found)


def test_reject_row_removed_and_changed(tiny_set: Path) -> None:
    def change(rows: list[dict[str, object]]) -> None:
        rows[0]["reason"] = "bored"
        rows.pop()

    rewrite_table(tiny_set / "rejects.parquet", change)
    found = lines(tiny_set)
    assert any("rejects.parquet: 2 rows" in line for line in found)
    assert any("'bored'; expected a known reason" in line for line in found)
    assert any("rejects.parquet row_index 5 (clip_5): no such row" in line for line in found)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("key", "clip_1", "repeated 'clip_1'; expected unique keys"),
        ("key", "a.b", "'a.b'; expected keys that match"),
        ("source_index", 6, "6; expected in [0, 6)"),
        ("source_index", 1, "one source_index for two source_id"),
        ("shard", "shard-000007.tar", "'shard-000007.tar'; expected shards among the 3"),
        ("row_index", 1, "row_index 1 is there more than once"),
        ("labels", ["cow"], "'cow'; expected only the 2 labels"),
        ("duration_s", 9.0, "duration_s 9.000000; expected decoded_end_s - decoded_start_s"),
        ("logmel_offset_bytes", 77, "expected 1760 bytes at 77"),
        ("num_audio_samples", 3999, "3999 samples at 8000 Hz"),
        ("frame_width_px", 30, "frame 0 is 32x16; expected 30x16"),
        ("num_frames", 3, "3 frame_offsets in the manifest; expected num_frames + 1 = 4"),
        ("num_logmel_columns", 50, "expected float16 of (1, 50, 16)"),
        ("frame_offsets", [0, 5, 9], "frame_offsets of the manifest run from 0 to 9"),
        ("source_id", "else", "source_id is 'source 0'; expected 'else' as in the manifest"),
    ],
)
def test_wrong_value_in_the_manifest(column: str, value: object, text: str, tiny_set: Path) -> None:
    rewrite_table(tiny_set / "manifest.parquet", lambda rows: rows[0].update({column: value}))
    found = lines(tiny_set)
    assert any(text in line for line in found), found


def test_columns_of_another_schema(tiny_set: Path) -> None:
    table = pq.read_table(tiny_set / "manifest.parquet")
    pq.write_table(table.drop(["media"]), tiny_set / "manifest.parquet")
    assert lines(tiny_set) == [
        "manifest.parquet: no columns ['media']; expected all columns of the schema"
    ]


def test_unreadable_table_leaves_the_shards_checked(tiny_set: Path) -> None:
    (tiny_set / "manifest.parquet").write_bytes(b"PAR1 not really")
    overwrite(tiny_set, "clip_0", "frames.mjpg", bytes(100))
    found = lines(tiny_set)
    assert any("manifest.parquet cannot be read" in line for line in found)
    assert any("frame 0 does not decode" in line for line in found)


def test_counts_and_labels_of_the_spec(tiny_set: Path) -> None:
    rewrite_spec(tiny_set, num_listed=7, labels=["dog", "cat"])
    found = lines(tiny_set)
    assert "dataset.json: num_listed 7; expected num_clips + num_rejected = 3 + 3" in found
    assert any("labels unsorted" in line for line in found)
    assert any("labels_hash" in line for line in found)


def test_field_without_its_spec(tiny_set: Path) -> None:
    rewrite_spec(tiny_set, audio=None)
    assert "dataset.json: field audio without its spec; expected both" in lines(tiny_set)


def test_damaged_jpeg_under_a_matching_checksum(tiny_set: Path, agree: Agree) -> None:
    data = member(tiny_set, "clip_1", "frames.mjpg")
    second = data.index(b"\xff\xd8", 2)
    overwrite(tiny_set, "clip_1", "frames.mjpg", b"\0\0", at=second)
    agree(tiny_set, SHARD)
    (line,) = lines(tiny_set)
    assert line.startswith(f"{SHARD} clip_1.frames.mjpg: frame 1 does not decode")
    assert lines(tiny_set, decode=False) == []


def test_other_damage_under_a_matching_checksum(tiny_set: Path, agree: Agree) -> None:
    overwrite(tiny_set, "clip_0", "audio.flac", b"fLaX")
    size = len(member(tiny_set, "clip_0", "logmel.npy"))
    overwrite(tiny_set, "clip_0", "logmel.npy", np.float16(np.nan).tobytes(), at=size - 2)
    overwrite(tiny_set, "clip_1", "meta.json", b"{]")
    overwrite(tiny_set, "clip_1", "frames.npy", encode_array(np.arange(4, dtype=np.uint32)))
    agree(tiny_set, SHARD)
    found = lines(tiny_set)
    assert any("clip_0.audio.flac: does not decode" in line for line in found)
    assert any("clip_0.logmel.npy: 1 values are not finite" in line for line in found)
    assert any("clip_1.meta.json: " in line for line in found)
    assert any("clip_1.frames.npy: other offsets than the manifest's" in line for line in found)
    assert len({line.split(":")[0] for line in found}) == 4


def test_strange_and_repeated_members(tiny_set: Path, agree: Agree) -> None:
    with tarfile.open(tiny_set / SHARD, "a") as tar:
        path = tiny_set / "dataset.json"
        for name in ("noext", "clip_0.extra.txt", "clip_9.meta.json"):
            tar.add(path, name)
    agree(tiny_set, SHARD)
    found = lines(tiny_set)
    assert any("noext: a stray member" in line for line in found)
    assert any("clip_0: its members are not adjacent" in line for line in found)
    assert any("clip_9: a sample without a row" in line for line in found)


def test_renamed_member(tiny_set: Path) -> None:
    data = (tiny_set / SHARD).read_bytes()
    (tiny_set / SHARD).write_bytes(data.replace(b"clip_1.meta.json", b"clip_1.meta.jsox", 1))
    found = lines(tiny_set, decode=False)
    assert any("clip_1: members" in line for line in found)  # the header's checksum broke, too


def test_shard_that_is_not_of_the_set(tiny_set: Path) -> None:
    (tiny_set / "shard-000003.tar").write_bytes((tiny_set / SHARD).read_bytes())
    assert lines(tiny_set) == [
        "shard-000003.tar: a shard; expected none beyond the 3 of dataset.json"
    ]


def test_partial_files_are_a_note(tiny_set: Path) -> None:
    (tiny_set / "shard-000000.tar.partial-12ab").touch()
    report = verify_set(tiny_set)
    assert report.ok
    assert "shard-000000.tar.partial-12ab was left by a build" in report.notes[0]


def test_wrong_schema_version_is_refused(tiny_set: Path) -> None:
    rewrite_spec(tiny_set, schema_version=99)
    with pytest.raises(
        ShardSetError, match="schema version 99; this avdata reads versions 2 and 3"
    ):
        verify_set(tiny_set)


def test_unfinished_set_is_refused(tiny_set: Path) -> None:
    (tiny_set / "dataset.json").unlink()
    (tiny_set / "build.json").touch()
    with pytest.raises(ShardSetError, match="build is not finished"):
        verify_set(tiny_set)


@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_escapes_as_an_exception(data: st.DataObject, tiny_template: Path) -> None:
    shard_set = ShardSet(tiny_template)

    row = ManifestRow(**shard_set.manifest.slice(0, 1).to_pylist()[0])
    sample = read_contents(tiny_template / row.shard).samples[0]
    suffix = data.draw(st.sampled_from(sorted(sample.members)))
    bad = bytearray(member(tiny_template, row.key, suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, min(len(bad), 200) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(bad)))
    list(check_sample_data({suffix: bytes(bad[:cut])}, row, shard_set.spec))
