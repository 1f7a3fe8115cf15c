"""`avdata verify --repair`: damage is unmarked, the next build makes just that, and all is well."""

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avdata.errors import AvdataError
from avdata.locking import folder_lock
from avdata.shards.sidecar import read_sidecar, write_sidecar

SHARD, SIDECAR = "shard-000001.tar", "shard-000001.json"


def sums(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.tar")}


def flip(folder: Path) -> None:
    data = bytearray((folder / SHARD).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / SHARD).write_bytes(data)


def truncate(folder: Path) -> None:
    data = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(data[: len(data) // 3])


def delete_tar(folder: Path) -> None:
    (folder / SHARD).unlink()


def garble_sidecar(folder: Path) -> None:
    (folder / SIDECAR).write_text((folder / SIDECAR).read_text()[:-40])


def garble_a_fact(folder: Path) -> None:
    text = (folder / SIDECAR).read_text()
    assert '"native_channels":2' in text
    (folder / SIDECAR).write_text(text.replace('"native_channels":2', '"native_channels":3', 1))


def delete_sidecar(folder: Path) -> None:
    (folder / SIDECAR).unlink()


def garble_spec(folder: Path) -> None:
    (folder / "dataset.json").write_text('{"schema_version": 3, "fields"')


def wrong_hash_in_the_spec(folder: Path) -> None:
    path = folder / "dataset.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps({**spec, "build_hash": "0" * 64}))


@pytest.mark.parametrize(
    ("damage", "rebuilt"),
    [
        (flip, [SHARD]),
        (truncate, [SHARD]),
        (delete_tar, [SHARD]),
        (garble_sidecar, [SHARD]),
        (garble_a_fact, [SHARD]),
        (delete_sidecar, [SHARD]),
        (garble_spec, []),
        (wrong_hash_in_the_spec, []),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_repair_and_build_again(
    damage: Callable[[Path], None],
    rebuilt: list[str],
    built: Path,
    run: Callable,
    build: Callable,
) -> None:
    before = sums(built)
    damage(built)
    files = {p.name for p in built.iterdir()}
    dry = run("verify", built, "--repair", "--dry-run", "--json")
    assert dry.exit_code == 1, dry.output
    told = json.loads(dry.stdout)
    assert told["rebuild"] == rebuilt
    assert {p.name for p in built.iterdir()} - {".lock"} == files - {".lock"}  # nothing is written
    done = run("verify", built, "--repair", "--json")
    assert done.exit_code == 0, done.output
    did = json.loads(done.stdout)
    assert did["deleted"] == told["would_delete"]
    assert files - {p.name for p in built.iterdir()} == set(did["deleted"])
    assert set(did["deleted"]) <= {"dataset.json", SIDECAR}
    good = {p: p.stat().st_mtime_ns for p in built.glob("*.tar") if p.name not in rebuilt}
    build(built)
    assert {p: p.stat().st_mtime_ns for p in good} == good
    assert sums(built) == before
    assert run("verify", built).exit_code == 0


def change_table(folder: Path, change: Callable[[list[dict]], object], name: str) -> None:
    table = pq.read_table(folder / name)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / name)


def garble_manifest(folder: Path) -> None:
    data = bytearray((folder / "manifest.parquet").read_bytes())
    data[4:104] = bytes(100)
    (folder / "manifest.parquet").write_bytes(data)


def delete_rejects(folder: Path) -> None:
    (folder / "rejects.parquet").unlink()


def wrong_fact(folder: Path) -> None:
    change_table(folder, lambda rows: rows[4].update(native_channels=3), "manifest.parquet")


def wrong_key(folder: Path) -> None:
    change_table(folder, lambda rows: rows[4].update(key="another"), "manifest.parquet")


def wrong_shard(folder: Path) -> None:
    change_table(folder, lambda rows: rows[4].update(shard="shard-000007.tar"), "manifest.parquet")


def wrong_place(folder: Path) -> None:
    change_table(folder, lambda rows: rows[4].update(audio_offset_bytes=7), "manifest.parquet")


def wrong_length(folder: Path) -> None:
    change_table(folder, lambda rows: rows[4].update(num_logmel_columns=1), "manifest.parquet")


def impossible_value(folder: Path) -> None:
    change_table(folder, lambda rows: rows[4].update(coverage=1.5), "manifest.parquet")


def lost_row(folder: Path) -> None:
    change_table(folder, lambda rows: rows.pop(4), "manifest.parquet")


def row_twice(folder: Path) -> None:
    change_table(folder, lambda rows: rows.append(rows[4]), "manifest.parquet")


def wrong_reason(folder: Path) -> None:
    change_table(folder, lambda rows: rows[0].update(reason="too_short"), "rejects.parquet")


TABLE_DAMAGE = (
    garble_manifest,
    delete_rejects,
    wrong_fact,
    wrong_key,
    wrong_shard,
    wrong_place,
    wrong_length,
    impossible_value,
    lost_row,
    row_twice,
    wrong_reason,
)


@pytest.mark.parametrize("damage", TABLE_DAMAGE)
def test_a_damaged_table_costs_no_shard_and_no_build(
    damage: Callable[[Path], None], built: Path, run: Callable
) -> None:
    before = {p.name: p.read_bytes() for p in built.iterdir() if p.name != ".lock"}
    damage(built)
    assert run("verify", built).exit_code == 1
    dry = run("verify", built, "--repair", "--dry-run")
    assert dry.exit_code == 1
    assert "manifest.parquet and rejects.parquet would be written again" in dry.stdout
    (built / "build.json").unlink()  # none is needed
    done = run("verify", built, "--repair", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["rebuild"], told["deleted"], told["next"], told["left"]) == ([], [], None, [])
    assert told["rewritten"] == ["manifest.parquet", "rejects.parquet"]
    assert run("verify", built).exit_code == 0
    del before["build.json"]
    assert {p.name: p.read_bytes() for p in built.iterdir() if p.name != ".lock"} == before


def test_a_value_that_the_sidecars_state_as_well_is_named(built: Path, run: Callable) -> None:
    report = read_sidecar(built, SHARD)
    assert report is not None
    rows = [replace(report.rows[0], coverage=1.5), *report.rows[1:]]
    write_sidecar(built, replace(report, rows=rows))
    done = run("verify", built, "--repair")
    assert done.exit_code == 1
    assert "the sidecars state it too: manifest.parquet coverage: 1.5" in done.stdout
    assert "build the set again with another --out" in done.stdout


def test_the_text_says_what_was_done_and_what_to_run(built: Path, run: Callable) -> None:
    flip(built)
    dry = run("verify", built, "--repair", "--dry-run").stdout
    assert f"would delete {built / 'dataset.json'}" in dry
    text = run("verify", built, "--repair").stdout
    assert f"deleted {built / SIDECAR}" in text
    assert f"shards to build again: {SHARD}" in text
    assert (
        f"avdata build --source listing.csv --media MEDIA --out {built} --set video.fps=8.0 "
        "--set video.short_side_px=32 --set shards.clips_per_shard=3" in text
    )
    again = run("verify", built, "--repair")
    assert again.exit_code == 0
    assert "nothing to repair" in again.stdout
    assert "the build is not finished" in again.stdout


def test_a_sound_set_is_left_alone(built: Path, run: Callable) -> None:
    done = run("verify", built, "--repair")
    assert done.exit_code == 0
    assert done.stdout.strip() == f"{built}: nothing to repair"
    assert (built / "dataset.json").exists()


def test_an_unfinished_set_is_repaired_by_its_sidecars(
    built: Path, run: Callable, build: Callable
) -> None:
    before = sums(built)
    (built / "dataset.json").unlink()
    flip(built)
    garbled = built / "shard-000002.json"
    garbled.write_text("[]")
    (built / "shard-000000.tar").unlink()
    done = run("verify", built, "--repair", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rebuild"] == [
        "shard-000000.tar",
        "shard-000001.tar",
        "shard-000002.tar",
    ]
    build(built)
    assert sums(built) == before


def test_strange_shards_are_named_and_stay(built: Path, run: Callable) -> None:
    stranger = built / "shard-000009.tar"
    stranger.write_bytes((built / SHARD).read_bytes())
    done = run("verify", built, "--repair")
    assert done.exit_code == 1
    assert "left alone: shard-000009.tar is not of the set; move it away" in done.stdout
    assert stranger.exists()
    assert (built / "dataset.json").exists()


def test_nothing_is_deleted_that_no_build_can_make_again(built: Path, run: Callable) -> None:
    flip(built)
    record = json.loads((built / "build.json").read_text())
    files = {p.name for p in built.iterdir()}
    for name, text, why in (
        ("other software", json.dumps({**record, "build_hash": "0" * 64}), "by other versions of"),
        ("no settings", json.dumps({**record, "config": {"x": 1}}), "those of another version"),
        ("no record", "{", "it has no readable build.json"),
    ):
        (built / "build.json").write_text(text)
        if name == "other software":
            spec = json.loads((built / "dataset.json").read_text())
            (built / "dataset.json").write_text(json.dumps({**spec, "build_hash": "0" * 64}))
        done = run("verify", built, "--repair")
        assert done.exit_code == 1, name
        assert f"no build can resume in {built}: " in done.stdout, name
        assert why in done.stdout, name
        assert "Nothing was deleted; build the set again with another --out" in done.stdout
        assert {p.name for p in built.iterdir()} - {".lock"} == files - {".lock"}
    (built / "dataset.json").unlink()
    assert "so nothing can be repaired" in run("verify", built, "--repair").stderr


def test_a_set_of_another_version_is_not_touched(built: Path, run: Callable) -> None:
    path = built / "dataset.json"
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 1'))
    done = run("verify", built, "--repair")
    assert done.exit_code == 2
    assert "schema version 1" in done.stderr
    assert path.exists()


def test_a_set_that_is_being_built_is_left_alone(built: Path, run: Callable) -> None:
    flip(built)
    with folder_lock(built, busy=AvdataError("free when the test starts")):
        done = run("verify", built, "--repair")
    assert done.exit_code == 2
    assert f"a build is at work in {built}; repair it when that has ended" in done.stderr
    assert (built / SIDECAR).exists()


def test_faults_of_the_caller(built: Path, run: Callable, tmp_path: Path) -> None:
    assert "--dry-run goes with --repair" in run("verify", built, "--dry-run").stderr
    assert "has no dataset.json" in run("verify", tmp_path, "--repair").stderr
    assert "s3://bucket/set is a URL" in run("verify", "s3://bucket/set").stderr


NOISE = ("--swap-audio", 0.6, "--duplicate", 0.4, "--seed", 1, "--all-splits")
DERIVE = ("--set", "logmel.num_mels=32")


@pytest.mark.parametrize("steps", ["derive", "noise", "derive noise", "noise derive"])
def test_the_command_of_a_set_made_of_a_set(
    steps: str, built: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(built.name)  # the command works from every folder
    for number, step in enumerate(steps.split()):
        out = tmp_path / f"{number}"
        words = NOISE if step == "noise" else DERIVE
        assert run(step, source, "--out", out, *words).exit_code == 0
        source, made_of = out, source.absolute()
    before = sums(out)
    flip(out)
    done = run("verify", out, "--repair", "--json")
    assert done.exit_code == 0, done.output
    command = json.loads(done.stdout)["next"]
    assert (
        command
        == {
            "derive": f"avdata derive {made_of} --out {out} --set logmel.num_mels=32",
            "noise": f"avdata noise {made_of} --out {out} --swap-audio 0.6 --duplicate 0.4 "
            "--seed 1 --all-splits",
        }[step]
    )
    monkeypatch.chdir("/")
    good = {p: p.stat().st_mtime_ns for p in out.glob("*.tar") if p.name != SHARD}
    again = run(*shlex.split(command)[1:])
    assert again.exit_code == 0, again.output
    assert {p: p.stat().st_mtime_ns for p in good} == good
    assert sums(out) == before
    assert run("verify", out).exit_code == 0


def test_a_set_whose_source_is_gone_is_left_alone(
    built: Path, run: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "noisy"
    assert run("noise", built, "--out", out, *NOISE).exit_code == 0
    flip(out)
    moved = built.rename(tmp_path / "moved")
    done = run("verify", out, "--repair")
    assert done.exit_code == 1
    assert f"it was made of the set {built}, which must be there again first" in done.stdout
    assert (out / SIDECAR).exists()
    moved.rename(built)
    spec = json.loads((built / "dataset.json").read_text())
    (built / "dataset.json").write_text(json.dumps({**spec, "build_hash": "0" * 64}))
    assert "which has changed since" in run("verify", out, "--repair").stdout
