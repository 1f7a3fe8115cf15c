"""The learning study: do the papers' claims hold on clips with known classes and known noise?

    python pipelines/study/run.py --out out/study                       3 seeds
    python pipelines/study/run.py --out out/study --parts a --seeds 1   only claims on modes of AVID

Synthesizes clips, makes the sets with noise, trains every run of `planned_runs.py` with
`avtrain fit`, measures it, and writes OUT/study.md and OUT/study.json. The same command goes on
where it was stopped. Runs are ordinary ones under OUT/runs; OUT/results has their commands.
"""

import json
import time
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import asdict
from pathlib import Path

import click
from claim_table import claim_rows, markdown_table
from claims import CLAIMS
from planned_runs import EARLY, RECIPE, PlannedRun, runs_of_parts
from training import (
    TRIAL_STEPS,
    Lengths,
    RunResult,
    Training,
    read_result,
    train_and_measure,
    training_of,
    training_processes,
    trial_steps_per_s,
)

from avdata import available_cores
from avtrain.engine.device import DeviceName

SCENES = (
    "num_classes=12",
    "max_objects=1",
    "off_screen_probability=0",
    "silent_probability=0",
    "min_radius=0.18",
    "max_radius=0.25",
    "fps=16",
    "camera_motion=0.02",
    "background_variety=0",
    "sample_rate_hz=24000",
)
"""One large object a clip, of one of 12 classes by shape, texture and timbre. Sizes differ little,
so that the pitch, which follows the size, can hardly be seen. Backgrounds are alike: by one of its
own the video network knows a clip again, and learns nothing of its object."""
NUM_CLIPS, CLIP_S, SIZE_PX = 2000, 3, 64
SWAPPED, TWINS = 0.3, 0.5
STEPS = 2400
JOBS_OF_A_GPU = 6
LETTERS = "".join(sorted({claim.part for claim in CLAIMS}))

Key = tuple[str, int]
"""Name and seed of a run."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of everything.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--parts", default=LETTERS, show_default=True, help="Letters of claims to check.")
@click.option("--steps", type=click.IntRange(min=2), help=f"Of each run [default: {STEPS}].")
@click.option(
    "--minutes-per-run",
    type=click.FloatRange(min=0, min_open=True),
    help="As many steps as this machine makes in that time, in place of --steps.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=48),
    default=NUM_CLIPS,
    show_default=True,
    help="Of the set; a quarter of them is for tests.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time [default: one a core].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def main(
    out: Path,
    seeds: int,
    parts: str,
    steps: int | None,
    minutes_per_run: float | None,
    clips: int,
    jobs: int | None,
    device: DeviceName,
) -> None:
    """Train the runs of the study that are missing, and write its table."""
    if strange := sorted(set(parts) - set(LETTERS)):
        raise click.UsageError(f"--parts {parts}: there is no {', '.join(strange)}, but {LETTERS}")
    started = time.monotonic()
    jobs = jobs or (JOBS_OF_A_GPU if _has_cuda(device) else available_cores())
    lengths = _kept_lengths(out, clips, steps)
    _make_sets(out, clips)
    with training_processes(jobs) as pool:
        if lengths is None:
            if steps is None and minutes_per_run is not None:
                steps = _measured_steps(out, minutes_per_run, jobs, device, pool)
            steps = steps or STEPS
            lengths = Lengths(clips=clips, steps=steps)
            (out / "lengths.json").write_text(json.dumps(asdict(lengths)))
        runs = {
            (planned.name, seed): (
                planned,
                training_of(planned, seed, out=out, lengths=lengths, device=device),
            )
            for seed in range(seeds)
            for planned in runs_of_parts(parts)
        }
        results = _train_all(runs, pool, started)
    _report(out, parts, seeds, lengths, results)


def _kept_lengths(out: Path, clips: int, steps: int | None) -> Lengths | None:
    """What the study in `out` was started with; None where there is none."""
    path = out / "lengths.json"
    if not path.exists():
        return None
    kept = Lengths(**json.loads(path.read_text()))
    if kept.clips != clips or steps not in (None, kept.steps):
        raise click.UsageError(
            f"{out} holds a study of {kept.clips} clips and {kept.steps} steps a run, asked for "
            f"are {clips} clips and {steps or kept.steps} steps; give another --out"
        )
    return kept


def _make_sets(out: Path, clips: int) -> None:
    """Make the shard sets that are missing, under OUT/sets."""
    from avdata.cli import main as avdata

    media, sets = out / "media", out / "sets"
    clean, listing = sets / "clean", out / "media" / "listing.csv"
    scenes = [word for text in SCENES for word in ("--set", text)]
    synth = ["--clips", clips, "--size", SIZE_PX, "--duration", CLIP_S, "--test-fraction", 0.25]
    made_of: dict[Path, list[list[object]]] = {
        clean: [
            ["synth", media, *synth, *scenes],
            ["build", "--source", listing, "--recipe", RECIPE, "--out", clean],
        ],
        sets / "swapped": [["noise", clean, "--swap-audio", SWAPPED, "--out", sets / "swapped"]],
        sets / "twins": [["noise", clean, "--duplicate", TWINS, "--out", sets / "twins"]],
    }
    for folder, commands in made_of.items():
        for command in commands if not (folder / "dataset.json").exists() else ():
            words = [str(word) for word in command]
            click.echo(f"avdata {' '.join(words)}", err=True)
            avdata(words, standalone_mode=False)


def _measured_steps(
    out: Path, minutes: float, jobs: int, device: DeviceName, pool: Executor
) -> int:
    """Steps that the slowest of `jobs` runs side by side makes in that time."""
    click.echo(f"trial: {TRIAL_STEPS} steps in each of {jobs} processes", err=True)
    trials = [pool.submit(trial_steps_per_s, out, number, device) for number in range(jobs)]
    return max(2, round(60 * minutes * min(trial.result() for trial in trials)))


def _train_all(
    runs: dict[Key, tuple[PlannedRun, Training]], pool: Executor, started: float
) -> dict[Key, RunResult]:
    """Results of all runs; a run comes after the one that it starts from."""
    found = {key: read_result(training) for key, (_, training) in runs.items()}
    results = {key: result for key, result in found.items() if result is not None}
    waiting = [key for key in runs if key not in results]
    under_way: dict[Future[RunResult], Key] = {}
    while waiting or under_way:
        for key in list(waiting):
            planned, training = runs[key]
            if planned.init is None or (planned.init, key[1]) in results:
                under_way[pool.submit(train_and_measure, training)] = key
                waiting.remove(key)
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            key = under_way.pop(future)
            results[key] = future.result()
            seconds, numbers = results[key].seconds, results[key].numbers
            click.echo(
                f"{len(results)}/{len(runs)} {key[0]}, seed {key[1]}: {seconds:.0f} s, probe "
                f"video {numbers['probe/video']:.1%}, audio {numbers['probe/audio']:.1%}  "
                f"({(time.monotonic() - started) / 60:.1f} min)",
                err=True,
            )
    return {key: results[key] for key in runs}


def _report(
    out: Path, parts: str, seeds: int, lengths: Lengths, results: dict[Key, RunResult]
) -> None:
    rows = claim_rows({key: result.numbers for key, result in results.items()}, CLAIMS, parts)
    first = next(iter(results.values()))
    minutes = sum(result.seconds for result in results.values()) / 60
    text = (
        f"{lengths.clips} clips, {lengths.steps} steps a run ({EARLY:.0%} of them in part b), "
        f"{seeds} seeds, {len(results)} runs of together {minutes:.1f} "
        f"minutes on {first.device}. Chance: classes {first.numbers['chance/class']:.1%}, "
        f"retrieval {first.numbers['chance/retrieval']:.1%}.\n\n{markdown_table(rows)}\n"
    )
    (out / "study.md").write_text(text)
    report = {
        "lengths": asdict(lengths),
        "runs": {f"{name}-{seed}": asdict(result) for (name, seed), result in results.items()},
        "claims": [asdict(row) for row in rows],
    }
    (out / "study.json").write_text(json.dumps(report, indent=1))
    click.echo(f"{text}\n-> {out / 'study.md'}")


def _has_cuda(device: DeviceName) -> bool:
    import torch

    return device != "cpu" and torch.cuda.is_available()


if __name__ == "__main__":
    main()
