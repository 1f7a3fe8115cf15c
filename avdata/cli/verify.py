"""`avdata verify`: is a shard set what it promises to be, and what is to be built again?"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata.command_line import PathOrUrl

if TYPE_CHECKING:
    from avdata.shards.repair import Repair
    from avdata.shards.verify import VerifyReport

EXIT_PROBLEMS = 1


@click.command()
@click.argument("directory", metavar="DIR", type=PathOrUrl())
@click.option("--quick", is_flag=True, help="Checksums, tables and tar structure; decode nothing.")
@click.option(
    "--repair",
    "with_repair",
    is_flag=True,
    help="Delete the markers of damaged shards, so that the next build makes them again.",
)
@click.option("--dry-run", is_flag=True, help="With --repair: say what it would do.")
@click.option(
    "--workers",
    "num_workers",
    type=click.IntRange(min=1),
    help="Threads, at most one a shard is busy [default: one a core].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def verify(
    directory: Path | str,
    quick: bool,
    with_repair: bool,
    dry_run: bool,
    num_workers: int | None,
    as_json: bool,
) -> None:
    """Check checksums, counts, schema, and that every sample of the set in DIR decodes.

    Lists all that is wrong, one line each, and then exits with 1.

    --repair deletes the sidecars of damaged shards and dataset.json, and nothing else: run the
    same `avdata build` again, and it makes just those shards. It exits with 0 when that is all
    that is left to do.
    """
    from avdata.errors import ConfigError

    if isinstance(directory, str):
        raise ConfigError(
            f"verify reads local folders, {directory} is a URL; copy the set to a folder and give "
            "that"
        )
    if dry_run and not with_repair:
        raise ConfigError("--dry-run goes with --repair; without it verify changes nothing anyway")
    if with_repair:
        _repair(directory, quick, dry_run, num_workers, as_json)
        return
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


def _repair(
    directory: Path, quick: bool, dry_run: bool, num_workers: int | None, as_json: bool
) -> None:
    from avdata.cli.progress import clip_bar
    from avdata.shards.repair import plan_repair, repair

    with clip_bar(_num_clips(directory), "verify") as bar:
        plan = plan_repair(
            directory, decode=not quick, num_workers=num_workers, on_sample=bar.update
        )
    if not dry_run:
        repair(plan)
    if as_json:
        print(_repair_as_json(plan, dry_run))
    else:
        _print_repair(plan, dry_run)
    left = plan.strangers or (plan.problems and (dry_run or plan.build is None))
    if left:
        sys.exit(EXIT_PROBLEMS)


def _num_clips(directory: Path) -> int:
    from avdata.errors import ShardSetError
    from avdata.shards.reader import read_dataset_spec

    try:
        return read_dataset_spec(directory).num_clips
    except ShardSetError:
        return 0  # an unfinished set: its shards are hashed, no clip is looked at


def _repair_as_json(plan: "Repair", dry_run: bool) -> str:
    from avdata.cli.resume_command import resume_command

    facts = {
        "directory": str(plan.directory),
        "dry_run": dry_run,
        "problems": [asdict(problem) for problem in plan.problems],
        "rebuild": list(plan.shards),
        "deleted": [] if dry_run else [path.name for path in plan.delete],
        "would_delete": [path.name for path in plan.delete] if dry_run else [],
        "not_of_the_set": [problem.where for problem in plan.strangers],
        "next": resume_command(plan.build, plan.directory) if plan.build else None,
    }
    return json.dumps(facts)


def _print_repair(plan: "Repair", dry_run: bool) -> None:
    from avdata.cli.resume_command import resume_command

    for problem in plan.problems:
        print(problem)
    if not plan.problems:
        print(f"{plan.directory}: nothing to repair")
        if plan.build is not None and not (plan.directory / "dataset.json").exists():
            print("the build is not finished; run the same command as before:")
            print(f"  {resume_command(plan.build, plan.directory)}")
        return
    for path in plan.delete:
        print(f"{'would delete' if dry_run else 'deleted'} {path}")
    if not plan.delete:
        print("there was nothing to delete")
    for problem in plan.strangers:
        print(f"left alone: {problem.where} is not of the set; move it away")
    if len(plan.problems) == len(plan.strangers):
        return
    if plan.build is None:
        print(
            f"{plan.directory} has no readable build.json, so no build can go on there: build the "
            "set again with another --out"
        )
        return
    print(f"shards to build again: {', '.join(plan.shards) or 'none, only the tables'}")
    print("then run the same command as before, from the same listing and media:")
    print(f"  {resume_command(plan.build, plan.directory)}")
