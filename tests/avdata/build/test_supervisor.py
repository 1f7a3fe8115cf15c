"""A supervised worker process: whatever a clip does to it costs that clip, and nothing else."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avdata.build.job import BuildContext, ClipDone, ShardJob
from avdata.build.plan import make_plan
from avdata.build.process_memory import resident_bytes
from avdata.build.supervisor import Supervisor
from avdata.config import BuildConfig, build_settings
from avdata.errors import BuildError
from avdata.shards.sidecar import ShardReport, read_sidecar
from avdata.sources import MediaResolver, read_listing

FAULTS = Path(__file__).resolve().parents[2] / "faults"
SHARD = "shard-000000.tar"

Shard = tuple[ShardJob, BuildContext]
MakeShard = Callable[..., Shard]


@pytest.fixture
def make_shard(media: Path, tmp_path: Path) -> MakeShard:
    """`(names, settings) -> one shard`: good clips, and files of any other name that are none."""

    def make(names: list[str], *settings: str, out: str = "out", good: bool = False) -> Shard:
        folder = tmp_path / "media"
        folder.mkdir(exist_ok=True)
        for index, name in enumerate(names):
            if good or (media / name).exists():
                source = media / (name if (media / name).exists() else f"clip_{index:02d}.mp4")
                shutil.copy2(source, folder / name)  # its time is in the manifest
            else:
                (folder / name).write_text("this is no movie\n" * 100)
        listing = tmp_path / "listing.csv"
        listing.write_text("path\n" + "".join(f"{name}\n" for name in names))
        assignments = ["shards.clips_per_shard=100", "video.short_side_px=64", *settings]
        config = build_settings(BuildConfig, {}, assignments)
        plan = make_plan(read_listing(listing, "table"), config)
        (tmp_path / out).mkdir()
        context = BuildContext(
            config=config,
            out_dir=tmp_path / out,
            resolver=MediaResolver(folder, tmp_path),
            build_hash=plan.build_hash,
        )
        return ShardJob(plan=plan.shards[0]), context

    return make


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From now on files of certain names make the decoder of new processes misbehave."""
    monkeypatch.setenv("PYTHONPATH", str(FAULTS))
    monkeypatch.setenv("AV_FAULTS_SEEN", str(tmp_path))


def built(shard: Shard) -> list[ClipDone]:
    job, context = shard
    with Supervisor(context) as supervisor:
        return list(supervisor.build(job))


def result(shard: Shard) -> tuple[bytes, ShardReport]:
    directory = shard[1].out_dir
    report = read_sidecar(directory, SHARD)
    assert report is not None
    assert not list(directory.glob("*.partial*"))
    return (directory / SHARD).read_bytes(), report


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


def good(*indices: int) -> list[str]:
    return [f"clip_{index:02d}.mp4" for index in indices]


EXPECTED = {
    "segfault": ("crashed", "the worker process was ended by SIGSEGV; attempt 1 of limits."),
    "abort": ("crashed", "was ended by SIGABRT"),
    "killed": ("crashed", "was ended by SIGKILL"),
    "exit": ("crashed", "ended with status 7"),
    "spin": ("timeout", "not done after 6 s, which is limits.clip_timeout_s; attempt 1 of limits"),
    "hang": ("timeout", "limits.timeout_attempts=1"),
    "hang_with_gil": ("timeout", "limits.timeout_attempts=1"),
    "deaf_hang": ("timeout", "limits.timeout_attempts=1"),
    "eat_in_python": ("out_of_memory", "held more than limits.worker_memory_bytes=1000000000"),
    "eat_in_c": ("out_of_memory", "held more than limits.worker_memory_bytes=1000000000"),
    "ask_for_a_terabyte": ("out_of_memory", "an allocation was refused (MemoryError)"),
    "bug": ("unexpected", "KeyError: 'no such key'"),
    "chatter": ("not_media", "cannot be opened"),
}


@pytest.mark.slow
def test_each_fault_costs_one_clip_with_its_reason(make_shard: MakeShard, faults: None) -> None:
    names = good(0, 1)
    for kind in EXPECTED:
        names += [f"fault_{kind}.mp4", *good(len(names) % 22)]
    names = list(dict.fromkeys(names))
    settings = (
        "limits.clip_timeout_s=6",
        "limits.crash_attempts=1",
        "limits.worker_memory_bytes=1_000_000_000",
    )
    shard = make_shard(names, *settings)
    told = built(shard)
    assert [done.row_index for done in told] == list(range(len(names)))

    tar, report = result(shard)
    rejects = {str(row.key): row for row in report.rejects}
    assert {key: row.reason for key, row in rejects.items()} == {
        f"fault_{kind}": reason for kind, (reason, _) in EXPECTED.items()
    }
    for kind, (_, text) in EXPECTED.items():
        assert text in rejects[f"fault_{kind}"].message
    for kind in ("segfault", "abort", "spin", "hang", "hang_with_gil", "eat_in_c", "bug"):
        stack = rejects[f"fault_{kind}"].traceback
        assert stack is not None and "build_sample" in stack and "sitecustomize" in stack

    # without the faults the same files are merely no media: everything else is the same
    os.environ.pop("PYTHONPATH")
    calm = make_shard(names, *settings, out="calm")
    assert {done.reason for done in built(calm)} == {None, "not_media"}
    calm_tar, calm_report = result(calm)
    assert calm_tar == tar
    assert calm_report.rows == report.rows
    assert calm_report.logmel_sums == report.logmel_sums


@pytest.mark.slow
def test_a_clip_that_fails_once_is_stored_at_its_second_attempt(
    make_shard: MakeShard, faults: None
) -> None:
    names = ["fault_killed_once.mp4", *good(1), "fault_hang_once.mp4", *good(3)]
    attempts = ("limits.timeout_attempts=2", "limits.clip_timeout_s=2")
    shard = make_shard(names, *attempts, good=True)
    told = built(shard)
    assert told == [ClipDone(row_index=i, reason=None) for i in range(4)]
    assert (shard[1].out_dir.parent / "killed").exists()  # they did fail
    assert (shard[1].out_dir.parent / "hang").exists()
    calm = make_shard(names, *attempts, good=True, out="calm")
    built(calm)
    assert result(calm) == result(shard)


@pytest.mark.parametrize("loses_its_tar", [False, True])
def test_a_process_killed_from_outside_costs_nothing(
    loses_its_tar: bool, make_shard: MakeShard
) -> None:
    names = good(*range(8))
    shard = make_shard(names)
    told = []
    with Supervisor(shard[1]) as supervisor:
        pid = supervisor.start().pid
        for done in supervisor.build(shard[0]):
            told.append(done.row_index)
            if len(told) == 3:
                os.kill(pid, signal.SIGKILL)
                if loses_its_tar:
                    (partial,) = shard[1].out_dir.glob("*.partial*")
                    partial.unlink()
        assert supervisor.start().pid != pid
    assert told == list(range(8))
    calm = make_shard(names, out="calm")
    built(calm)
    assert result(calm) == result(shard)


def test_a_pipe_is_no_media(make_shard: MakeShard) -> None:
    shard = make_shard(good(0, 1, 2))
    assert shard[1].resolver.media_dir is not None
    path = shard[1].resolver.media_dir / "clip_01.mp4"
    path.unlink()
    os.mkfifo(path)
    assert [done.reason for done in built(shard)] == [None, "missing_file", None]
    (row,) = result(shard)[1].rejects
    assert "is a pipe, socket or device, not a regular file" in row.message


def test_a_shard_left_in_the_middle_leaves_nothing(make_shard: MakeShard) -> None:
    shard = make_shard(good(*range(8)))
    with Supervisor(shard[1]) as supervisor:
        pid = supervisor.start().pid
        rows = supervisor.build(shard[0])
        next(rows)
        rows.close()
        assert gone(pid)
        assert [done.row_index for done in supervisor.build(shard[0])] == list(range(8))
        assert supervisor.start().pid != pid
    assert read_sidecar(shard[1].out_dir, SHARD) is not None


def test_one_process_serves_many_shards(make_shard: MakeShard) -> None:
    first, second = make_shard(good(0, 1)), make_shard(good(2), out="second")
    with Supervisor(first[1]) as supervisor:
        pid = supervisor.start().pid
        list(supervisor.build(first[0]))
        list(supervisor.build(second[0]))
        assert supervisor.start().pid == pid
        held = resident_bytes(pid)
        assert held is not None and 20_000_000 < held < 1_000_000_000
    assert gone(pid)


def test_a_fault_of_the_disk_ends_the_build(make_shard: MakeShard) -> None:
    shard = make_shard(good(0))
    shard[1].out_dir.rmdir()
    shard[1].out_dir.touch()
    expected = r"building shard-000000.tar failed: (NotADirectory|FileExists)Error"
    with pytest.raises(BuildError, match=expected):
        built(shard)


def test_processes_that_do_not_start_end_the_build(
    make_shard: MakeShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.exit('a broken installation')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    expected = r"do not start \(the worker process ended with status 1: .*a broken installation\)"
    with pytest.raises(BuildError, match=expected):
        built(make_shard(good(0)))


DRIVER = """
import pickle, sys
from avdata.build.supervisor import Supervisor
job, context = pickle.load(open(sys.argv[1], "rb"))
with Supervisor(context) as supervisor:
    for done in supervisor.build(job):
        print(done.row_index, flush=True)
"""


@pytest.fixture
def driver(make_shard: MakeShard, faults: None, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that waits for a decoder which spins in C with the GIL held."""
    import pickle

    shard = make_shard([*good(0), "fault_spin.mp4"], "limits.clip_timeout_s=1000")
    (tmp_path / "shard.pickle").write_bytes(pickle.dumps(shard))
    program = [sys.executable, "-c", DRIVER, str(tmp_path / "shard.pickle")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans that hang")
def test_a_process_dies_with_its_supervisor(driver: subprocess.Popen[str]) -> None:
    assert driver.stdout is not None
    assert driver.stdout.readline() == "0\n"
    (child,) = children(driver.pid)
    time.sleep(0.3)  # into the clip that spins
    os.kill(driver.pid, signal.SIGKILL)
    wait_for(lambda: gone(child), within_s=5)
