"""Signals, sent to a real process: `kill -9` costs nothing but time, Ctrl-C leaves a usable run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avtrain.engine.checkpoint import load_latest_checkpoint

pytestmark = pytest.mark.slow

COMMAND = (sys.executable, "-c", "from avtrain.cli import main; main(prog_name='avtrain')", "fit")


def start(shards: Path, out: Path, settings: tuple[str, ...], *more: str) -> subprocess.Popen:
    sets = [part for text in settings for part in ("--set", text)]
    return subprocess.Popen(
        [*COMMAND, str(shards), "--out", str(out), "--device", "cpu", *sets, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # threads that sleep while they wait: other processes may be busy on the same cores
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )


def wait_for_lines(path: Path, count: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
    raise AssertionError(f"ended before: {process.communicate()}")


def test_kill_9_then_resume_equals_uninterrupted(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    settings = (*tiny_run, "schedule.max_steps=40", "log.every_steps=1", "checkpoint.every_steps=7")
    whole = start(shard_set, tmp_path / "whole", settings)
    killed = start(shard_set, tmp_path / "killed", settings)
    wait_for_lines(tmp_path / "killed" / "log.jsonl", 17, killed)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert whole.wait() == 0, whole.communicate()
    reached = load_latest_checkpoint(tmp_path / "killed")
    assert reached is not None
    assert 7 <= reached.step < 40  # that of step 14 may have been in flight
    resumed = start(shard_set, tmp_path / "killed", settings)  # the same command
    assert resumed.wait() == 0, resumed.communicate()

    def lines(run: str, name: str) -> list[dict]:
        return [json.loads(line) for line in (tmp_path / run / name).read_text().splitlines()]

    assert lines("whole", "keys.jsonl") == lines("killed", "keys.jsonl")
    for one, other in zip(lines("whole", "log.jsonl"), lines("killed", "log.jsonl"), strict=True):
        assert (one["step"], one["loss"]) == (other["step"], other["loss"])
    a, b = (load_latest_checkpoint(tmp_path / name) for name in ("whole", "killed"))
    assert a is not None
    assert b is not None
    assert all(torch.equal(a.method[name], b.method[name]) for name in a.method)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...], number: signal.Signals
) -> None:
    settings = (*tiny_run, "schedule.max_steps=1000000", "schedule.epochs=1e9", "log.every_steps=1")
    process = start(shard_set, tmp_path / "run", settings, "--json")
    wait_for_lines(tmp_path / "run" / "log.jsonl", 2, process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    facts = json.loads(stdout.splitlines()[-1])
    assert facts["ended"] == "stopped"
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    checkpoint = load_latest_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    assert checkpoint.step == facts["steps"] >= 2
