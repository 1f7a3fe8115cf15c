"""The table of `avtrain`'s commands."""

import logging
import os

import click

from avdata import LazyGroup

COMMANDS = {
    "fit": ("avtrain.cli.fit", "fit", "Train a method on a shard set, or go on with a run."),
    "plan": ("avtrain.cli.plan", "plan", "Show the order of training in numbers, without it."),
    "eval": ("avtrain.cli.eval", "evaluate", "Measure the encoders of a run on a shard set."),
    "embed": ("avtrain.cli.embed", "embed", "Write vectors of a shard set's samples as parquet."),
    "localize": (
        "avtrain.cli.localize",
        "localize",
        "Show where in a video its sound comes from.",
    ),
    "gallery": (
        "avtrain.cli.gallery",
        "gallery",
        "Show the strongest responses to a shard set on a page.",
    ),
    "separate": (
        "avtrain.cli.separate",
        "separate",
        "Split a video's sound into what is seen and what is not.",
    ),
    "sync": ("avtrain.cli.sync", "sync", "Measure, and mend, how late a video's sound is."),
    "export": ("avtrain.cli.export", "export", "Write the networks of a run as safetensors."),
    "import": (
        "avtrain.cli.import_weights",
        "import_weights",
        "Read a published checkpoint, safely.",
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
@click.version_option(package_name="avtoolkit")
def main() -> None:
    """Self-supervised learning on shard sets of audio-visual clips."""
    # Before torch is imported: its CPU threads spin while they wait for each other, so long that
    # on cores shared with other processes little else gets done. A short spin keeps the rate.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("botocore", "aiobotocore"):  # they tell where each setting comes from
        logging.getLogger(name).setLevel(logging.WARNING)
