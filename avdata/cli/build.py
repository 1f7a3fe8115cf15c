"""`avdata build`: a listing of clips -> a shard set."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata.cli.dry_run import PlannedBuild, show_plan
from avdata.cli.listing_format import ListingFormat
from avdata.cli.listing_report import ListingReading
from avdata.command_line import PathOrUrl

if TYPE_CHECKING:
    from avdata.build.job import ClipDone
    from avdata.build.plan import BuildPlan, ShardPlan
    from avdata.build.rebuild import ChangedSources, RebuildOptions, Survey
    from avdata.build.run import BuildSummary
    from avdata.config import BuildConfig

EXIT_REJECTS = 3
"""Too many clips were rejected, or none was left."""
EXIT_UNEXPECTED = 4
"""Some clip met a fault that is not a known case of bad media."""


def _show_formats(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        from avdata.sources.listing import format_lines

        click.echo("\n".join(format_lines()))
        ctx.exit()


@click.command()
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    required=True,
    help="Listing file (CSV, TSV, parquet) or folder of class folders.",
)
@click.option(
    "--format",
    "format_name",
    type=ListingFormat(),
    default="auto",
    show_default=True,
    help="Form of the listing; auto looks at its content.",
)
@click.option(
    "--labels",
    multiple=True,
    metavar="LABEL|@FILE|SUBSET",
    help="Only clips with this label, with one of a file (one a line), or of a packaged subset, as "
    "in kinetics-sounds (repeatable).",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME",
    help="Only clips of this split, as the listing names it (repeatable).",
)
@click.option(
    "--keep-column",
    "keep_columns",
    multiple=True,
    metavar="NAME",
    help="Carry this column of the listing into the manifest, as text (repeatable).",
)
@click.option(
    "--media",
    type=click.Path(path_type=Path),
    help="Folder of the media files [default: where the listing lies].",
)
@click.option(
    "--out", type=PathOrUrl(), help="Folder of the shard set, or its URL, as in s3://bucket/set."
)
@click.option(
    "--staging",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where shards for a URL are written first [default: the system's temporary folder].",
)
@click.option("--recipe", type=click.Path(path_type=Path), help="TOML file with a [build] table.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="One setting, as in --set video.fps=8 (repeatable).",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Worker processes, each supervised by a Ray actor; 0 builds in this process, without Ray "
    "and unprotected, for a debugger [default: one a core, or one a CPU of the cluster].",
)
@click.option("--ray-address", help="A running Ray cluster, as in auto or host:port.")
@click.option("--limit", type=click.IntRange(min=1), help="Build the first N rows only.")
@click.option(
    "--max-reject-rate",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Exit with 3 when a larger share of the listed clips is rejected.",
)
@click.option(
    "--retry",
    metavar="REASON[,...]",
    help="Build the shards again that hold rejects of these reasons, as in --retry missing_file "
    "when files came later. Shards whose files are all still missing stay.",
)
@click.option(
    "--changed-sources",
    type=click.Choice(["refuse", "rebuild", "keep"]),
    default="refuse",
    show_default=True,
    help="When source files have changed since their clips were stored: end with 2 and name them, "
    "build the shards again that hold such clips, or keep the clips as they are stored.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Read the listing, look for the media, say what would be built; writes nothing.",
)
@click.option(
    "--formats",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_formats,
    help="Show the listing formats and end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def build(
    source: Path,
    format_name: str,
    labels: tuple[str, ...],
    splits: tuple[str, ...],
    keep_columns: tuple[str, ...],
    media: Path | None,
    out: Path | str | None,
    staging: Path | None,
    recipe: Path | None,
    assignments: tuple[str, ...],
    workers: int | None,
    ray_address: str | None,
    limit: int | None,
    max_reject_rate: float,
    retry: str | None,
    changed_sources: "ChangedSources",
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decode listed clips into WebDataset shards with a manifest.

    The same command resumes an interrupted build. Every listed clip ends as one row of the
    manifest or of the rejects, with the reason.
    """
    from avdata.build.plan import make_plan
    from avdata.build.rebuild import RebuildOptions, parse_reasons
    from avdata.config import BuildConfig, build_settings, read_recipe
    from avdata.errors import BuildError, ConfigError
    from avdata.features.logmel import empty_bands_note
    from avdata.manifest import check_kept_columns
    from avdata.sources import (
        detect,
        listing_columns,
        read_label_choice,
        read_listing,
        select_rows,
    )

    config = build_settings(BuildConfig, read_recipe(recipe, "build"), assignments)
    options = RebuildOptions(
        retry=frozenset() if retry is None else parse_reasons(retry),
        changed_sources=changed_sources,
    )
    if media is not None and not media.is_dir():
        raise BuildError(f"--media {media} is not a folder; give the folder of the media files")
    format_name = detect(source) if format_name == "auto" else format_name
    columns = listing_columns(source, format_name)
    kept = columns.find_kept(keep_columns) if columns else keep_columns
    check_kept_columns(kept)
    reading = ListingReading(format=format_name, columns=columns, kept=kept)
    rows = select_rows(
        read_listing(source, format_name, kept),
        labels=read_label_choice(labels) if labels else None,
        splits=splits,
        limit=limit,
    )
    plan = make_plan(rows, config, kept)
    if "logmel" in config.fields and (note := empty_bands_note(config.logmel)):
        click.echo(f"note: {note}", err=True)
    if dry_run:
        num_readable = show_plan(
            PlannedBuild(
                plan=plan,
                config=config,
                reading=reading,
                source=source,
                media=media,
                out=out,
                num_workers=workers,
            ),
            as_json=as_json,
        )
        if not num_readable:
            click.echo(f"avdata: no row of {source} can be read ({format_name})", err=True)
            sys.exit(EXIT_REJECTS)
        return
    if out is None:
        raise ConfigError("--out is missing; name the folder of the shard set, or use --dry-run")
    if staging is not None and isinstance(out, Path):
        raise ConfigError("--staging goes with an --out that is a URL; a folder needs none")
    if not plan.num_listed:
        raise BuildError(f"{source} lists no clips ({format_name}); there is nothing to build")
    summary = _build(plan, config, source, media, out, staging, workers, ray_address, options)
    _report(summary, reading, plan, out, as_json)
    _exit_by(summary, max_reject_rate)


def _build(
    plan: "BuildPlan",
    config: "BuildConfig",
    source: Path,
    media: Path | None,
    out: Path | str,
    staging: Path | None,
    workers: int | None,
    ray_address: str | None,
    options: "RebuildOptions",
) -> "BuildSummary":
    from avdata.build.job import BuildContext, ClipDone, ShardJob
    from avdata.build.run import run_build
    from avdata.build.staging import staging_folder
    from avdata.cores import available_cores
    from avdata.locking import make_folder
    from avdata.sources import MediaResolver
    from avdata.storage import LocalFolder, open_location

    location = open_location(out)
    if isinstance(location, LocalFolder):
        out_dir, upload_to = location.path.absolute(), None
    else:
        out_dir, upload_to = staging_folder(staging, location, plan.build_hash), location
    make_folder(out_dir)
    listing_dir = source if source.is_dir() else source.parent
    context = BuildContext(
        config=config,
        out_dir=out_dir,
        resolver=MediaResolver(media.absolute() if media else None, listing_dir.absolute()),
        build_hash=plan.build_hash,
        upload_to=upload_to,
    )

    def execute(jobs: Iterable[ShardJob], context: BuildContext) -> Iterator[ClipDone]:
        if workers == 0:
            from avdata.build.local import run_local

            return run_local(jobs, context)
        from avdata.build.on_ray import run_on_ray

        num_workers = workers
        if ray_address is None:
            num_workers = min(workers or available_cores(), len(plan.shards))
        return run_on_ray(jobs, context, num_workers=num_workers, address=ray_address)

    try:
        with _progress(plan) as on_progress:
            return run_build(
                plan,
                context,
                listing_name=source.name,
                execute=execute,
                on_progress=on_progress,
                options=options,
            )
    except KeyboardInterrupt:
        click.echo("avdata: the same command goes on where this one stopped", err=True)
        raise


class _Progress:
    """A bar with clips/s and rejects."""

    def __init__(self, plan: "BuildPlan") -> None:
        from avdata.cli.progress import clip_bar

        self._bar = clip_bar(plan.num_listed, "build")
        self._rejected = 0

    def __call__(self, event: "ClipDone | ShardPlan | Survey") -> None:
        from avdata.build.plan import ShardPlan
        from avdata.build.rebuild import Survey

        if isinstance(event, Survey):
            for sentence in event.sentences():
                self._bar.write(f"avdata: {sentence}", file=sys.stderr)
            return
        if isinstance(event, ShardPlan):
            self._bar.update(event.num_rows)
            self._bar.initial += event.num_rows  # not this run's work: leave it out of clips/s
            return
        self._rejected += event.reason is not None
        self._bar.set_postfix(rejected=self._rejected, refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


@contextmanager
def _progress(plan: "BuildPlan") -> Iterator[_Progress]:
    progress = _Progress(plan)
    try:
        yield progress
    finally:
        progress.close()


def _report(
    summary: "BuildSummary",
    reading: ListingReading,
    plan: "BuildPlan",
    out: Path | str,
    as_json: bool,
) -> None:
    from avdata.build.rebuild import retry_hints

    hints = retry_hints(summary.reasons)
    if as_json:
        facts = {**asdict(summary), **reading.facts(plan.repairs)}
        print(json.dumps({**facts, "hints": hints, "out": str(out)}))
        return
    for line in reading.lines(plan.repairs):
        print(line)
    rate = summary.ok / summary.seconds if summary.seconds else 0.0
    print(f"{'listed':>20}  {summary.listed}")
    print(f"{'ok':>20}  {summary.ok}")
    for reason, count in summary.reasons.items():
        print(f"{reason:>20}  {count}")
    for hint in hints:
        print(hint)
    print(
        f"{summary.shards} shards ({summary.built_shards} built now), "
        f"{summary.bytes / 1e6:.1f} MB, {summary.seconds:.1f} s, {rate:.1f} clips/s -> {out}"
    )
    print(f"look into it: avdata inspect {out}")


def _exit_by(summary: "BuildSummary", max_reject_rate: float) -> None:
    top = ", ".join(f"{count} {reason}" for reason, count in list(summary.reasons.items())[:3])
    if not summary.ok:
        click.echo(f"avdata: no clip was built ({top}); see rejects.parquet", err=True)
        sys.exit(EXIT_REJECTS)
    if summary.rejected > max_reject_rate * summary.listed:
        click.echo(
            f"avdata: {summary.rejected} of {summary.listed} clips were rejected ({top}), more "
            f"than --max-reject-rate {max_reject_rate}; see rejects.parquet",
            err=True,
        )
        sys.exit(EXIT_REJECTS)
    if unexpected := summary.reasons.get("unexpected"):
        click.echo(
            f"avdata: {unexpected} clips met unexpected faults; their tracebacks are in "
            "rejects.parquet",
            err=True,
        )
        sys.exit(EXIT_UNEXPECTED)
