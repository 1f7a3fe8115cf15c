"""`avtrain eval`: a run and a shard set -> numbers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata import PathOrUrl

if TYPE_CHECKING:
    from avtrain.engine.device import DeviceName
    from avtrain.evaluate.tasks import EvalResult, TaskName
    from avtrain.methods import Modality


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("shards", type=PathOrUrl())
@click.option(
    "--task",
    type=click.Choice(["retrieval", "knn", "linear"]),
    required=True,
    help="Cross-modal retrieval, or classification of frozen features.",
)
@click.option("--split", help="Samples to measure on [default: test; retrieval: else all].")
@click.option(
    "--train-split", default="train", show_default=True, help="Labeled samples for knn and linear."
)
@click.option(
    "--where",
    metavar="CONDITION",
    help='Leave out samples whose manifest row does not meet it, as in "silence_fraction < 0.9".',
)
@click.option(
    "--encoder",
    type=click.Choice(["video", "audio"]),
    default="video",
    show_default=True,
    help="Whose features knn and linear classify.",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Evenly spaced windows of a sample, averaged.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Samples at a time.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def evaluate(
    run: Path,
    shards: Path | str,
    task: "TaskName",
    split: str | None,
    train_split: str,
    where: str | None,
    encoder: "Modality",
    windows: int,
    batch_size: int,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Measure the frozen encoders of RUN on the shard set SHARDS."""
    from avdata import ShardSet
    from avtrain.data.samples import check_shard_files
    from avtrain.engine.device import choose_device
    from avtrain.engine.fit import num_loader_threads
    from avtrain.engine.load import load_method
    from avtrain.evaluate.embed import EmbedOptions, FrozenEncoders
    from avtrain.evaluate.tasks import EVALUATIONS, EvalOptions

    chosen = choose_device(device)
    loaded = load_method(run, chosen)
    shard_set = ShardSet(shards)
    loaded.check(shard_set)
    check_shard_files(shard_set)
    options = EvalOptions(
        split=split,
        train_split=train_split,
        where=where,
        encoder=encoder,
        embed=EmbedOptions(
            num_windows=windows,
            batch_size=batch_size,
            loader_threads=num_loader_threads(loaded.record.config.data),
        ),
    )
    frozen = FrozenEncoders(method=loaded.method, device=chosen)
    result = EVALUATIONS[task](frozen, shard_set, options)
    of = f"{run} after step {loaded.step} on {shards}"
    what = task if task == "retrieval" else f"{task}, {encoder} features"
    click.echo(f"{what}: {of}, {result.num_samples} samples", err=as_json)
    if as_json:
        print(json.dumps(asdict(result)))
    else:
        _print_table(result)


def _print_table(result: "EvalResult") -> None:
    width = max(map(len, result.metrics))
    print(f"{'':{width}}  {'result':>8}  {'chance':>8}")
    for name, value in result.metrics.items():
        print(f"{name:{width}}  {_cell(name, value)}  {_cell(name, result.chance[name])}")


def _cell(name: str, value: float) -> str:
    return f"{value:8.1f}" if name.endswith("rank") else f"{value:8.1%}"
