"""Trains and measures the runs of the study, several at a time, each in a process of its own."""

import contextlib
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import shlex
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from planned_runs import PlannedRun, recipe_settings

from avdata import available_cores
from avtrain.engine.device import DeviceName

TRIAL_STEPS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """How much the runs of a study see; kept in OUT/lengths.json."""

    clips: int
    """Of the set, a quarter of them for tests."""
    steps: int
    """Of a whole run."""

    @property
    def batch_size(self) -> int:
        return min(32, self.clips // 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One run to train and measure. Small and picklable."""

    name: str
    command: tuple[str, ...]
    """Arguments of `avtrain`."""
    run: Path
    clean: Path
    """Set that it is measured on."""
    trained_on: Path
    result: Path
    log: Path
    device: DeviceName


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What came out of a run."""

    command: str
    numbers: dict[str, float]
    training_seconds: float
    seconds: float
    """With its measurement."""
    device: str


def training_of(
    planned: PlannedRun, seed: int, *, out: Path, lengths: Lengths, device: DeviceName
) -> Training:
    """The run of a seed, under `out`."""
    name = f"{planned.name}-{seed}"
    settings = (
        *recipe_settings(planned.method),
        f"seed={seed}",
        f"schedule.max_steps={max(1, round(planned.share * lengths.steps))}",
        f"data.batch_size={lengths.batch_size}",
        "data.loader_threads=1",
        *planned.settings,
    )
    shards = out / "sets" / planned.shards
    run = out / "runs" / name
    command = ["fit", str(shards), "--method", planned.method, "--out", str(run)]
    command += ["--device", device]
    if planned.init:
        command += ["--init", str(out / "runs" / f"{planned.init}-{seed}")]
    return Training(
        name=name,
        command=(*command, *_set(settings)),
        run=run,
        clean=out / "sets" / "clean",
        trained_on=shards,
        result=out / "results" / f"{name}.json",
        log=out / "logs" / f"{name}.txt",
        device=device,
    )


def train_and_measure(training: Training) -> RunResult:
    """Train a run, or go on with it, measure it and write its result.

    Raises:
        RuntimeError: `avtrain` refused or failed; the text names its log.
    """
    from measures import measure_run

    started = time.monotonic()
    _avtrain(training.command, training.log)
    trained_s = time.monotonic() - started
    numbers = measure_run(training.run, training.clean, training.trained_on, device=training.device)
    result = RunResult(
        command=shlex.join(["avtrain", *training.command]),
        numbers=numbers,
        training_seconds=round(trained_s, 2),
        seconds=round(time.monotonic() - started, 2),
        device=_device_words(training.device),
    )
    training.result.parent.mkdir(parents=True, exist_ok=True)
    partial = training.result.with_suffix(".partial")
    partial.write_text(
        json.dumps({name: getattr(result, name) for name in RunResult.__slots__}, indent=1)
    )
    partial.rename(training.result)
    return result


def read_result(training: Training) -> RunResult | None:
    """Result of a run that is trained and measured; None of another one."""
    if not training.result.exists():
        return None
    return RunResult(**json.loads(training.result.read_text()))


def trial_steps_per_s(out: Path, number: int, device: DeviceName) -> float:
    """Steps a second of a short run of AVID, its start left out."""
    run = out / "trials" / f"{os.getpid()}-{number}"
    settings = (
        *recipe_settings("avid"),
        f"schedule.max_steps={TRIAL_STEPS}",
        "log.every_steps=10",
        "data.loader_threads=1",
    )
    command = ["fit", str(out / "sets" / "clean"), "--out", str(run), "--device", device]
    _avtrain((*command, *_set(settings)), out / "logs" / "trial.txt")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = lines[-1]["step"] - lines[0]["step"]
    return float(steps / (lines[-1]["seconds"] - lines[0]["seconds"]))


@contextlib.contextmanager
def training_processes(jobs: int) -> Iterator[Executor]:
    """Processes that each train one run at a time, on an equal share of the cores."""
    threads = max(1, available_cores() // jobs)
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(threads,),
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(num_threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.getLogger().setLevel(logging.INFO)
    import torch

    torch.set_num_threads(num_threads)


def _end_with_parent() -> None:
    """Wait for the end of the study's own process, whatever ends it; then end this one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _set(settings: tuple[str, ...]) -> list[str]:
    return [word for text in settings for word in ("--set", text)]


def _avtrain(command: tuple[str, ...], log: Path) -> None:
    """`avtrain` in this process, its messages in a file."""
    from avtrain.cli import main as avtrain

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, _messages_to(file):
        file.write(shlex.join(["avtrain", *command]) + "\n")
        try:
            avtrain(list(command), standalone_mode=False)
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"avtrain ended with {ended.code}; {log} says why") from None


@contextlib.contextmanager
def _messages_to(file: TextIO) -> Iterator[None]:
    handler, root = logging.StreamHandler(file), logging.getLogger()
    root.addHandler(handler)
    try:
        with contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
            yield
    finally:
        root.removeHandler(handler)


def _device_words(device: DeviceName) -> str:
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{available_cores()} CPU cores"
