"""`avdata verify --repair`: damage is unmarked, the next build makes just that, and all is well."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avdata.errors import AvdataError
from avdata.locking import folder_lock

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


def garble_manifest(folder: Path) -> None:
    data = bytearray((folder / "manifest.parquet").read_bytes())
    data[4:104] = bytes(100)
    (folder / "manifest.parquet").write_bytes(data)


def delete_rejects(folder: Path) -> None:
    (folder / "rejects.parquet").unlink()


def garble_spec(folder: Path) -> None:
    (folder / "dataset.json").write_text('{"schema_version": 2, "fields"')


@pytest.mark.parametrize(
    ("damage", "rebuilt"),
    [
        (flip, [SHARD]),
        (truncate, [SHARD]),
        (delete_tar, [SHARD]),
        (garble_sidecar, [SHARD]),
        (garble_a_fact, [SHARD]),
        (delete_sidecar, [SHARD]),
        (garble_manifest, []),
        (delete_rejects, []),
        (garble_spec, []),
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


def test_without_build_json_there_is_no_next_command(built: Path, run: Callable) -> None:
    (built / "build.json").unlink()
    flip(built)
    done = run("verify", built, "--repair")
    assert done.exit_code == 1
    assert "has no readable build.json, so no build can go on there" in done.stdout
    assert not (built / SIDECAR).exists()
    assert "so nothing can be repaired" in run("verify", built, "--repair").stderr


def test_a_set_of_another_version_is_not_touched(built: Path, run: Callable) -> None:
    path = built / "dataset.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 1'))
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


def test_the_command_of_a_derived_set(built: Path, run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "derived"
    assert run("derive", built, "--out", out, "--set", "logmel.num_mels=32").exit_code == 0
    before = sums(out)
    flip(out)
    done = run("verify", out, "--repair", "--json")
    command = json.loads(done.stdout)["next"]
    assert command == f"avdata derive {built} --out {out} --set logmel.num_mels=32"
    again = run(*command.split()[1:], "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout.splitlines()[-1])["built_shards"] == 1
    assert sums(out) == before
