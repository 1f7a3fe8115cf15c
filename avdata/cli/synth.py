"""`avdata synth`: audio-visual scenes with known answers, as ordinary movie files."""

import json
import time
from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--clips", "num_clips", type=click.IntRange(1, 999_999), required=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--size", "size_px", type=int, help="Height and width in pixels [default: 128].")
@click.option("--duration", "duration_s", type=float, help="Seconds a clip [default: 10].")
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of clips, the last ones, whose split is test.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any setting of the scenes, as in --set num_classes=12 (repeatable).",
)
@click.option(
    "--workers",
    "num_workers",
    type=click.IntRange(min=1),
    help="Processes [default: one a core].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def synth(
    out: Path,
    num_clips: int,
    seed: int,
    size_px: int | None,
    duration_s: float | None,
    test_fraction: float,
    assignments: tuple[str, ...],
    num_workers: int | None,
    as_json: bool,
) -> None:
    """Write NUM_CLIPS scenes of moving, sounding objects under OUT.

    OUT gets media/*.mp4, listing.csv (for `avdata build`), ground_truth.jsonl and synth.json. The
    same settings and seed give the same scenes; running the same command again resumes.
    """
    from avdata.cli.progress import clip_bar
    from avdata.config import build_settings
    from avdata.cores import available_cores
    from avdata.locking import make_folder
    from avdata.synthetic.config import SceneConfig
    from avdata.synthetic.write_set import SetRecord, write_set

    table: dict[str, object] = {}
    if size_px is not None:
        table["size_px"] = size_px
    if duration_s is not None:
        table["duration_s"] = duration_s
    scene = build_settings(SceneConfig, table, assignments)
    record = build_settings(
        SetRecord,
        {"num_clips": num_clips, "seed": seed, "test_fraction": test_fraction, "scene": scene},
    )
    make_folder(out)
    started_s = time.monotonic()
    num_workers = min(num_workers or available_cores(), num_clips)
    with clip_bar(num_clips, "synth") as bar:
        report = write_set(out, record, num_workers=num_workers, on_clip=lambda _: bar.update())
    seconds = time.monotonic() - started_s
    if as_json:
        click.echo(
            json.dumps(
                {
                    "clips": report.num_clips,
                    "resumed": report.num_resumed,
                    "seconds": round(seconds, 3),
                    "bytes": report.media_bytes,
                    "out": str(out),
                    "listing": str(report.listing),
                    "ground_truth": str(report.ground_truth),
                }
            )
        )
    else:
        click.echo(
            f"{report.num_clips} clips ({report.num_resumed} were there) in {seconds:.1f} s, "
            f"{report.media_bytes / 1e6:.1f} MB: {report.listing}"
        )
