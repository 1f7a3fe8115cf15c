"""`avtrain eval`: a run and a shard set -> numbers."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata import PathOrUrl

if TYPE_CHECKING:
    from avdata import ShardSet
    from avtrain.engine.device import DeviceName
    from avtrain.evaluate.load import EvaluatedNetworks
    from avtrain.evaluate.result import EvalResult, TaskName
    from avtrain.evaluate.tasks import EvalOptions
    from avtrain.methods import Modality

TASKS = (
    "retrieval",
    "knn",
    "probe",
    "fewshot",
    "linear",
    "svm",
    "finetune",
    "sync",
    "separation",
    "localization",
)


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("shards", type=PathOrUrl(), nargs=-1, metavar="SHARDS...")
@click.option(
    "--task",
    "tasks",
    type=click.Choice(TASKS),
    multiple=True,
    help="What to measure; may be given several times. Pooled frozen features: knn, probe (convex, "
    "every layer), fewshot, retrieval (across and within modalities). Published protocols: linear "
    "(Kinetics), svm (ESC-50, DCASE), finetune (UCF-101, HMDB-51). Of what is seen and heard "
    "together: sync (runs of sync), separation (runs of separation), localization (both kinds of "
    "runs with maps: sync, and methods over pairs; needs --boxes).",
)
@click.option("--show", is_flag=True, help="Print all results of RUN, and of further runs.")
@click.option("--markdown", is_flag=True, help="With --show: as a markdown table.")
@click.option("--split", help="Samples to measure on [default: test; retrieval: else all].")
@click.option(
    "--train-split", default="train", show_default=True, help="Labeled samples to learn from."
)
@click.option(
    "--folds",
    metavar="NAME,NAME",
    help="Splits of which each is tested once while the others train; the result is their mean "
    "[default: fold1, fold2 ... of a set that has just these].",
)
@click.option(
    "--where",
    metavar="CONDITION",
    help='Leave out samples whose manifest row does not meet it, as in "silence_fraction < 0.9".',
)
@click.option(
    "--encoder",
    type=click.Choice(["video", "audio"]),
    help="Which network; retrieval takes both [default: video; audio for a set without frames].",
)
@click.option(
    "--boxes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --task localization: boxes around what sounds; CSV (key,time_s,x0,y0,x1,y1 in "
    "shares of the picture), JSON, VGG-SS's own, or the ground_truth.jsonl of `avdata synth`.",
)
@click.option("--random", "is_random", is_flag=True, help="With untrained weights: a baseline.")
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    help="Evenly spaced windows of a sample, averaged [default: 5].",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="TOML file whose [eval] table holds settings.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PATH=VALUE",
    help="One setting, as in linear.epochs=3 or finetune.preset=hmdb51-32f.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Samples at a time where features are computed.",
)
@click.option("--loader-threads", type=click.IntRange(min=1), help="[default: one a core]")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep features in RUN/features.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a task, a line each.")
def evaluate(
    run: Path,
    shards: tuple[Path | str, ...],
    tasks: tuple["TaskName", ...],
    show: bool,
    markdown: bool,
    split: str | None,
    train_split: str,
    folds: str | None,
    where: str | None,
    encoder: "Modality | None",
    boxes: Path | None,
    is_random: bool,
    windows: int | None,
    recipe: Path | None,
    assignments: tuple[str, ...],
    batch_size: int,
    loader_threads: int | None,
    no_cache: bool,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Measure the networks of RUN on the shard set SHARDS.

    RUN is a run, or a folder of `avtrain export` or `avtrain import`. Several SHARDS are splits of
    one dataset, and the result is the mean over them. Every number stands beside its chance, and is
    kept in RUN/eval; --show prints what was measured so far.
    """
    if show:
        _show([run, *(Path(other) for other in shards)], markdown=markdown)
        return
    if not shards or not tasks:
        raise click.UsageError("give RUN, SHARDS and at least one --task; or RUN and --show")

    from avdata import ShardSet, available_cores, build_settings, read_recipe
    from avtrain.cli.progress_bar import progress_bar
    from avtrain.data.samples import check_shard_files
    from avtrain.engine.device import choose_device
    from avtrain.evaluate.config import EvalConfig
    from avtrain.evaluate.embed import EmbedOptions
    from avtrain.evaluate.feature_cache import CACHE_NAME, FeatureCache
    from avtrain.evaluate.load import load_networks
    from avtrain.evaluate.tasks import EvalOptions, evaluate_sets

    config = build_settings(EvalConfig, read_recipe(recipe, "eval"), assignments)
    if boxes is not None:
        with_boxes = config.localization.model_copy(update={"boxes": str(boxes)})
        config = config.model_copy(update={"localization": with_boxes})
    networks = load_networks(run, choose_device(device), is_random=is_random)
    if networks.frozen.fused is not None:
        config = config.model_copy(update={"finetune": config.finetune.for_fused()})
    sets = [ShardSet(where) for where in shards]
    for shard_set in sets:
        check_shard_files(shard_set)
    if encoder is None:
        encoder = "video" if "frames" in sets[0].spec.fields else "audio"
    options = EvalOptions(
        split=split,
        train_split=train_split,
        folds=tuple(name.strip() for name in folds.split(",")) if folds else (),
        where=where,
        encoder=encoder,
        config=config,
        embed=EmbedOptions(
            num_windows=windows or config.windows,
            batch_size=batch_size,
            loader_threads=loader_threads or min(available_cores(), 32),
            cache=None if no_cache else FeatureCache(directory=run / CACHE_NAME),
            progress=progress_bar,
        ),
    )
    for task in dict.fromkeys(tasks):
        started_s = time.monotonic()
        result = evaluate_sets(task, networks.frozen, sets, options)
        seconds = time.monotonic() - started_s
        _report(result, networks, sets, options, run=run, seconds=seconds, as_json=as_json)


def _report(
    result: "EvalResult",
    networks: "EvaluatedNetworks",
    sets: "list[ShardSet]",
    options: "EvalOptions",
    *,
    run: Path,
    seconds: float,
    as_json: bool,
) -> None:
    """Keep the result, and print it."""
    from avtrain.evaluate.result_files import make_record, write_result

    record = make_record(
        result,
        sets,
        options,
        run=run,
        step=networks.step,
        is_random=networks.is_random,
        weights=networks.frozen.weights_hash,
        seconds=seconds,
    )
    write_result(run, record)
    weights = "with untrained weights" if networks.is_random else "as exported"
    if networks.step:
        weights = f"after step {networks.step}"
    what = result.task if result.encoder is None else f"{result.task}, {result.encoder} network"
    on = " and ".join(str(shards.location) for shards in sets)
    click.echo(f"{what}: {run} {weights} on {on}, {result.num_samples} samples", err=as_json)
    for note in result.notes:
        click.echo(f"note: {note}", err=as_json)
    if as_json:
        print(json.dumps({**asdict(result), "random": networks.is_random, "seconds": seconds}))
    else:
        _print_table(result)


def _print_table(result: "EvalResult") -> None:
    from avtrain.evaluate.result_table import number_text

    width = max(map(len, result.metrics))
    print(
        f"{'':{width}}  {'result':>8}  {'chance':>8}" + "".join(f"  {f:>8}" for f in result.folds)
    )
    for name, value in result.metrics.items():
        values = [
            value,
            result.chance.get(name),
            *(fold.get(name) for fold in result.folds.values()),
        ]
        cells = (number_text(name, cell) if cell is not None else "" for cell in values)
        print(f"{name:{width}}" + "".join(f"  {cell:>8}" for cell in cells))


def _show(runs: list[Path], *, markdown: bool) -> None:
    from avtrain.evaluate.result_files import read_results
    from avtrain.evaluate.result_table import table_rows, table_text

    records = [record for run in runs for record in read_results(run)]
    print(table_text(table_rows(records), markdown=markdown))
