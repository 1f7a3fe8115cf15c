"""The table of `avdata`'s commands."""

import logging

import click

from avdata.command_line import LazyGroup

COMMANDS = {
    "build": ("avdata.cli.build", "build", "Make a shard set out of a listing of clips."),
    "inspect": ("avdata.cli.inspect", "inspect", "Look into a shard set or one sample of it."),
    "verify": ("avdata.cli.verify", "verify", "Check a shard set, down to every sample."),
    "synth": ("avdata.cli.synth", "synth", "Make clips with known answers to learn and test on."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
@click.version_option(package_name="avtoolkit")
def main() -> None:
    """From lists of audio-visual clips to shard sets for training."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
