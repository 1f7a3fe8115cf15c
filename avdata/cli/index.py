"""`avdata index`: third-party WebDataset tars -> a shard set, without a copy."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from avdata.build.index import IndexSummary

EXIT_NONE_USABLE = 3


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the set [default: DIR].")
@click.option("--fields", default="frames,audio", show_default=True, help="What samples must have.")
@click.option(
    "--fps",
    default="16",
    show_default=True,
    help="Frames per second to take of videos, or that numbered pictures have; or native.",
)
@click.option(
    "--short-side", default="256", show_default=True, help="Pixels; frames of videos get this size."
)
@click.option("--sample-rate", default="24000", show_default=True, help="Hz that sound gets.")
@click.option("--layout", type=click.Choice(["mono", "stereo"]), default="mono", show_default=True)
@click.option("--npy-rate", help="Hz of sound in .npy members, which do not say.")
@click.option(
    "--min-duration",
    default="0.5",
    show_default=True,
    help="Seconds; shorter samples are rejected.",
)
@click.option(
    "--label",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="cls or txt member, a name in the JSON member, none, or auto: cls, else label, labels or "
    "class of the JSON, else txt where there is no JSON.",
)
@click.option(
    "--source", metavar="NAME", help="Value in the JSON by which clips of one medium are known."
)
@click.option(
    "--decode", is_flag=True, help="Decode all pictures for their times; finds damage early."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="One setting, as in --set limits.clip_timeout_s=60 (repeatable).",
)
@click.option("--workers", "num_workers", type=click.IntRange(min=1), help="Processes, a tar each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def index(
    directory: Path,
    out: Path | None,
    fields: str,
    fps: str,
    short_side: str,
    sample_rate: str,
    layout: str,
    npy_rate: str | None,
    min_duration: str,
    label: str,
    source: str | None,
    decode: bool,
    assignments: tuple[str, ...],
    num_workers: int | None,
    as_json: bool,
) -> None:
    """Make the WebDataset tars below DIR usable by avtrain; they are read where they are.

    Samples hold mp4, mkv, webm, mov, avi or ogv, or one or numbered jpg or png; sound in there or
    as flac, wav, ogg, opus, mp3, m4a, aac or npy; json, txt, cls. Sound is resampled when it is
    read, log-mel is not stored: train with --set avid.audio.input=spectrogram.

    Members of a sample adjoin and share a name. These endings are taken from the right and in any
    case, so that ID_40.000.mp4 and ID_40.000.json are sample ID_40.000, ID.mp4 and ID.info.json
    sample ID, and v.0001.jpg, v.0002.jpg and v.flac sample v; names with other endings are cut at
    their first dot. Links to members of the tar stand for these; of members with one name the first
    is read. Each member that no sample is made of is named in rejects.parquet, with the reason.

    Each process has the limits of a build: a sample that crashes it, hangs (--set
    limits.clip_timeout_s=SECONDS) or takes too much memory is rejected, and the command goes on. It
    exits with 3 when no sample can be used.
    """
    from avdata.build.index import find_tars, index_tars
    from avdata.cli.progress import clip_bar
    from avdata.config import build_settings
    from avdata.locking import make_folder
    from avdata.manifest import REJECTS_NAME
    from avdata.shards.index_config import IndexConfig

    settings: dict[str, object] = {
        "fields": [name.strip() for name in fields.split(",") if name.strip()],
        "video": {"fps": fps, "short_side_px": short_side},
        "audio": {"sample_rate_hz": sample_rate, "layout": layout},
        "npy_rate_hz": npy_rate,
        "min_duration_s": min_duration,
        "label": label,
        "source": source,
        "decode": decode,
    }
    config = build_settings(IndexConfig, settings, assignments)
    target = out or directory
    num_tars = len(find_tars(directory, target))
    make_folder(target)
    with clip_bar(num_tars, "index") as bar:
        bar.unit = "tar"
        summary = index_tars(directory, target, config, num_workers=num_workers, on_tar=bar.update)
    for reason, count in summary.reasons.items():
        click.echo(f"rejected: {count} {reason}", err=True)
    if summary.damaged_tars:
        click.echo(f"damaged: {summary.damaged_tars} of {summary.tars} tars", err=True)
    if lines := _left_out_lines(summary, labels_asked=config.label != "none"):
        click.echo("; ".join(lines), err=True)
    click.echo(
        f"members: {summary.members} = {summary.members_in_samples} in samples + "
        f"{summary.members_in_rows} in rows of {REJECTS_NAME}",
        err=True,
    )
    if summary.rejected or summary.not_read or summary.damaged_tars:
        click.echo(f"their messages are in {target / REJECTS_NAME}", err=True)
    click.echo(
        f"{target}: {summary.ok} of {summary.samples} samples in {summary.tars} tars can be "
        f"trained on (frames: {summary.frames})",
        err=as_json,
    )
    if summary.ok and set(config.fields) == {"frames", "audio"}:
        fit = shlex.join(["avtrain", "fit", str(target), "--set", "avid.audio.input=spectrogram"])
        click.echo(f"train: {fit}", err=True)
    if as_json:
        print(json.dumps({"directory": str(directory), "out": str(target), **asdict(summary)}))
    if not summary.ok:
        _explain_none(summary, "frames" in config.fields)
        sys.exit(EXIT_NONE_USABLE)


def _left_out_lines(summary: "IndexSummary", *, labels_asked: bool) -> list[str]:
    """Counts of what is left out, as `members not read: 2 info.json`."""
    lines = []
    for reason, endings in summary.not_read.items():
        counts = ", ".join(f"{count} {ending}" for ending, count in endings.items())
        name = "members not read" if reason == "not_read" else f"members not read ({reason})"
        lines.append(f"{name}: {counts}")
    if labels_asked and summary.unlabeled:
        lines.append(f"samples without label: {summary.unlabeled} of {summary.ok}")
    return lines


def _explain_none(summary: "IndexSummary", with_frames: bool) -> None:
    if with_frames and set(summary.reasons) & {"no_video", "no_audio"}:
        click.echo(
            "no sample has both frames and audio; for audio alone give --fields audio, for frames "
            "alone --fields frames",
            err=True,
        )
