"""The whole build: conservation, the same bytes however it runs, and after any kill."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from avdata import ShardSet, decode_frame
from avdata.features.logmel import stored_log_mel

REPOSITORY = Path(__file__).resolve().parents[3]

Command = Callable[[Path, int], list[str]]
Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def hashes(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(out.glob("*.tar"))}


def tables(out: Path) -> list[list[dict]]:
    return [pq.read_table(out / f"{name}.parquet").to_pylist() for name in ("manifest", "rejects")]


def test_every_listed_clip_has_one_row(undisturbed: Path) -> None:
    rows = [row for table in tables(undisturbed) for row in table]
    assert sorted(row["row_index"] for row in rows) == list(range(26))
    assert len({row["key"] for row in rows}) == 26


def test_stored_fields_agree(undisturbed: Path) -> None:
    shards = ShardSet(undisturbed)
    assert len(shards) == 22
    spec = shards.spec
    assert spec.logmel is not None
    total = np.zeros(spec.logmel.num_mels)
    columns = 0
    for i in range(len(shards)):
        row = shards.manifest.slice(i, 1).to_pylist()[0]
        jpegs = shards.read_jpegs(i)
        assert len(jpegs) == row["num_frames"] == round(row["duration_s"] * 16)
        assert decode_frame(jpegs[-1]).shape == (64, 96, 3)
        audio = shards.read_audio(i)
        assert audio.shape == (1, round(row["duration_s"] * 24000))
        logmel = shards.read_logmel(i)
        assert logmel.shape == (1, audio.shape[1] // 240 + 1, 128)
        assert np.array_equal(logmel, stored_log_mel(audio, spec.logmel))
        assert shards.read_meta(i)["key"] == row["key"] == shards.keys[i]
        total += logmel[0].astype(np.float64).sum(0)
        columns += logmel.shape[1]
    assert spec.logmel_statistics is not None
    assert spec.logmel_statistics.num_columns == columns
    assert np.allclose(spec.logmel_statistics.mean, total / columns)


def test_the_second_run_builds_nothing(undisturbed: Path, command: Command, run: Run) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in undisturbed.glob("*.tar")}
    done = run(command(undisturbed, 0))
    assert done.returncode == 0
    assert '"built_shards": 0' in done.stdout
    assert {p.name: p.stat().st_mtime_ns for p in undisturbed.glob("*.tar")} == before


def test_only_a_lost_shard_is_built_again(undisturbed: Path, command: Command, run: Run) -> None:
    before = hashes(undisturbed)
    (undisturbed / "shard-000002.json").unlink()
    done = run(command(undisturbed, 0))
    assert '"built_shards": 1' in done.stdout
    assert hashes(undisturbed) == before


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_do_not_change_a_byte(
    workers: int, undisturbed: Path, tmp_path: Path, command: Command, run: Run
) -> None:
    done = run(command(tmp_path / "set", workers))
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "set") == hashes(undisturbed)
    assert tables(tmp_path / "set") == tables(undisturbed)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_and_the_same_command_give_the_same_bytes() -> None:
    script = REPOSITORY / "tests" / "faults" / "kill_and_resume.py"
    kills = ["--kills", "3", "--seed", "0", "--clips", "60"]
    done = subprocess.run([sys.executable, script, *kills], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for target in ("driver", "decoding process", "actor"):
        assert f"{target} killed" in done.stdout
    assert done.stdout.endswith("sets equal, no process left\n")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nodes_of_a_cluster_go_and_come_and_its_head_goes() -> None:
    script = REPOSITORY / "tests" / "faults" / "lost_nodes.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: ") == 9


@pytest.mark.ray
@pytest.mark.slow
def test_clips_that_hang_or_crash_cost_one_clip_each(media: Path, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    kinds = {"spin": "timeout", "segfault": "crashed", "killed_with_supervisor": "crashed"}
    for i in range(6):
        shutil.copy(media / f"clip_{i:02d}.mp4", folder)
    for kind in kinds:
        (folder / f"fault_{kind}.mp4").write_text("this is no movie")
    arguments = ["build", "--source", folder, "--out", tmp_path / "set", "--workers", "2"]
    assignments = ["limits.clip_timeout_s=2", "video.short_side_px=64", "shards.clips_per_shard=3"]
    code = "from avdata.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments), "--json"]
        + [word for assignment in assignments for word in ("--set", assignment)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests" / "faults")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    assert (facts["listed"], facts["ok"]) == (9, 6)
    _, rejects = tables(tmp_path / "set")
    assert {row["key"].removeprefix("fault_"): row["reason"] for row in rejects} == kinds
    messages = {row["key"].removeprefix("fault_"): row["message"] for row in rejects}
    assert "attempt 2 of limits.crash_attempts=2" in messages["segfault"]
    assert messages["killed_with_supervisor"].startswith("5 workers were lost at this clip")


def test_no_ray_at_the_address(media: Path, tmp_path: Path, run: Run) -> None:
    code = "from avdata.cli import main; main()"
    arguments = ["build", "--source", str(media), "--out", str(tmp_path / "set"), "--ray-address"]
    done = run([sys.executable, "-c", code, *arguments, "127.0.0.1:1"])
    assert done.returncode == 2
    assert "Ray at 127.0.0.1:1 cannot be reached" in done.stderr
    assert "leave --ray-address out" in done.stderr
    done = run([sys.executable, "-c", code, *arguments, "ray://127.0.0.1:10001"])
    assert done.returncode == 2
    assert "is one of Ray Client" in done.stderr
    assert "--ray-address auto" in done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_workers_that_do_not_start_end_the_build(
    tmp_path: Path, command: Command, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'avdata.build.child' in sys.orig_argv: sys.exit('a broken installation')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run(command(tmp_path / "set", 1))
    assert done.returncode == 2
    assert "workers do not start, 3 times in a row" in done.stderr
    assert "a broken installation" in done.stderr
    assert "the same avdata is installed on every node" in done.stderr
