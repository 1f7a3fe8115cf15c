"""Kills a build at seeded random moments, runs the same command again, and compares.

    python tests/faults/kill_and_resume.py --kills 30 --seed 0

What is killed, with SIGKILL: the driver, a decoding process, the Ray actor that supervises it, and
the Ray daemon of the machine. After a decoding process or an actor the same run goes on to its
end; after the others the next run does. In the end every shard has the sha256, and both tables
the rows, of a build that nobody disturbed, whatever the number of workers was in between; and no
process of any build is left (of Ray's own two agents a node only with --agents: they need a minute
to notice). Ends with status 1 where that does not hold.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from avdata.synthetic.movie import write_movie

TARGETS = {
    "driver": "--source",
    "decoding process": "avdata.build.child",
    "actor": "ray::_ShardBuilder",
    "Ray daemon": "raylet/raylet",
}
"""What the command line of each holds."""
SURVIVED = frozenset({"decoding process", "actor"})
"""The run that lost these goes on."""
SETTINGS = ["--set", "video.short_side_px=64", "--set", "shards.clips_per_shard=4"]
RUN_S = 180.0
LEFT_S = 150.0
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "dashboard/agent.py", "runtime_env/agent")
FAULTS = Path(__file__).resolve().parent
SLOW = {**os.environ, "PYTHONPATH": str(FAULTS)}
"""Decoders take a tenth of a second to open a file, so that there is time to kill them."""


def write_media(folder: Path, num_clips: int, *, name: str = "fault_slow") -> None:
    """Short noisy movies with a tone, and files that are none."""
    folder.mkdir(parents=True)
    for i in range(num_clips):
        rng = np.random.default_rng(i)
        pictures = rng.integers(0, 255, (25, 4, 6, 3), np.uint8)
        write_movie(
            folder / f"{name}-{i:03d}.mp4",
            frames=(np.kron(p, np.ones((16, 16, 1), np.uint8)) for p in pictures),
            frame_times_s=None,
            fps=Fraction(25),
            sound=(0.2 * np.sin(np.arange(16000) * 0.05 * (i % 50 + 1))).astype(np.float32)[
                :, None
            ],
            sample_rate_hz=16000,
        )
    for i in range(0, num_clips, 9):
        (folder / f"text-{i:03d}.mp4").write_text("this is no movie\n" * 100)


def command(media: Path, out: Path, workers: int) -> list[str]:
    code = "from avdata.cli import main; main()"
    arguments = ["build", "--source", str(media), "--out", str(out), "--workers", str(workers)]
    return [sys.executable, "-c", code, *arguments, *SETTINGS]


def fingerprint(out: Path) -> tuple[dict[str, str], list[object]]:
    """sha256 of every shard, and the rows of both tables."""
    shards = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.glob("*.tar")}
    tables = [pq.read_table(out / f"{n}.parquet").to_pylist() for n in ("manifest", "rejects")]
    return shards, tables


Process = tuple[int, str]
"""Its id and the time it was started: ids come again."""


def processes() -> dict[Process, tuple[int, str]]:
    """Parent and command line of all that live."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words[0] != "Z":
            found[int(folder.name), words[19]] = (int(words[1]), line)
    return found


def descendants(pid: int) -> dict[Process, str]:
    """Command lines of a process and all below it."""
    alive = processes()
    wanted, found = {pid}, {}
    while True:
        new = {p: line for p, (parent, line) in alive.items() if {p[0], parent} & wanted}
        if len(new) == len(found):
            return found
        found = new
        wanted |= {p[0] for p in new}


def wait_for(condition: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.03)
    return False


class Trial:
    """One set of media, one undisturbed build of it, and disturbed ones."""

    def __init__(self, media: Path, folder: Path, seed: int) -> None:
        self.media, self.folder = media, folder
        self.random = random.Random(seed)
        self.seen: set[Process] = set()
        calm = folder / "calm"
        subprocess.run(command(media, calm, 0), check=True, capture_output=True)
        self.expected = fingerprint(calm)
        self.num_sets = self.num_equal = 0
        self.out = folder / "set-0"

    def run(self, target: str | None) -> str:
        """Start or go on with a build and kill `target` in it; returns what came of it."""
        workers = self.random.choice([1, 2, 4])
        num_more, late_s = self.random.randint(0, 5), self.random.uniform(0, 0.3)
        with tempfile.TemporaryFile() as log:
            driver = subprocess.Popen(
                command(self.media, self.out, workers), stdout=log, stderr=log, env=SLOW
            )
            killed = False
            if target is not None:
                killed = self._kill(driver, target, num_more=num_more, late_s=late_s)
            try:
                status = driver.wait(RUN_S)
            except subprocess.TimeoutExpired:
                self.seen |= descendants(driver.pid).keys()
                driver.kill()
                raise SystemExit(f"the build hangs after {target} was killed") from None
            log.seek(0)
            said = log.read().decode(errors="replace")
        what = f"{workers} workers, {target if killed else 'nothing'} killed, status {status}"
        if status == 0:
            self._compare()
            what += ", equal"
        elif not killed or target in SURVIVED:
            raise SystemExit(f"{what}, but the build should have gone on:\n{said}")
        elif target != "driver" and (status != 2 or "run the same command again" not in said):
            raise SystemExit(f"{what}, and it did not say why:\n{said}")
        return what

    def _kill(
        self, driver: subprocess.Popen[bytes], target: str, *, num_more: int, late_s: float
    ) -> bool:
        def num_done() -> int:
            return len(list(self.out.glob("shard-*.json")))

        wanted = min(num_done() + num_more, len(self.expected[0]) - 2)

        def is_time() -> bool:
            return driver.poll() is not None or num_done() >= wanted

        wait_for(is_time, RUN_S)
        time.sleep(late_s)
        victims: list[int] = []

        def is_there() -> bool:
            family = descendants(driver.pid)
            self.seen |= family.keys()
            victims[:] = sorted(p[0] for p, line in family.items() if TARGETS[target] in line)
            return bool(victims) or driver.poll() is not None

        wait_for(is_there, RUN_S)
        if not victims or driver.poll() is not None:
            return False
        os.kill(driver.pid if target == "driver" else self.random.choice(victims), signal.SIGKILL)
        return True

    def _compare(self) -> None:
        if fingerprint(self.out) != self.expected:
            raise SystemExit(f"{self.out} is not {self.folder / 'calm'}")
        if left := list(self.out.glob("*.partial*")):
            raise SystemExit(f"left behind: {left}")
        self.num_sets += 1
        self.out = self.folder / f"set-{self.num_sets}"

    def check_that_none_is_left(self, *, agents: bool) -> None:
        """Wait for the end of all processes that any build has started."""
        if not agents:
            alive = processes()
            mine = (p for p in self.seen & alive.keys() if any(a in alive[p][1] for a in AGENTS))
            self.seen -= set(mine)
        if not wait_for(lambda: not self.seen & processes().keys(), LEFT_S):
            alive = processes()
            lines = [f"{p[0]} {alive[p][1]}" for p in self.seen & alive.keys()]
            raise SystemExit("processes left behind:\n" + "\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--agents", action="store_true", help="wait for Ray's own agents too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        media = folder / "made" / "media"
        write_media(media, options.clips)
        trial = Trial(media, folder, options.seed)
        targets = [list(TARGETS)[i % len(TARGETS)] for i in range(options.kills)]
        trial.random.shuffle(targets)
        number = 0
        while number < options.kills:
            what = trial.run(targets[number])
            number += "nothing killed" not in what  # it was quicker: once more
            print(f"{number}: {what}", flush=True)
        if trial.out.exists():
            print(f"then: {trial.run(None)}", flush=True)
        trial.check_that_none_is_left(agents=options.agents)
        print(f"{options.kills} kills, {trial.num_sets} sets equal, no process left")


if __name__ == "__main__":
    main()
