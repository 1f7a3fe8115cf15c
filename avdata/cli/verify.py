"""`avdata verify`: is a shard set what it promises to be, and what is to be built again?"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata.command_line import PathOrUrl

if TYPE_CHECKING:
    from avdata.schema import BuildRecord
    from avdata.shards.problem import Problem
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
    command that it prints, and that makes just those shards. Where the tables alone are damaged,
    it writes them again. It exits with 0 when nothing else is left to do.
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
    obstacle = _obstacle(plan)
    left: tuple[Problem, ...] = ()
    if not dry_run and obstacle is None:
        left = repair(plan)
    if as_json:
        print(_repair_as_json(plan, dry_run, obstacle, left))
    else:
        _print_repair(plan, dry_run, obstacle, left)
    if left or plan.strangers or (plan.problems and (dry_run or obstacle)):
        sys.exit(EXIT_PROBLEMS)


def _num_clips(directory: Path) -> int:
    from avdata.errors import ShardSetError
    from avdata.shards.reader import read_dataset_spec

    try:
        return read_dataset_spec(directory).num_clips
    except ShardSetError:
        return 0  # an unfinished set: its shards are hashed, no clip is looked at


def _obstacle(plan: "Repair") -> str | None:
    """Return why no build could make again what the repair would take away."""
    from avdata.cli.resume_command import resume_obstacle

    if not plan.delete and not plan.shards:
        return None
    if plan.build is None:
        return "it has no readable build.json"
    return resume_obstacle(plan.build)


def _repair_as_json(
    plan: "Repair", dry_run: bool, obstacle: str | None, left: "tuple[Problem, ...]"
) -> str:
    from avdata.cli.resume_command import resume_command
    from avdata.manifest import MANIFEST_NAME, REJECTS_NAME

    names = [path.name for path in plan.delete]
    tables = [MANIFEST_NAME, REJECTS_NAME] if plan.rewrite_tables else []
    nothing_done = dry_run or obstacle is not None
    facts = {
        "directory": str(plan.directory),
        "dry_run": dry_run,
        "problems": [asdict(problem) for problem in plan.problems],
        "rebuild": list(plan.shards),
        "deleted": [] if nothing_done else names,
        "would_delete": names if dry_run and obstacle is None else [],
        "rewritten": [] if nothing_done else tables,
        "would_rewrite": tables if dry_run else [],
        "obstacle": obstacle,
        "left": [asdict(problem) for problem in left],
        "not_of_the_set": [problem.where for problem in plan.strangers],
        "next": resume_command(plan.build, plan.directory)
        if plan.build and obstacle is None and not plan.rewrite_tables
        else None,
    }
    return json.dumps(facts)


def _print_repair(
    plan: "Repair", dry_run: bool, obstacle: str | None, left: "tuple[Problem, ...]"
) -> None:
    from avdata.cli.resume_command import resume_command
    from avdata.manifest import MANIFEST_NAME, REJECTS_NAME

    for problem in plan.problems:
        print(problem)
    if not plan.problems:
        print(f"{plan.directory}: nothing to repair")
        if plan.build is not None and not (plan.directory / "dataset.json").exists():
            print("the build is not finished; run the same command as before:")
            print(f"  {resume_command(plan.build, plan.directory)}")
        return
    for problem in plan.strangers:
        print(f"left alone: {problem.where} is not of the set; move it away")
    if obstacle is not None:
        print(f"shards to build again: {', '.join(plan.shards) or 'none, only the tables'}")
        print(
            f"no build can resume in {plan.directory}: {obstacle}. Nothing was deleted; build the "
            "set again with another --out"
        )
        return
    if plan.rewrite_tables:
        written = "would be written" if dry_run else "were written"
        print(
            f"{MANIFEST_NAME} and {REJECTS_NAME} {written} again from the sidecars; every shard is "
            "whole"
        )
        for problem in left:
            print(f"the sidecars state it too: {problem}")
        if left:
            print("build the set again with another --out")
        return
    for path in plan.delete:
        print(f"{'would delete' if dry_run else 'deleted'} {path}")
    if len(plan.problems) == len(plan.strangers):
        return
    if not plan.delete:
        print("there was nothing to delete")
    print(f"shards to build again: {', '.join(plan.shards) or 'none, only the tables'}")
    assert plan.build is not None, "without build.json there is an obstacle"
    print(_then_run(plan.build))
    print(f"  {resume_command(plan.build, plan.directory)}")


def _then_run(record: "BuildRecord") -> str:
    from avdata.shards.build_record import set_made_of

    if set_made_of(record) is None:
        return "then run the same command as before, from the same listing and media:"
    return "then run the same command as before:"
