"""`avdata index` reads samples within the limits of a build: whatever one does, others follow."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avdata import ShardSet
from avdata.cli import main

FAULTS = Path(__file__).resolve().parents[2] / "faults"
LIMITS = (
    "limits.clip_timeout_s=3",
    "limits.crash_attempts=1",
    "limits.worker_memory_bytes=1_000_000_000",
)
EXPECTED = {
    "segfault": ("crashed", "the worker process was ended by SIGSEGV; attempt 1 of limits."),
    "exit": ("crashed", "ended with status 7"),
    "spin": ("timeout", "not done after 3 s, which is limits.clip_timeout_s; attempt 1 of limits"),
    "deaf_hang": ("timeout", "limits.timeout_attempts=1"),
    "eat_in_c": ("out_of_memory", "held more than limits.worker_memory_bytes=1000000000"),
    "ask_for_a_terabyte": ("out_of_memory", "an allocation was refused (MemoryError)"),
    "bug": ("unexpected", "KeyError: 'no such key'"),
    "chatter": ("not_media", "its media cannot be read"),
}


def fault(kind: str) -> bytes:
    """A member that makes the decoder misbehave, with `faults` on the path."""
    return b"\0\0\0\x20ftypfault_" + kind.encode() + b".mp4\0" + bytes(100)


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def index(directory: Path, *settings: str) -> Result:
    assignments = [part for setting in settings for part in ("--set", setting)]
    return CliRunner().invoke(main, ["index", str(directory), "--json", *assignments])


def test_each_fault_costs_one_sample_with_its_reason(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {}
    for i, kind in enumerate(EXPECTED):
        members[f"fault_{kind}.mp4"] = fault(kind)
        members[f"fault_{kind}.cls"] = b"7"
        members[f"good_{i}.mp4"] = (media / f"clip_{i:02d}.mp4").read_bytes()
    write_tar(tmp_path / "in" / "a.tar", members)
    monkeypatch.setenv("PYTHONPATH", str(FAULTS))
    done = index(tmp_path / "in", *LIMITS)
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["ok"], facts["rejected"]) == (len(EXPECTED), len(EXPECTED))
    assert facts["members"] == len(members)
    assert (facts["members_in_samples"], facts["members_in_rows"]) == (8, 16)
    shards = ShardSet(tmp_path / "in")
    assert shards.keys == [f"good_{i}" for i in range(len(EXPECTED))]
    rows = {row["key"].removeprefix("fault_"): row for row in shards.rejects.to_pylist()}
    assert {key: row["reason"] for key, row in rows.items()} == {
        key: reason for key, (reason, _) in EXPECTED.items()
    }
    for kind, (_, text) in EXPECTED.items():
        assert text in rows[kind]["message"]
        assert rows[kind]["members"] == [f"fault_{kind}.mp4", f"fault_{kind}.cls"]
    for kind in ("segfault", "spin", "bug"):
        assert "sitecustomize" in rows[kind]["traceback"]


def test_a_sample_that_fails_once_is_read_at_its_second_attempt(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is no media in the end: it would be `crashed` if it were not tried again."""
    good = (media / "clip_00.mp4").read_bytes()
    write_tar(tmp_path / "in" / "a.tar", {"k.mp4": fault("killed_once"), "l.mp4": good})
    monkeypatch.setenv("PYTHONPATH", str(FAULTS))
    monkeypatch.setenv("AV_FAULTS_SEEN", str(tmp_path))
    assert index(tmp_path / "in").exit_code == 0
    assert (tmp_path / "killed").exists()
    shards = ShardSet(tmp_path / "in")
    assert shards.keys == ["l"]
    assert shards.rejects["reason"].to_pylist() == ["not_media"]


def test_a_label_that_does_not_fit_into_memory(media: Path, tmp_path: Path) -> None:
    good = (media / "clip_00.mp4").read_bytes()
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.tar"
    size = 1_500_000_000
    with tarfile.open(path, "w") as tar:
        for name, data in {"k.mp4": good, "l.mp4": good}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("l.json")
        entry.size = size
        header = entry.tobuf(tarfile.GNU_FORMAT)
        at = tar.offset
    with path.open("r+b") as file:  # zeros that take no disk
        file.seek(at)
        file.write(header)
        file.truncate(at + 512 + size + 10_240)
    done = index(tmp_path / "in", "limits.worker_memory_bytes=400_000_000")
    assert done.exit_code == 0, done.output
    rows = ShardSet(tmp_path / "in").rejects.to_pylist()
    assert [(row["key"], row["reason"]) for row in rows] == [("l", "out_of_memory")]


def test_limits_of_a_build_are_settings(media: Path, tmp_path: Path) -> None:
    good = (media / "clip_00.mp4").read_bytes()
    write_tar(tmp_path / "in" / "a.tar", {"k.mp4": good})
    done = index(tmp_path / "in", "limits.max_duration_s=0.6")
    assert done.exit_code == 3
    row = ShardSet(tmp_path / "in").rejects.to_pylist()[0]
    assert row["reason"] == "too_long"
    assert "limits.max_duration_s is 0.6" in row["message"]
    done = index(tmp_path / "in", "limits.max_seconds=1")
    assert done.exit_code == 2
    assert "limits.max_seconds: unknown setting" in done.stderr


def test_a_stop_waits_for_no_sample(media: Path, tmp_path: Path) -> None:
    """Ctrl-C while a sample hangs: the command ends, and its processes."""
    good = (media / "clip_00.mp4").read_bytes()
    write_tar(tmp_path / "in" / "a.tar", {"k.mp4": good, "l.mp4": fault("hang_once")})
    code = "from avdata.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "index", str(tmp_path / "in")],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(FAULTS), os.environ.get("PYTHONPATH", "")]),
            "AV_FAULTS_SEEN": str(tmp_path),
        },
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 60
        while not (tmp_path / "hang").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1].endswith("interrupted")
    assert not (tmp_path / "in" / "dataset.json").exists()
