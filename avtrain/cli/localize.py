"""`avtrain localize`: a run and a video -> the video with maps of where its sound comes from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from avtrain.apps.localize import Localization
    from avtrain.engine.device import DeviceName


@click.command("localize")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Movie to write, .mp4: the video at its full size with maps over it, and its sound.",
)
@click.option(
    "--signed",
    is_flag=True,
    help="Draw what speaks for sync in warm colors and what speaks against it in cold ones, "
    "instead of the magnitude of both.",
)
@click.option(
    "--png", type=click.Path(path_type=Path), help="Also a picture of the strongest moments."
)
@click.option(
    "--min-positive",
    type=click.FloatRange(0, 1),
    default=0.10,
    show_default=True,
    help="Withhold the map where a smaller share of its cells speaks for sync.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, min_open=True),
    help="Strength of full color [default: the 97th percentile of the video].",
)
@click.option(
    "--mirrored/--not-mirrored",
    default=True,
    show_default=True,
    help="Average the maps of a run of sync with those of the mirror image: steadier places, in "
    "twice the network's time.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def localize(
    run: Path,
    video: Path,
    out: Path,
    signed: bool,
    png: Path | None,
    min_positive: float,
    threshold: float | None,
    mirrored: bool,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Show where in VIDEO its sound comes from, as the network of RUN sees and hears it.

    RUN is a run of sync, or of a method over pairs such as avid, or an export of one. Maps are
    withheld, and the reason said, where the sound is silent or does not go with the picture.
    """
    from avtrain.apps.load import load_map_source
    from avtrain.apps.localize import LocalizeOptions, write_overlay
    from avtrain.apps.localize import localize as find_maps
    from avtrain.apps.out_file import check_out_file
    from avtrain.apps.video_file import open_video
    from avtrain.cli.progress_bar import progress_bar
    from avtrain.engine.device import choose_device

    check_out_file(out, option="--out", suffixes=(".mp4",), video=video)
    if png is not None:
        check_out_file(png, option="--png", suffixes=(".png",), video=video)
    opened = open_video(video, purpose="localization")
    source = load_map_source(run, choose_device(device), mirrored=mirrored)
    options = LocalizeOptions(
        signed=signed, min_positive=min_positive, threshold=threshold, progress=progress_bar
    )
    found = find_maps(opened, source, options)
    drawn = write_overlay(opened, found, options, out=out, png=png)
    _print_text(found, out, to_stderr=as_json)
    if png is not None:
        text = str(png) if drawn else f"no strong moment: {png} is not written"
        click.echo(text, err=as_json)
    if as_json:
        print(json.dumps(_record(found, out, png if drawn else None)))


def _print_text(found: "Localization", out: Path, *, to_stderr: bool) -> None:
    lines = [f"{found.shown_share:.0%} of {found.end_s - found.start_s:.2f} s have a map -> {out}"]
    lines += [f"withheld {w.start_s:.2f} to {w.end_s:.2f} s: {w.reason}" for w in found.withheld]
    if found.shown.is_flat and found.shown_share > 0:
        lines.append("the map is the same everywhere: nothing is drawn")
    strongest = sorted(found.peaks, key=lambda peak: -peak.strength)[:5]
    for peak in sorted(strongest, key=lambda peak: peak.time_s):
        lines.append(
            f"strong at {peak.time_s:.2f} s, x {peak.x_px:.0f}, y {peak.y_px:.0f} px: "
            f"{peak.strength:.2f}"
        )
    for line in lines:
        click.echo(line, err=to_stderr)


def _record(found: "Localization", out: Path, png: Path | None) -> dict[str, object]:
    return {
        "out": str(out),
        "png": None if png is None else str(png),
        "start_s": found.start_s,
        "end_s": found.end_s,
        "shown_share": found.shown_share,
        "shown_from_strength": found.shown.low,
        "full_color_strength": found.shown.high,
        "peaks": [asdict(peak) for peak in found.peaks],
        "withheld": [asdict(stretch) for stretch in found.withheld],
        "windows": [asdict(window) for window in found.windows],
    }
