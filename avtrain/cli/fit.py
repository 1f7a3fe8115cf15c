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
    from avtrain.engine.config import FitConfig
    from avtrain.engine.device import DeviceName
    from avtrain.engine.fit import FitResult
    from avtrain.engine.journal import LogLine


@click.command()
@click.argument("shards", type=PathOrUrl())
@click.option("--method", type=click.Choice(["avid"]), help="What to train [default: avid].")
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def fit(
    shards: Path | str,
    method: str | None,
    recipe: Path | None,
    assignments: tuple[str, ...],
    where: str | None,
    out: Path | None,
    device: "DeviceName",
    resume: bool,
    as_json: bool,
) -> None:
    """Train a method on the shard set SHARDS.

    Ctrl-C finishes the step, saves a checkpoint and ends; a second one ends at once. With --resume
    the settings are those of the run, unless a recipe is given; lengths of the schedule may change.
    """
    from avdata import ShardSet, build_settings, read_recipe
    from avtrain.engine.config import FitConfig
    from avtrain.engine.device import choose_device
    from avtrain.engine.fit import fit as run_fit
    from avtrain.engine.run_folder import read_run

    shard_set = ShardSet(shards)
    chosen = (f"method={method}",) if method else ()
    if out is None:
        name = Path(shard_set.location.url).resolve().name
        out = Path("runs") / f"{name}-{method or 'avid'}"
    table = read_recipe(recipe, "fit")
    if resume and recipe is None:
        table = read_run(out).config.model_dump(mode="json")
    if where is not None:
        chosen = (*chosen, f"data.where={json.dumps(where)}")
    config = build_settings(FitConfig, table, (*chosen, *assignments))
    with _Progress(config) as progress:
        result = run_fit(
            shard_set,
            config,
            run=out,
            resume=resume,
            device=choose_device(device),
            progress=progress,
            notify=partial(click.echo, err=True),
        )
    _report(result, shards, out, as_json)
    if result.signal_number is not None:
        sys.exit(128 + result.signal_number)


class _Progress:
    """A bar with loss, samples/s and the share of time that steps waited for data.

    Where stderr is no terminal, a line now and then takes its place.
    """

    _SILENT_S = 10.0

    def __init__(self, config: "FitConfig") -> None:
        from tqdm import tqdm

        self._tqdm, self._batch_size = tqdm, config.data.batch_size
        self._bar: tqdm | None = None
        self._written_s = float("-inf")

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
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        elif line.seconds - self._written_s >= self._SILENT_S:
            self._written_s = line.seconds
            click.echo(f"step {line.step}, epoch {line.epoch}: {text}", err=True)


def _report(result: "FitResult", shards: Path | str, out: Path, as_json: bool) -> None:
    session = result.session
    resume = shlex.join(["avtrain", "fit", str(shards), "--out", str(out), "--resume"])
    evaluate = shlex.join(["avtrain", "eval", str(out), str(shards), "--task", "retrieval"])
    ended = {
        "finished": f"finished {result.step} steps ({result.epochs:.2f} epochs)",
        "max_minutes": f"stopped by schedule.max_minutes after step {result.step}",
        "stopped": f"stopped after step {result.step} of {result.num_steps}",
    }[session.reason]
    click.echo(f"{ended}; the run is in {out}", err=True)
    if session.reason != "finished":
        click.echo(f"go on:    {resume}", err=True)
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
            "seconds": session.seconds,
        }
        print(json.dumps(facts))
