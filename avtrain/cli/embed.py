"""`avtrain embed`: a run and a shard set -> a parquet file of vectors."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata import PathOrUrl

if TYPE_CHECKING:
    from avtrain.engine.device import DeviceName
    from avtrain.evaluate.embed import VectorName
    from avtrain.evaluate.embeddings_file import VectorType
    from avtrain.methods import Modality

LAYERS = ("conv1", "conv2x", "conv3x", "conv4x", "conv5x", "pool", "embedding")


@click.command("embed")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("shards", type=PathOrUrl())
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Parquet file to write.",
)
@click.option(
    "--layer",
    type=click.Choice(LAYERS),
    default="pool",
    show_default=True,
    help="The pooled output; the maximum of a layer's maps; or embedding, the head's output "
    "at unit length, by which video and sound are compared.",
)
@click.option(
    "--modality",
    type=click.Choice(["video", "audio", "both"]),
    help="Networks to run [default: all that the set has fields for].",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Evenly spaced windows of a sample.",
)
@click.option("--per-window", is_flag=True, help="One row a window, with its times; else the mean.")
@click.option("--split", help="Only the samples of this split.")
@click.option("--where", metavar="CONDITION", help="Only samples whose manifest row meets it.")
@click.option(
    "--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True
)
@click.option("--batch-size", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--loader-threads", type=click.IntRange(min=1), help="[default: one a core]")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def embed(
    run: Path,
    shards: Path | str,
    out: Path,
    layer: "VectorName",
    modality: str | None,
    windows: int,
    per_window: bool,
    split: str | None,
    where: str | None,
    dtype: "VectorType",
    batch_size: int,
    loader_threads: int | None,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Write vectors of the samples of SHARDS, as the networks of RUN see them.

    RUN is a run, or a folder of `avtrain export` or `avtrain import`. One row a sample: its key,
    source, labels, times, and a vector a modality.
    """
    from avdata import ShardSet, available_cores
    from avtrain.cli.progress_bar import progress_bar
    from avtrain.data.samples import (
        check_shard_files,
        filter_samples,
        read_sample_table,
        select_samples,
    )
    from avtrain.engine.device import choose_device
    from avtrain.errors import DataError
    from avtrain.evaluate.embed import EmbedOptions
    from avtrain.evaluate.embeddings_file import EmbeddingsPlan, write_embeddings
    from avtrain.evaluate.load import load_networks

    if not out.parent.is_dir():
        raise DataError(f"there is no folder {out.parent} for --out {out}; make it first")
    networks = load_networks(run, choose_device(device), is_random=False)
    shard_set = ShardSet(shards)
    check_shard_files(shard_set)
    chosen: tuple[Modality, ...]
    if modality == "both":
        chosen = ("video", "audio")
    elif modality is not None:
        chosen = ("video",) if modality == "video" else ("audio",)
    else:
        chosen = networks.frozen.stored_modalities(shard_set)
    table = read_sample_table(shard_set)
    samples = select_samples(table, split, where=str(shard_set.location))
    samples = filter_samples(shard_set, samples, where)
    written = write_embeddings(
        networks.frozen,
        shard_set,
        samples,
        out,
        EmbeddingsPlan(layer=layer, modalities=chosen, per_window=per_window, dtype=dtype),
        EmbedOptions(
            num_windows=windows,
            batch_size=batch_size,
            loader_threads=loader_threads or min(available_cores(), 32),
            progress=progress_bar,
        ),
        facts={"run": run.resolve().name, "step": networks.step, "split": split, "where": where},
    )
    dims = ", ".join(f"{name} {dim}" for name, dim in written.dims.items())
    click.echo(f"{written.num_rows} rows of {layer} vectors ({dims}) -> {out}", err=as_json)
    if as_json:
        facts = {"out": str(out), "rows": written.num_rows, "layer": layer, "dims": written.dims}
        print(json.dumps(facts))
