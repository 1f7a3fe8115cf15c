"""`avdata stats`: how verdicts and facts are spread over the clips of a shard set."""

import json
from pathlib import Path

import click

from avdata.command_line import PathOrUrl


@click.command()
@click.argument("directory", metavar="DIR", type=PathOrUrl())
@click.option(
    "--column",
    "columns",
    metavar="NAME",
    multiple=True,
    help="Show this column of the manifest, in detail; may be given several times.",
)
@click.option(
    "--where",
    metavar="CONDITION",
    help="Only of the clips that meet it, as in \"duration_s > 2 and label == 'dog'\".",
)
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw the histograms to a file."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def stats(
    directory: Path | str,
    columns: tuple[str, ...],
    where: str | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Show histograms of the verdicts on the clips in DIR, and what they suggest for training.

    Without --column: silence, clipping, stillness, gaps, damage, rates, durations and sizes, the
    reasons of the rejected clips, and a --where for each property that training may not want.
    Columns of text (video_codec, labels, split ...) are counted.
    """
    from dataclasses import asdict

    from avdata.cli.picture_file import check_picture_name
    from avdata.cli.stats_text import stats_lines
    from avdata.shards.reader import ShardSet
    from avdata.shards.set_statistics import read_statistics

    if png is not None:
        check_picture_name(png)
    statistics = read_statistics(ShardSet(directory), columns=columns, where=where)
    if png is not None:
        from avdata.cli.picture_file import save_picture
        from avdata.shards.histograms_picture import draw_histograms

        save_picture(draw_histograms(statistics.histograms, statistics.counts), png)
    if as_json:
        facts = {"directory": str(directory), "where": where, **asdict(statistics)}
        print(json.dumps({**facts, **({"png": str(png)} if png else {})}))
        return
    for line in stats_lines(directory, statistics, where=where, detailed=bool(columns)):
        print(line)
    if png is not None:
        print(f"\nhistograms -> {png}")
