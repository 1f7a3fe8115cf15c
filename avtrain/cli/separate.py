"""`avtrain separate`: a run and a video -> movies and sounds of what is seen and what is not."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from avtrain.apps.separate import SeparationFacts
    from avtrain.engine.device import DeviceName


@click.command("separate")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to write, made where it is missing.",
)
@click.option(
    "--mask",
    type=click.Choice(["l", "r"]),
    help="Hide the left or the right half of the picture: the voice that stays is the other's.",
)
@click.option(
    "--box",
    "boxes",
    metavar="X,Y,W,H",
    multiple=True,
    help="Show only this part of the picture, in pixels. Several boxes are several people, each "
    "with a sound of their own; the rest is what belongs to nobody.",
)
@click.option("--no-movies", is_flag=True, help="Write sounds, picture and metrics only.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def separate(
    run: Path,
    video: Path,
    out: Path,
    mask: str | None,
    boxes: tuple[str, ...],
    no_movies: bool,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Split the sound of VIDEO into what belongs to its picture and what does not.

    RUN is a run of separation. The folder gets on-screen and off-screen as WAV, at the rate at
    which the network hears, and as mp4 with the pictures at their full size; the mixture at that
    rate; a picture of the spectrograms; and metrics.json.
    """
    from avtrain.apps.load import load_with
    from avtrain.apps.out_file import make_out_folder
    from avtrain.apps.regions import choose_regions
    from avtrain.apps.separate import write_movies, write_report, write_sounds
    from avtrain.apps.separation_stream import RegionSeparator
    from avtrain.apps.video_file import open_video
    from avtrain.apps.windows import clip_form
    from avtrain.cli.progress_bar import progress_bar
    from avtrain.engine.device import choose_device

    opened = open_video(video, purpose="separation")
    regions = choose_regions(opened, mask=mask, boxes=boxes)
    torch_device = choose_device(device)
    loaded, method = load_with(run, torch_device, seam="separate", instead="separation")
    make_out_folder(out, video=video)
    form = clip_form(method.clip, opened, keeps_aspect=False)
    separator = RegionSeparator(method, torch_device, regions, sees=method.sees)
    facts = write_sounds(opened, form, separator, out, progress=progress_bar)
    movies = [] if no_movies else write_movies(opened, regions, out, progress=progress_bar)
    record = {
        **asdict(facts),
        "duration_s": facts.duration_s,
        "mask": mask,
        "boxes": list(boxes),
        "run": run.resolve().name,
        "step": loaded.step,
        "movies": [path.name for path in movies],
    }
    write_report(facts, out, record)
    _print_text(facts, out, to_stderr=as_json)
    if as_json:
        print(json.dumps({**record, "out": str(out)}))


def _print_text(facts: "SeparationFacts", out: Path, *, to_stderr: bool) -> None:
    lines = [
        f"{facts.duration_s:.2f} s of sound in {facts.num_windows} windows -> {out}; WAV files at "
        f"{facts.sample_rate_hz} Hz, at which the network hears"
    ]
    for track in facts.tracks:
        text = (
            f"{track.name:12} {track.level_db:7.1f} dB of full scale, {track.share:6.1%} of the "
            "energy"
        )
        if track.clipped_samples:
            text += f"; {track.clipped_samples} samples are clipped"
        lines.append(text)
    lines.append(
        f"the parts add up to the mixture within {facts.mixture_error_db:.1f} dB of its energy"
    )
    if facts.tracks[0].level_db <= -60:
        lines.append("the sound is silent: there is nothing to separate")
    if not facts.has_order:
        lines.append("this run does not know what is seen: which part is which means nothing")
    for line in lines:
        click.echo(line, err=to_stderr)
