"""The option `--format`: names of listing formats, from their table."""

import click


class ListingFormat(click.ParamType):
    """`auto` or a name in `avdata.sources.SOURCES`, which is imported when names are asked for."""

    name = "format"

    def names(self) -> tuple[str, ...]:
        from avdata.sources import SOURCES

        return ("auto", *SOURCES)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(self.names())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names():
            self.fail(f"{value!r} is not one of {', '.join(self.names())}", param, ctx)
        return value
