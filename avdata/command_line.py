"""A command line that imports a command when it is called and shows a fault as one line."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from avdata.errors import AvdataError
from avdata.storage import path_or_url

EXIT_USER_FAULT = 2
EXIT_INTERRUPTED = 130


class PathOrUrl(click.ParamType):
    """A local path as `Path`, a URL such as `s3://bucket/set` as `str`."""

    name = "path or URL"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | str:
        return value if isinstance(value, Path) else path_or_url(str(value))


class LazyGroup(click.Group):
    """Knows its commands by name: `{name: (module, attribute, one line of help)}`."""

    def __init__(self, *, lazy: Mapping[str, tuple[str, str, str]], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, attribute, _ = self._lazy[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a user's fault ends as one message and exit code 2."""
        try:
            return super().invoke(ctx)
        except AvdataError as error:
            click.echo(f"{ctx.info_name}: error: {error}", err=True)
            sys.exit(EXIT_USER_FAULT)
        except KeyboardInterrupt:
            click.echo(f"{ctx.info_name}: interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
