"""The study of the multisensory network: sync, where the sound is, separation, recognition.

    python pipelines/study/multisensory.py --out out/multisensory             3 seeds
    python pipelines/study/multisensory.py --out ... --parts ab --seeds 1 --grid TRAIN TEST
    python pipelines/study/multisensory.py --out ... --grid TRAIN TEST --sounds ESC10

Synthesizes scenes with known answers, cuts out the mouths of GRID's speaker where --grid gives the
two folders, trains every run of `multisensory_runs.py` with `avtrain fit`, measures it with
`avtrain eval`, and writes OUT/study.md and OUT/study.json. The same command goes on where it was
stopped. OUT/results has the commands of every run.
"""

import json
import shlex
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from claim_table import claim_rows, markdown_table
from logged_command import run_logged
from multisensory_claims import CLAIMS
from multisensory_runs import Measurement, PlannedRun, runs_of_parts
from multisensory_sets import GivenData, make_set

from avdata import atomic_file, available_cores

LETTERS = "".join(sorted({claim.part for claim in CLAIMS}))
SPEECH_PARTS = "bdef"
"""That need GRID."""
SOUND_PARTS = "f"
"""That need ESC-10 too."""

Key = tuple[str, int]
"""Name and seed of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What came out of a run."""

    commands: tuple[str, ...]
    numbers: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Where it is made, and how."""

    out: Path
    steps: int | None
    device: str
    num_threads: int
    """Of each process."""

    def avtrain(self, *words: object, log: Path) -> str:
        """Standard output of a command.

        Raises:
            ClickException: It failed; the text names its log.
        """
        return run_logged("avtrain", words, log=log, num_threads=self.num_threads)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of everything.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--parts", help=f"Letters of claims to check [default: {LETTERS}, as data is there].")
@click.option(
    "--grid",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    nargs=2,
    help="Folders of GRID's training and test sentences, each with a labels.csv.",
)
@click.option(
    "--sounds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of ESC-10, with its labels.csv: columns file, fold, category.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Of each training, in place of its own.")
@click.option("--clips", type=click.IntRange(min=24), help="Of each set, in place of its own.")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time [default: one a core].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(
    out: Path,
    seeds: int,
    parts: str | None,
    grid: tuple[Path, Path] | None,
    sounds: Path | None,
    steps: int | None,
    clips: int | None,
    jobs: int | None,
    device: str,
) -> None:
    """Train the runs of the study that are missing, and write its table."""
    if strange := sorted(set(parts or "") - set(LETTERS)):
        raise click.UsageError(f"--parts {parts}: there is no {', '.join(strange)}, but {LETTERS}")
    if parts is None:
        missing = ("" if grid else SPEECH_PARTS) + ("" if sounds else SOUND_PARTS)
        parts = "".join(letter for letter in LETTERS if letter not in missing)
    if not grid and set(parts) & set(SPEECH_PARTS):
        raise click.UsageError(f"--parts {parts}: speech needs --grid TRAIN TEST")
    if not sounds and set(parts) & set(SOUND_PARTS):
        raise click.UsageError(f"--parts {parts}: sounds without pictures need --sounds FOLDER")
    out = out.resolve()
    _keep_form(out, steps=steps, clips=clips)
    jobs = jobs or available_cores()
    study = Study(
        out=out, steps=steps, device=device, num_threads=max(1, available_cores() // jobs)
    )
    planned = runs_of_parts(parts)
    names = dict.fromkeys(run.shards for run in planned)
    if set(parts) & set(SOUND_PARTS):
        names["sounds"] = None
    for name in names:
        make_set(out, name, GivenData(grid=grid, sounds=sounds), clips=clips)
    runs = {(run.name, seed): run for seed in range(seeds) for run in planned}
    results = _make_all(study, runs, jobs)
    _report(out, parts, seeds, results)


def _keep_form(out: Path, *, steps: int | None, clips: int | None) -> None:
    """Refuse to go on with a study of other lengths."""
    path, form = out / "form.json", {"steps": steps, "clips": clips}
    if path.exists() and (kept := json.loads(path.read_text())) != form:
        raise click.UsageError(f"{out} holds a study of {kept}, asked for is {form}; give another")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(form))


def _make_all(study: Study, runs: dict[Key, PlannedRun], jobs: int) -> dict[Key, RunResult]:
    """Results of all runs; one that measures another run comes after it."""
    started = time.monotonic()
    found = {key: _read_result(study.out, key) for key in runs}
    results = {key: result for key, result in found.items() if result is not None}
    waiting = [key for key in runs if key not in results]
    under_way: dict[Future[RunResult], Key] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or under_way:
                for key in list(waiting):
                    other = runs[key].run_of
                    if other is None or (other, key[1]) in results:
                        under_way[pool.submit(_make, study, runs[key], key[1])] = key
                        waiting.remove(key)
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    key = under_way.pop(future)
                    results[key] = future.result()
                    click.echo(
                        f"{len(results)}/{len(runs)} {key[0]}, seed {key[1]}: "
                        f"{results[key].seconds:.0f} s  "
                        f"({(time.monotonic() - started) / 60:.1f} min)",
                        err=True,
                    )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {key: results[key] for key in runs}


def _make(study: Study, planned: PlannedRun, seed: int) -> RunResult:
    """Train a run, or go on with it, measure it and write its result."""
    started, key = time.monotonic(), (planned.name, seed)
    log = study.out / "logs" / f"{planned.name}-{seed}.txt"
    shards = study.out / "sets" / planned.shards
    run = study.out / "runs" / f"{planned.run_of or planned.name}-{seed}"
    common = ("--recipe", planned.recipe, "--device", study.device)
    commands: list[tuple[object, ...]] = []
    if planned.run_of is None:
        settings = [f"seed={seed}", "data.loader_threads=1", "log.tensorboard=false"]
        if study.steps is not None:
            settings.append(f"schedule.max_steps={study.steps}")
        settings += [_with_sets(text, study) for text in planned.settings]
        sets = [word for text in settings for word in ("--set", text)]
        commands.append(("fit", shards, "--out", run, *common, *sets))
        study.avtrain(*commands[-1], log=log)
    numbers: dict[str, float] = {}
    for measured in planned.measured:
        commands.append(_eval_words(study, planned, measured, run=run, shards=shards, seed=seed))
        for line in study.avtrain(*commands[-1], log=log).splitlines():
            found = json.loads(line)
            for name, value in found["metrics"].items():
                numbers[f"{found['task']}/{name}"] = value
            for name, value in found["chance"].items():
                numbers[f"{found['task']}/{name}|chance"] = value
    result = RunResult(
        commands=tuple(shlex.join(["avtrain", *map(str, words)]) for words in commands),
        numbers=numbers,
        seconds=round(time.monotonic() - started, 1),
    )
    path = _result_path(study.out, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(json.dumps(asdict(result), indent=1).encode())
    return result


def _eval_words(
    study: Study, planned: PlannedRun, measured: Measurement, *, run: Path, shards: Path, seed: int
) -> tuple[object, ...]:
    words: tuple[object, ...] = ("eval", run, shards, "--task", measured.task, "--json")
    words += ("--recipe", planned.recipe, "--device", study.device, "--set", f"seed={seed}")
    words += ("--loader-threads", 1, "--no-cache")
    words += tuple(_with_sets(word, study) for word in measured.options)
    if measured.needs_boxes:
        words += ("--boxes", study.out / "media" / planned.shards / "ground_truth.jsonl")
    return words


def _with_sets(text: str, study: Study) -> str:
    return text.replace("{sets}", str(study.out / "sets"))


def _result_path(out: Path, key: Key) -> Path:
    return out / "results" / f"{key[0]}-{key[1]}.json"


def _read_result(out: Path, key: Key) -> RunResult | None:
    path = _result_path(out, key)
    return RunResult(**json.loads(path.read_text())) if path.exists() else None


def _report(out: Path, parts: str, seeds: int, results: dict[Key, RunResult]) -> None:
    rows = claim_rows({key: result.numbers for key, result in results.items()}, CLAIMS, parts)
    minutes = sum(result.seconds for result in results.values()) / 60
    text = (
        f"{seeds} seeds, {len(results)} runs of together {minutes:.1f} minutes.\n\n"
        f"{markdown_table(rows)}\n"
    )
    (out / "study.md").write_text(text)
    report = {
        "runs": {f"{name}-{seed}": asdict(result) for (name, seed), result in results.items()},
        "claims": [asdict(row) for row in rows],
    }
    (out / "study.json").write_text(json.dumps(report, indent=1))
    click.echo(f"{text}\n-> {out / 'study.md'}")


if __name__ == "__main__":
    main()
