"""The table of `avdata`'s commands."""

import logging

import click

from avdata.command_line import LazyGroup

COMMANDS = {
    "build": ("avdata.cli.build", "build", "Make a shard set out of a listing of clips."),
    "inspect": ("avdata.cli.inspect", "inspect", "Look into a shard set or one sample of it."),
    "stats": ("avdata.cli.stats", "stats", "Show how verdicts and facts of the clips spread."),
    "verify": ("avdata.cli.verify", "verify", "Check a shard set, down to every sample."),
    "diff": ("avdata.cli.diff", "diff", "Show what changed from one shard set to another."),
    "export": ("avdata.cli.export", "export", "Write a sample as a movie, sound or pictures."),
    "derive": ("avdata.cli.derive", "derive", "Make a set with other features of the same clips."),
    "noise": ("avdata.cli.noise", "noise", "Make a set with known noise, to study what it does."),
    "index": ("avdata.cli.index", "index", "Make WebDataset tars of others usable as they are."),
    "synth": ("avdata.cli.synth", "synth", "Make clips with known answers to learn and test on."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
@click.version_option(package_name="avtoolkit")
def main() -> None:
    """From lists of audio-visual clips to shard sets for training."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
