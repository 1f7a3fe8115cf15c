"""The whole build: conservation, the same bytes however it runs, and after any kill."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from avdata import ShardSet, decode_frame
from avdata.features.logmel import stored_log_mel

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
def test_kill_9_of_the_driver_and_the_same_command_give_the_same_bytes(
    undisturbed: Path, tmp_path: Path, command: Command, run: Run
) -> None:
    out = tmp_path / "set"
    for num_shards in (0, 1, 3):  # before the first shard, and twice in the middle
        with subprocess.Popen(command(out, 2), stderr=subprocess.DEVNULL, stdout=-3) as driver:
            deadline = time.monotonic() + 90
            started = out / "build.json" if not num_shards else None
            while driver.poll() is None and time.monotonic() < deadline:
                sidecars = len(list(out.glob("shard-*.json")))
                if started.exists() if started else sidecars >= num_shards:
                    break
                time.sleep(0.01)
            assert driver.poll() is None, "the build ended before it could be killed"
            os.kill(driver.pid, signal.SIGKILL)
        assert not (out / "dataset.json").exists()
    done = run(command(out, 2))
    assert done.returncode == 0, done.stderr
    assert hashes(out) == hashes(undisturbed)
    assert tables(out) == tables(undisturbed)
    assert not list(out.glob("*.partial*"))


@pytest.mark.ray
@pytest.mark.slow
def test_a_clip_that_hangs_costs_one_clip(
    media: Path, undisturbed: Path, tmp_path: Path, command: Command, run: Run
) -> None:
    code = (
        "import avdata.build.worker as w, time\n"
        "made = w.build_sample\n"
        "def hang(ref, **rest):\n"
        "    if ref.key == 'clip_05': time.sleep(1000)\n"
        "    if ref.key == 'clip_09': __import__('os')._exit(9)\n"
        "    return made(ref, **rest)\n"
        "w.build_sample = hang\n"
    )
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, importlib.abc\n"
        "class Late(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'avdata.build.on_ray':\n"
        "            sys.meta_path.remove(self)\n"
        f"            exec({code!r}, {{}})\n"
        "sys.meta_path.insert(0, Late())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    arguments = [*command(tmp_path / "set", 2), "--set", "limits.clip_timeout_s=6"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    manifest, rejects = tables(tmp_path / "set")
    reasons = {row["key"]: row["reason"] for row in rejects}
    assert reasons["clip_05"] == "timeout"
    assert reasons["clip_09"] == "crashed"
    whole = {row["key"] for row in tables(undisturbed)[0]}
    assert whole - {row["key"] for row in manifest} == {"clip_05", "clip_09"}
    same = {"shard-000000.tar", "shard-000003.tar", "shard-000004.tar"}
    assert same <= {n for n, b in hashes(undisturbed).items() if hashes(tmp_path / "set")[n] == b}
