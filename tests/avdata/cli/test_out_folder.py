"""A folder that cannot be made ends every command that writes one with one line and exit code 2."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]

COMMANDS = ("build", "index", "derive", "noise", "synth")


def words(command: str, out: Path, *, listing: Path, built: Path) -> list[object]:
    return {
        "build": ["build", "--source", listing, "--workers", 0, "--out", out],
        "index": ["index", built, "--out", out],
        "derive": ["derive", built, "--set", "logmel.num_mels=64", "--out", out],
        "noise": ["noise", built, "--swap-audio", 0.5, "--out", out],
        "synth": ["synth", out, "--clips", 1],
    }[command]


def refused(result: Result, folder: Path, reason: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    told = [line for line in result.stderr.splitlines() if line and "%|" not in line]
    assert told == [
        f"main: error: folder {str(folder)!r} {reason}; name a folder that can be written"
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_is_in_the_way(
    command: str, run: Run, listing: Path, built: Path, tmp_path: Path
) -> None:
    if command == "index":  # takes tars of others
        (built / "build.json").unlink()
    file = tmp_path / "file"
    file.write_text("not a folder")
    below = file / "set"
    result = run(*words(command, below, listing=listing, built=built))
    refused(result, below, f"cannot be made: {file} is a file, not a folder")
    if command != "synth":  # click tells that of an argument
        result = run(*words(command, file, listing=listing, built=built))
        refused(result, file, "is a file, not a folder")
    assert file.read_text() == "not a folder"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody can make a folder")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_system_refuses(command: str, run: Run, listing: Path, built: Path) -> None:
    out = Path("/proc/set_of_a_test")
    result = run(*words(command, out, listing=listing, built=built))
    refused(result, out, "cannot be made: No such file or directory")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody can write")
def test_a_folder_that_is_there_and_cannot_be_written(run: Run, listing: Path) -> None:
    folder = Path("/proc/self/task")
    result = run("build", "--source", listing, "--workers", 0, "--out", folder)
    refused(result, folder, "is a folder that cannot be written (No such file or directory)")
