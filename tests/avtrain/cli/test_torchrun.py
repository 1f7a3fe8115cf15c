"""`torchrun -m avtrain fit` as it is used: ranks are killed, machines are taken away."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avtrain.engine.checkpoint import load_latest_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def start(
    shards: Path, out: Path, settings: tuple[str, ...], *torchrun: str
) -> subprocess.Popen[str]:
    sets = [part for text in settings for part in ("--set", text)]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", *torchrun, "-m", "avtrain", "fit", str(shards)),
            *("--out", str(out), "--device", "cpu", *sets),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"ended before: {process.communicate()}")


def rank_processes(parent: int) -> list[int]:
    """Processes that torchrun started, as the system lists them."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in listed}
    return sorted(pid for pid, command in commands.items() if b"avtrain" in command)


def test_a_killed_rank_costs_a_restart_and_sigterm_saves(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    endless = (*tiny_run, "schedule.epochs=1e9", "log.every_steps=1", "checkpoint.every_steps=4")
    settings = (*endless, "schedule.max_steps=100000")
    run = tmp_path / "run"
    process = start(shard_set, run, settings, "--max-restarts", "1")
    wait_for_lines(run / "log.jsonl", 6, process)
    ranks = rank_processes(process.pid)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    wait_for_lines(run / "log.jsonl", 14, process)  # the log goes on behind the checkpoint
    assert not set(rank_processes(process.pid)) & set(ranks)

    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    saved = load_latest_checkpoint(run)
    assert saved is not None
    assert saved.step == steps[-1] >= 14
    assert "going on after step" in stderr
    assert f"stopped after step {saved.step} of 100000" in stderr

    # and to its end, with one rank, from where two stopped
    ended = (*endless, f"schedule.max_steps={saved.step + 2}")
    sets = [part for text in ended for part in ("--set", text)]
    done = subprocess.run(
        [sys.executable, "-m", "avtrain", "fit", str(shard_set), "--out", str(run), *sets],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"finished {saved.step + 2} steps" in done.stderr
