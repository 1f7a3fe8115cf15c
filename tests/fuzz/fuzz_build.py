"""Build damaged copies of real media, and check that every one is accounted for.

    python tests/fuzz/fuzz_build.py SOURCES [--count 2000] [--seed 0] [--workers 2] [--work DIR]

Takes the 20 smallest media files of SOURCES that have sound and pictures, damages them `--count`
times (a function of the seed
alone), builds all with `avdata build`, and checks: every listed file is one row of the manifest or
of the rejects, `avdata verify` finds nothing, no process is left, and the driver's memory did not
grow. Prints one JSON object; ends with 1 when a check fails.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import av
import pyarrow.parquet as pq
from mutation import mutation

NUM_FILES = 20
SUFFIXES = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts", ".ogv", ".wmv", ".3gp", ".mpg", ".mpeg"}
AVDATA = (sys.executable, "-c", "from avdata.cli import main; main()")
MAX_GROWTH_BYTES = 150_000_000


def smallest_media(folder: Path) -> list[Path]:
    """The smallest media files below `folder` that have sound and pictures and are not tiny."""
    found = [p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.stat().st_size > 10_000]
    found.sort(key=lambda p: (p.stat().st_size, p.name))
    return list(itertools.islice(filter(has_sound_and_pictures, found), NUM_FILES))


def has_sound_and_pictures(path: Path) -> bool:
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio and container.streams.video)
    except (av.FFmpegError, OSError):
        return False


def write_mutations(sources: list[Path], media: Path, *, count: int, seed: int) -> Path:
    """The damaged files, and a listing of them."""
    media.mkdir(parents=True, exist_ok=True)
    originals = [path.read_bytes() for path in sources]
    lines = ["path"]
    for number in range(count):
        which, data = mutation(originals, seed=seed, number=number)
        name = f"{number:05d}_{sources[which].name}"
        (media / name).write_bytes(data)
        lines.append(name)
    listing = media / "listing.csv"
    listing.write_text("\n".join(lines) + "\n")
    return listing


class Watch(threading.Thread):
    """Memory of the driver over time, and every process that came from it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._ended = pid, threading.Event()
        self.driver_bytes: list[int] = []
        self.descendants: dict[int, int] = {}
        """Process and the time it started at, which tells it from a later one of its number."""

    def run(self) -> None:
        while not self._ended.wait(0.25):
            if (size := resident_bytes(self._pid)) is not None:
                self.driver_bytes.append(size)
            for pid in descendants(self._pid):
                if (started := start_time(pid)) is not None:
                    self.descendants.setdefault(pid, started)

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def left(self) -> list[int]:
        """Processes that are still there."""
        return [pid for pid, started in self.descendants.items() if start_time(pid) == started]


def resident_bytes(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def start_time(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None or fields[0] == "Z" else int(fields[19])


def descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    open_pids = [root]
    while open_pids:
        for child in children.get(open_pids.pop(), []):
            if child not in found:
                found.add(child)
                open_pids.append(child)
    return found


def fuzz(sources: Path, work: Path, *, count: int, seed: int, workers: int) -> dict[str, object]:
    """Build and check; the facts that `main` prints."""
    files = smallest_media(sources)
    assert len(files) == NUM_FILES, f"{sources} has {len(files)} media files, {NUM_FILES} needed"
    listing = write_mutations(files, work / "media", count=count, seed=seed)
    out = work / "set"
    settings = ["--set", "video.short_side_px=64", "--set", "limits.clip_timeout_s=60"]
    command = [
        "build",
        "--source",
        listing,
        "--out",
        out,
        "--workers",
        workers,
        "--json",
        *settings,
    ]
    started = time.monotonic()
    driver = subprocess.Popen(
        [*AVDATA, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watch = Watch(driver.pid)
    watch.start()
    stdout, stderr = driver.communicate()
    seconds = time.monotonic() - started
    time.sleep(2)
    watch.stop()
    assert stdout.strip(), f"the build ended with {driver.returncode}: {stderr[-2000:]}"
    summary = json.loads(stdout.strip().splitlines()[-1])
    manifest = pq.read_table(out / "manifest.parquet", columns=["row_index"])
    rejects = pq.read_table(out / "rejects.parquet").to_pylist()
    rows = [*manifest["row_index"].to_pylist(), *(r["row_index"] for r in rejects)]
    verify = subprocess.run([*AVDATA, "verify", str(out)], capture_output=True, text=True)
    quarter = len(watch.driver_bytes) // 4
    growth = max(watch.driver_bytes[-quarter:]) - max(watch.driver_bytes[quarter : 2 * quarter])
    unexpected = [r["traceback"] for r in rejects if r["reason"] == "unexpected"]
    return {
        "exit_code": driver.returncode,
        "listed": summary["listed"],
        "ok": summary["ok"],
        "rejected": summary["rejected"],
        "reasons": dict(Counter(r["reason"] for r in rejects).most_common()),
        "seconds": round(seconds, 1),
        "every_file_has_one_row": sorted(rows) == list(range(count)),
        "verify_exit_code": verify.returncode,
        "processes_left": watch.left(),
        "driver_growth_bytes": growth,
        "driver_peak_bytes": max(watch.driver_bytes),
        "unexpected": unexpected[:3],
        "passed": sorted(rows) == list(range(count))
        and driver.returncode == 0
        and verify.returncode == 0
        and not watch.left()
        and growth < MAX_GROWTH_BYTES,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, help="keep the damaged files and the set here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or Path(folder)
        facts = fuzz(args.sources, work, count=args.count, seed=args.seed, workers=args.workers)
    print(json.dumps(facts, indent=1))
    sys.exit(not facts["passed"])


if __name__ == "__main__":
    main()
