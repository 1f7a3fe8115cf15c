"""`avdata noise`: a shard set -> the same set with known noise, to measure what noise does."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from avdata.command_line import PathOrUrl


@click.command()
@click.argument("source", metavar="SET", type=PathOrUrl())
@click.option("--out", type=PathOrUrl(), required=True, help="Folder of the noisy set.")
@click.option(
    "--swap-audio",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of clips that get the sound of a clip of another source.",
)
@click.option(
    "--duplicate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of clips that are there a second time, as a source of their own.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--split", default="train", show_default=True, help="Clips that noise comes to, by their split."
)
@click.option("--all-splits", is_flag=True, help="Noise comes to all clips; --split is left aside.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def noise(
    source: Path | str,
    out: Path | str,
    swap_audio: float,
    duplicate: float,
    seed: int,
    split: str,
    all_splits: bool,
    as_json: bool,
) -> None:
    """Make a set like SET with known faulty positives and negatives.

    Swapped sounds are faulty positives, repeated clips are faulty negatives. Only bytes are moved,
    and the set is whole: everything that reads SET reads it. Its noise.parquet says what was done
    to each clip.
    """
    from avdata.build.noise import NOISE_NAME, make_noisy_set
    from avdata.build.noise_plan import NoiseConfig
    from avdata.cli.progress import clip_bar
    from avdata.errors import ConfigError
    from avdata.shards.reader import read_dataset_spec

    if isinstance(source, str) or isinstance(out, str):
        url = source if isinstance(source, str) else out
        raise ConfigError(f"noise works on local folders, {url} is a URL; copy the set first")
    config = NoiseConfig(
        swap_audio=swap_audio, duplicate=duplicate, seed=seed, split=None if all_splits else split
    )
    with clip_bar(read_dataset_spec(source).num_clips, "noise") as bar:
        summary = make_noisy_set(
            source, out, config, on_plan=lambda total: bar.reset(total=total), on_rows=bar.update
        )
    if as_json:
        print(json.dumps({**asdict(summary), "out": str(out)}))
        return
    print(
        f"{summary.clips} clips, {summary.swapped} of them with the sound of another one and "
        f"{summary.duplicated} a second time; {summary.shards} shards, "
        f"{summary.bytes / 1e6:.1f} MB -> {out}"
    )
    print(f"what was done to each clip: {out / NOISE_NAME}")
