"""`avtrain plan`: settings and a shard set -> the order of training, in numbers."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata import PathOrUrl

if TYPE_CHECKING:
    from avtrain.data.shuffle_quality import ShuffleQuality
    from avtrain.data.stream import StreamPlan


@click.command()
@click.argument("shards", type=PathOrUrl(), nargs=-1, required=True)
@click.option("--recipe", type=click.Path(path_type=Path), help="TOML file with a [fit] table.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="One setting, as in --set data.keep_sources_apart=true (repeatable).",
)
@click.option("--where", metavar="CONDITION", help="Samples whose manifest row meets it.")
@click.option("--mix", metavar="W,W,...", help="Weights of several shard sets [default: equal].")
@click.option(
    "--ranks",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that share a batch.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def plan(
    shards: tuple[Path | str, ...],
    recipe: Path | None,
    assignments: tuple[str, ...],
    where: str | None,
    mix: str | None,
    ranks: int,
    as_json: bool,
) -> None:
    """Show how `avtrain fit` would go through SHARDS, without training.

    Takes the settings of fit: those of the order are data.batch_size, clips_per_sample,
    clips_per_source, keep_sources_apart and shuffle_window_shards, seed and optim.accumulate.
    """
    from avdata import build_settings, read_recipe
    from avtrain.data.shard_mix import open_shard_mix, parse_weights
    from avtrain.data.shuffle_quality import measure_shuffle
    from avtrain.data.stream import stream_fingerprint
    from avtrain.engine.config import FitConfig
    from avtrain.engine.run_data import read_run_data
    from avtrain.engine.run_plan import plan_run

    chosen = (f"data.where={json.dumps(where)}",) if where is not None else ()
    config = build_settings(FitConfig, read_recipe(recipe, "fit"), (*chosen, *assignments))
    opened = open_shard_mix(shards, parse_weights(mix))
    data = read_run_data(opened, config, notify=partial(click.echo, err=True))
    order = plan_run(data, config, num_ranks=ranks)
    quality = measure_shuffle(order)
    steps = order.num_steps(config.schedule.epochs)
    steps = min(steps, config.schedule.max_steps or steps)
    if as_json:
        facts = {
            "num_samples": len(order.samples),
            "epoch_length": order.epoch_length,
            "steps_per_epoch": order.epoch_length / order.batch_size,
            "num_steps": steps,
            "batch_size": order.batch_size,
            "part_size": order.part_size,
            "num_ranks": order.num_ranks,
            "num_parts": order.num_parts,
            "fingerprint": stream_fingerprint(order),
            "shuffle": asdict(quality),
        }
        print(json.dumps(facts))
    else:
        _print(order, quality, steps)


def _print(order: "StreamPlan", quality: "ShuffleQuality", steps: int) -> None:
    share = f"{order.part_size} a rank"
    if order.num_parts > 1:
        share = f"{order.num_parts} x {order.part_size} a rank"
    per_epoch = order.epoch_length / order.batch_size
    rows = [
        ("samples", f"{len(order.samples)}"),
        ("clips of an epoch", f"{order.epoch_length}"),
        ("clips of a step", f"{order.batch_size}: {order.num_ranks} ranks, {share}"),
        ("steps of an epoch", f"{per_epoch:.1f}"),
        ("steps in all", f"{steps}: {steps / per_epoch:.1f} epochs"),
        ("neighbors apart", _share(quality.neighbor_distance, "times as far as when perfect")),
        ("  at the least", _share(quality.min_neighbor_distance, "clips")),
        ("  in one batch", _share(quality.neighbors_together, "times as often as when perfect")),
        ("epochs differ", _share(quality.epoch_distance, "times as much as when perfect")),
        ("clips with a twin", f"{quality.rows_with_twin:.2%} of a batch, of the same source"),
        ("shards of a batch", f"{quality.shards_per_batch:.1f} of {quality.num_shards}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:{width}}  {text}")


def _share(value: float | None, unit: str) -> str:
    if value is None:
        return "not defined for so few samples"
    return f"{value} {unit}" if isinstance(value, int) else f"{value:.2f} {unit}"
