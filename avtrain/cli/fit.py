"""`avtrain fit`: a shard set -> a run."""

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata import PathOrUrl

if TYPE_CHECKING:
    from avtrain.data.samples import SampleStore
    from avtrain.engine.config import FitConfig
    from avtrain.engine.device import DeviceName
    from avtrain.engine.fit import FitResult
    from avtrain.engine.journal import LogLine


@click.command()
@click.argument("shards", type=PathOrUrl(), nargs=-1, required=True)
@click.option(
    "--mix",
    metavar="W,W,...",
    help="Share of each of several SHARDS in an epoch, as in --mix 2,1 [default: equal].",
)
@click.option(
    "--method",
    type=click.Choice(["avid", "cma", "robust-xid", "sync", "separation"]),
    help="What to train [default: avid].",
)
@click.option("--recipe", type=click.Path(path_type=Path), help="TOML file with a [fit] table.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="One setting, as in --set data.batch_size=64 (repeatable).",
)
@click.option(
    "--where",
    metavar="CONDITION",
    help='Train on samples whose manifest row meets it, as in "silence_fraction < 0.9" '
    "(short for --set data.where=).",
)
@click.option("--split", help="Train on these samples (short for --set data.split=).")
@click.option(
    "--init",
    metavar="FOLDER",
    help="Start from the weights of a run, or of what `avtrain export` or `import` wrote "
    "(short for --set init=).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run [default: runs/SHARDS-METHOD].",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option(
    "--resume", is_flag=True, help="Go on with the run in --out from its last checkpoint."
)
@click.option(
    "--profile", is_flag=True, help="Record a few steps: a trace in RUN/profile, and a table."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def fit(
    shards: tuple[Path | str, ...],
    mix: str | None,
    method: str | None,
    recipe: Path | None,
    assignments: tuple[str, ...],
    where: str | None,
    split: str | None,
    init: str | None,
    out: Path | None,
    device: "DeviceName",
    resume: bool,
    profile: bool,
    as_json: bool,
) -> None:
    """Train a method on the shard set SHARDS, or on several, mixed by weight.

    The same command again goes on with the run in --out from its last checkpoint. Ctrl-C and
    SIGTERM finish the step, save a checkpoint and end; a second one ends at once. With --resume
    the settings are those of the run, unless a recipe is given; lengths of the schedule may change.

    Several GPUs or machines: torchrun --nproc-per-node 8 -m avtrain fit SHARDS ...
    """
    from avdata import build_settings, read_recipe
    from avtrain.data.shard_mix import open_shard_mix, parse_weights
    from avtrain.engine.config import FitConfig
    from avtrain.engine.fit import fit as run_fit
    from avtrain.engine.ranks import join_ranks, together
    from avtrain.engine.run_folder import read_run
    from avtrain.objectives.across_ranks import rank

    short = {"method": method, "data.where": where, "data.split": split, "init": init}
    chosen = tuple(
        f"{path}={json.dumps(value)}" for path, value in short.items() if value is not None
    )

    def read() -> tuple["SampleStore", Path, "FitConfig"]:
        shard_set = open_shard_mix(shards, parse_weights(mix))
        name = "+".join(Path(str(each)).resolve().name for each in shards)
        table, settings = read_recipe(recipe, "fit"), (*assignments, *chosen)
        folder = out
        if folder is None:  # the method may stand in the recipe or in a setting
            folder = Path("runs") / f"{name}-{build_settings(FitConfig, table, settings).method}"
        if resume and recipe is None:
            table = read_run(folder).config.model_dump(mode="json")
        return shard_set, folder, build_settings(FitConfig, table, settings)

    with join_ranks(device) as this_device:
        shard_set, folder, config = together(read)
        is_first = rank() == 0
        with _Progress() if is_first else _NoProgress() as progress:
            result = run_fit(
                shard_set,
                config,
                run=folder,
                resume=resume,
                device=this_device,
                progress=progress,
                notify=partial(click.echo, err=True) if is_first else _say_nothing,
                profile=profile,
            )
    if is_first:
        _report(result, shards, folder, config.method, as_json)
    if result.session.signal_number is not None:
        sys.exit(128 + result.session.signal_number)


class _Progress:
    """A bar with loss, samples/s and the share of time that steps waited for data.

    Where stderr is no terminal, a line now and then takes its place.
    """

    _SILENT_S = 10.0

    def __init__(self) -> None:
        from tqdm import tqdm

        self._tqdm = tqdm
        self._bar: tqdm | None = None
        self._written_s = float("-inf")
        self._has_advised = False

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def started(self, step: int, num_steps: int) -> None:
        if sys.stderr.isatty():
            self._bar = self._tqdm(
                total=num_steps, initial=step, unit="step", smoothing=0.05, dynamic_ncols=True
            )

    def stepped(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update()

    def logged(self, line: "LogLine") -> None:
        text = (
            f"loss {line.loss:.4f}, {line.samples_per_s:.1f} samples/s, "
            f"{line.data_wait:.0%} waiting for data"
        )
        if line.num_skipped:
            text += f", {line.num_skipped} clips left out"
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        elif line.seconds - self._written_s >= self._SILENT_S:
            self._written_s = line.seconds
            click.echo(f"step {line.step}, epoch {line.epoch}: {text}", err=True)
        self._advise(line.advice)

    def _advise(self, advice: str | None) -> None:
        """Say it once: the log has it line by line, and the end of the run repeats it."""
        if advice is None or self._has_advised:
            return
        self._has_advised = True
        (click.echo if self._bar is None else self._tqdm.write)(advice, file=sys.stderr)


class _NoProgress:
    """What ranks but the first show."""

    def __enter__(self) -> "_NoProgress":
        return self

    def __exit__(self, *error: object) -> None: ...

    def started(self, step: int, num_steps: int) -> None: ...

    def stepped(self, step: int) -> None: ...

    def logged(self, line: "LogLine") -> None: ...


def _say_nothing(text: str) -> None: ...


def _report(
    result: "FitResult", shards: tuple[Path | str, ...], out: Path, method: str, as_json: bool
) -> None:
    session = result.session
    task = method if method in ("sync", "separation") else "retrieval"
    resume = shlex.join(["avtrain", "fit", *map(str, shards), "--out", str(out), "--resume"])
    evaluate = shlex.join(["avtrain", "eval", str(out), str(shards[0]), "--task", task])
    ended = {
        "finished": f"finished {result.step} steps ({result.epochs:.2f} epochs)",
        "max_minutes": f"stopped by schedule.max_minutes after step {result.step}",
        "stopped": f"stopped after step {result.step} of {result.num_steps}",
    }[session.reason]
    click.echo(f"{ended}; the run is in {out}", err=True)
    if session.advice is not None:
        click.echo(f"speed:    {session.advice}", err=True)
    if result.num_skipped:
        click.echo(
            f"left out: {result.num_skipped} clips that cannot be read; `avdata verify "
            f"{shards[0]}` names them",
            err=True,
        )
    if session.reason != "finished":
        click.echo(f"go on:    the same command again, or {resume}", err=True)
    click.echo(f"evaluate: {evaluate}", err=True)
    if as_json:
        facts = {
            "run": str(out),
            "ended": session.reason,
            "steps": result.step,
            "epochs": result.epochs,
            "loss": session.loss,
            "samples_per_s": result.samples_per_s,
            "data_wait": result.data_wait,
            "skipped": result.num_skipped,
            "seconds": session.seconds,
        }
        print(json.dumps(facts))
