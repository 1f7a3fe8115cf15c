"""`avdata derive`: a shard set -> a set with other features of the same clips."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata.command_line import PathOrUrl

if TYPE_CHECKING:
    from avdata.build.derive import DeriveSummary


@click.command()
@click.argument("source", metavar="SET", type=PathOrUrl())
@click.option("--out", type=PathOrUrl(), required=True, help="Folder of the new set.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="One setting, as in --set logmel.num_mels=64 (repeatable).",
)
@click.option(
    "--workers",
    "num_workers",
    type=click.IntRange(min=1),
    help="Processes [default: one a core].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def derive(
    source: Path | str,
    out: Path | str,
    assignments: tuple[str, ...],
    num_workers: int | None,
    as_json: bool,
) -> None:
    """Make a set with other features of the clips of SET, out of their stored sound.

    Neither video nor media are touched: frames are copied as they are. The same command resumes.

    \b
    --set logmel.num_mels=64            another log-mel
    --set logmel.preset=avid            a published one, or one for a set that has none
    --set logmel.sample_rate_hz=16000   of the sound at a lower rate
    --set audio.sample_rate_hz=16000    store the sound itself at a lower rate
    --set 'fields=["frames","audio"]'   leave the log-mel out
    """
    from avdata.build.derive import derive_set
    from avdata.build.derive_config import derive_note
    from avdata.cli.progress import clip_bar
    from avdata.cores import available_cores
    from avdata.errors import ConfigError
    from avdata.shards.reader import read_dataset_spec

    if isinstance(source, str) or isinstance(out, str):
        url = source if isinstance(source, str) else out
        raise ConfigError(f"derive works on local folders, {url} is a URL; copy the set first")
    spec = read_dataset_spec(source)
    if note := derive_note(spec, assignments):
        click.echo(f"note: {note}", err=True)
    try:
        with clip_bar(spec.num_listed, "derive") as bar:
            summary = derive_set(
                source,
                out,
                assignments,
                num_workers=num_workers or available_cores(),
                on_rows=bar.update,
            )
    except KeyboardInterrupt:
        click.echo("avdata: the same command goes on where this one stopped", err=True)
        raise
    if as_json:
        print(json.dumps({**asdict(summary), "out": str(out)}))
    else:
        _report(summary, out)


def _report(summary: "DeriveSummary", out: Path) -> None:
    print(f"{'ok':>20}  {summary.ok}")
    for reason, count in summary.reasons.items():
        print(f"{reason:>20}  {count}")
    print(
        f"{summary.shards} shards ({summary.built_shards} made now), {summary.bytes / 1e6:.1f} MB, "
        f"{summary.seconds:.1f} s -> {out}"
    )
    print(f"look into it: avdata inspect {out}")
