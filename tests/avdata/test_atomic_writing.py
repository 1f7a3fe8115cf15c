"""Partial files: those of the dead are removed, those of the living stay."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from avdata import atomic_file, remove_partial_files

WRITER = """
import sys
from pathlib import Path
from avdata import atomic_file
with atomic_file(Path(sys.argv[1])) as file:
    file.write(b"whole")
    print(flush=True)
    sys.stdin.readline()
"""


def start_writer(path: Path) -> "subprocess.Popen[bytes]":
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    return writer


def test_files_in_use_stay_and_those_left_behind_go(tmp_path: Path) -> None:
    with start_writer(tmp_path / "living") as living:
        with start_writer(tmp_path / "dead") as dead:
            os.kill(dead.pid, signal.SIGKILL)
        assert len(list(tmp_path.iterdir())) == 2
        remove_partial_files(tmp_path)
        assert [path.name.partition(".")[0] for path in tmp_path.iterdir()] == ["living"]
        assert living.stdin is not None
        living.stdin.write(b"\n")
    assert (tmp_path / "living").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    try:
        with atomic_file(tmp_path / "name") as file:
            file.write(b"half")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert not list(tmp_path.iterdir())
