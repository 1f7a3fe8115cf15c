"""`avdata index`: somebody else's WebDataset tars -> a shard set, without a copy."""

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import click

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
@click.option("--workers", "num_workers", type=click.IntRange(min=1), help="Threads, a tar each.")
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
    num_workers: int | None,
    as_json: bool,
) -> None:
    """Make the WebDataset tars below DIR usable by avtrain; they are read where they are.

    Samples hold mp4, mkv, webm, mov or avi, or one or numbered jpg or png; sound in there or as
    flac, wav, ogg, mp3, m4a or npy; json, txt, cls. Sound is resampled when it is read, log-mel is
    not stored: train with --set avid.audio.input=spectrogram.
    """
    from avdata.cli.progress import clip_bar
    from avdata.config import build_settings
    from avdata.locking import make_folder
    from avdata.shards.index import find_tars, index_tars
    from avdata.shards.index_sample import IndexConfig

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
    config = build_settings(IndexConfig, settings)
    target = out or directory
    num_tars = len(find_tars(directory, target))
    make_folder(target)
    with clip_bar(num_tars, "index") as bar:
        bar.unit = "tar"
        summary = index_tars(directory, target, config, num_workers=num_workers, on_tar=bar.update)
    for reason, count in summary.reasons.items():
        click.echo(f"rejected: {count} {reason}", err=True)
    if summary.rejected:
        click.echo(f"their messages are in {target / 'rejects.parquet'}", err=True)
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
        sys.exit(EXIT_NONE_USABLE)
