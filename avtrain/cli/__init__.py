"""`avtrain ...`: one click command a file, imported when it is called."""

from avtrain.cli.entry import main

__all__ = ["main"]
