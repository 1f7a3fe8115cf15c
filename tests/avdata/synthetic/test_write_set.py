"""A folder of scenes: the same for any workers, resumed, never mixed."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from avdata.cli.synth import synth
from avdata.errors import AvdataError, ConfigError
from avdata.synthetic import SceneConfig, SetRecord, read_ground_truth, read_set_record, write_set
from avdata.synthetic.write_set import WrittenClip, clip_truth

RECORD = SetRecord(
    num_clips=5,
    seed=1,
    scene=SceneConfig(duration_s=1.0, size_px=48, sample_rate_hz=16000),
)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    write_set(tmp_path / "one", RECORD, num_workers=1)
    write_set(tmp_path / "two", RECORD, num_workers=2)
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "two")
    assert len(one) == 5 + 3


def test_bytes_do_not_depend_on_what_was_in_memory(tmp_path: Path) -> None:
    for fill in ("1", "170"):  # glibc fills new memory with a value that follows from it
        out = tmp_path / fill
        command = f"avdata synth {out} --clips 3 --size 64 --duration 3 --seed 5 --workers 1"
        subprocess.run(
            [sys.executable, "-m", *command.split()],
            env=os.environ | {"MALLOC_PERTURB_": fill},
            check=True,
            capture_output=True,
        )
    assert contents(tmp_path / "1") == contents(tmp_path / "170")


def test_listing_and_ground_truth_agree(tmp_path: Path) -> None:
    report = write_set(tmp_path, RECORD)
    with report.listing.open() as file:
        rows = list(csv.DictReader(file))
    truths = read_ground_truth(report.ground_truth)
    assert [row["split"] for row in rows] == ["train"] * 4 + ["test"]
    assert [list(row.values()) for row in rows] == [
        [t.path, t.id, t.label, t.split] for t in truths
    ]
    assert all((tmp_path / row["path"]).stat().st_size > 0 for row in rows)
    assert truths == tuple(clip_truth(RECORD, i) for i in range(5))
    for truth in truths:
        for thing in truth.objects:
            assert len(thing.track.x_px) == (0 if thing.off_screen else 25)
    assert read_set_record(tmp_path) == RECORD


class _Stopped(Exception):
    pass


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_interrupted_set_is_resumed(tmp_path: Path, num_workers: int) -> None:
    def stop(clip: WrittenClip) -> None:
        raise _Stopped

    with pytest.raises(_Stopped):
        write_set(tmp_path, RECORD, num_workers=num_workers, on_clip=stop)
    assert not (tmp_path / "listing.csv").exists()
    assert not list(tmp_path.rglob("*.partial"))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "media").iterdir()}
    assert before
    report = write_set(tmp_path, RECORD)
    assert report.num_resumed == len(before)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "media").iterdir()}
    assert len(after) == 5
    assert before.items() <= after.items()
    assert write_set(tmp_path, RECORD).num_resumed == 5


def test_another_set_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path, RECORD)
    scene = RECORD.scene.model_copy(update={"fps": 30})
    other = RECORD.model_copy(update={"seed": 2, "scene": scene})
    with pytest.raises(ConfigError, match="seed is 1, asked 2, fps is 25, asked 30; give a new"):
        write_set(tmp_path, other)


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"is not empty and has no synth\.json"):
        write_set(tmp_path, RECORD)
    (tmp_path / "synth.json").write_text("{}")
    with pytest.raises(ConfigError, match="was not written by this version"):
        write_set(tmp_path, RECORD)


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 workers; at least 1"):
        write_set(tmp_path / "set", RECORD, num_workers=0)


def test_faulty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AvdataError, match="No such file"):
        read_ground_truth(tmp_path / "ground_truth.jsonl")
    (tmp_path / "ground_truth.jsonl").write_text('{"id": 3}\n')
    with pytest.raises(AvdataError, match="line 1 is not a clip's ground truth"):
        read_ground_truth(tmp_path / "ground_truth.jsonl")
    with pytest.raises(AvdataError, match=r"no readable synth\.json"):
        read_set_record(tmp_path)


def test_the_command_ends_with_one_json_object(tmp_path: Path) -> None:
    options = ["--clips", "2", "--seed", "3", "--size", "48", "--duration", "1", "--workers", "1"]
    result = CliRunner().invoke(
        synth,
        [str(tmp_path / "set"), *options, "--test-fraction", "0.5", "--set", "fps=10", "--json"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["clips"] == 2
    assert summary["bytes"] == sum(p.stat().st_size for p in tmp_path.rglob("*.mp4"))
    assert summary["seconds"] > 0
    assert summary["out"] == str(tmp_path / "set")
    record = read_set_record(tmp_path / "set")
    assert (record.seed, record.scene.fps, record.scene.size_px) == (3, 10, 48)
    assert [record.split(i) for i in range(2)] == ["train", "test"]


def test_the_command_raises_our_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown setting"):
        CliRunner().invoke(
            synth,
            [str(tmp_path / "set"), "--clips", "1", "--set", "speed=1"],
            catch_exceptions=False,
        )
    assert not (tmp_path / "set").exists()
