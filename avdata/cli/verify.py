"""`avdata verify`: is a shard set what it promises to be?"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from avdata.shards.verify import VerifyReport

EXIT_PROBLEMS = 1


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Checksums, tables and tar structure; decode nothing.")
@click.option(
    "--workers",
    "num_workers",
    type=click.IntRange(min=1),
    help="Threads, at most one a shard is busy [default: one a core].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def verify(directory: Path, quick: bool, num_workers: int | None, as_json: bool) -> None:
    """Check checksums, counts, schema, and that every sample of the set in DIR decodes.

    Lists all that is wrong, one line each, and then exits with 1.
    """
    from avdata.cli.progress import clip_bar
    from avdata.shards.reader import read_dataset_spec
    from avdata.shards.verify import verify_set

    num_clips = read_dataset_spec(directory).num_clips
    with clip_bar(num_clips, "verify") as bar:
        report = verify_set(
            directory, decode=not quick, num_workers=num_workers, on_sample=bar.update
        )
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        print(_as_json(report, directory))
    else:
        _print_report(report, directory)
    if not report.ok:
        sys.exit(EXIT_PROBLEMS)


def _as_json(report: "VerifyReport", directory: Path) -> str:
    facts = {
        "ok": report.ok,
        "directory": str(directory),
        "clips": report.num_clips,
        "shards": report.num_shards,
        "decoded": report.decoded,
        "problems": [asdict(problem) for problem in report.problems],
        "notes": list(report.notes),
    }
    return json.dumps(facts)


def _print_report(report: "VerifyReport", directory: Path) -> None:
    for problem in report.problems:
        print(problem)
    size = f"{report.num_clips} clips in {report.num_shards} shards"
    if report.problems:
        plural = "s" if len(report.problems) > 1 else ""
        print(f"{directory}: {len(report.problems)} problem{plural} ({size})")
    elif report.decoded:
        print(f"{directory}: ok, every sample decodes ({size})")
    else:
        print(f"{directory}: ok as far as --quick looks, nothing was decoded ({size})")
