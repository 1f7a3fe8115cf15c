"""`avdata ...`: one click command a file, imported when it is called."""

from avdata.cli.entry import main

__all__ = ["main"]
