"""`avtrain sync`: a run and a video -> how late its sound is, and the mended file."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from avtrain.apps.offset_evidence import OffsetEstimate
    from avtrain.apps.shifted_copy import CopyFacts
    from avtrain.engine.device import DeviceName

EXIT_NOT_SURE = 1


@click.command("sync")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Write the video with its sound where it belongs, streams copied where the container "
    "can: .mkv (holds everything), .mp4 or .mov. Not written, and exit code 1, where the answer "
    "is not sure.",
)
@click.option(
    "--max-offset",
    type=click.FloatRange(min=0.2, max=30),
    default=2.0,
    show_default=True,
    help="Largest offset tried, in seconds, both ways.",
)
@click.option(
    "--step",
    type=click.FloatRange(min=0.01, max=1),
    default=0.04,
    show_default=True,
    help="Distance of the offsets tried first; around the best one, 0.01. Networks are sure of "
    "an offset to some 0.03 s: larger steps are faster and may miss it.",
)
@click.option(
    "--windows",
    type=click.IntRange(min=0),
    default=40,
    show_default=True,
    help="Clips compared, spread evenly over the video; 0 is all of it.",
)
@click.option("--force", is_flag=True, help="Write --out even where the answer is not sure.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def sync(
    run: Path,
    video: Path,
    out: Path | None,
    max_offset: float,
    step: float,
    windows: int,
    force: bool,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Measure how late the sound of VIDEO is, as the network of RUN judges it.

    RUN is a run of sync. A positive offset means that the sound comes after its picture.
    """
    from avtrain.apps.load import keeps_aspect, load_with
    from avtrain.apps.offset_scan import ScanOptions, WindowScorer, estimate_offset
    from avtrain.apps.out_file import check_out_file
    from avtrain.apps.shifted_copy import CONTAINERS, write_shifted
    from avtrain.apps.video_file import open_video
    from avtrain.apps.windows import clip_form
    from avtrain.cli.progress_bar import progress_bar
    from avtrain.engine.device import choose_device

    if out is not None:
        check_out_file(out, option="--out", suffixes=CONTAINERS, video=video)
    opened = open_video(video, purpose="measuring sync")
    torch_device = choose_device(device)
    loaded, method = load_with(run, torch_device, seam="scores", instead="sync")
    options = ScanOptions(
        max_offset_s=max_offset,
        coarse_step_s=step,
        max_windows=windows,
        progress=progress_bar,
    )
    form = clip_form(method.clip, opened, keeps_aspect=keeps_aspect(loaded))
    found = estimate_offset(opened, form, WindowScorer(method, torch_device), options)
    copied = None
    if out is not None and (found.is_sure or force):
        copied = write_shifted(opened, out, earlier_s=found.offset_s, progress=progress_bar)
    _print_text(found, out, copied, to_stderr=as_json)
    if as_json:
        record = {
            **asdict(found),
            "sure": found.is_sure,
            "run": run.resolve().name,
            "step": loaded.step,
            "out": str(out) if copied is not None else None,
            "copied": asdict(copied) if copied is not None else None,
        }
        print(json.dumps(record))
    if out is not None and copied is None:
        sys.exit(EXIT_NOT_SURE)


def verdict(found: "OffsetEstimate") -> str:
    """The answer in one line."""
    size_s = abs(found.offset_s)
    what = f"the sound is {size_s:.2f} s {'late' if found.offset_s > 0 else 'early'}"
    if size_s < 0.03:
        what = f"picture and sound are in sync (within {max(size_s, 0.01):.2f} s)"
    if found.is_sure:
        return what
    if found.at_edge:
        return (
            f"not sure: the best offset, {found.offset_s:+.2f} s, is the last that was tried; "
            "try a larger --max-offset"
        )
    if found.is_strong and found.rival is not None:
        return (
            f"not sure: {found.rival.offset_s:+.2f} s explains it nearly as well (a peak "
            f"{found.rival.height:.0%} as high), as where a sound repeats; if anything, {what}"
        )
    return f"not sure; if anything, {what}"


def _print_text(
    found: "OffsetEstimate", out: Path | None, copied: "CopyFacts | None", *, to_stderr: bool
) -> None:
    def say(text: str) -> None:
        click.echo(text, err=to_stderr)

    say("window           own offset    at estimate   as it is")
    for window in found.windows:
        span = f"{window.start_s:7.2f} {window.end_s:7.2f}"
        if window.offset_s is None:
            say(f"{span}  left out: {window.left_out}")
        else:
            say(
                f"{span}  {window.offset_s:+9.2f} s  {window.score:+11.2f}  "
                f"{window.score_as_is:+9.2f}"
            )
    say(verdict(found))
    by_chance = "" if found.chance is None else f", by chance in {found.chance:.1%} of cases"
    say(
        f"offset {found.offset_s:+.3f} s, confidence {found.confidence:.1%}, margin "
        f"{found.margin:.2f}, {found.agreement:.0%} of {found.num_used} windows agree{by_chance}; "
        f"tried {found.tried_s[0]:+.2f} to {found.tried_s[1]:+.2f} s"
    )
    if out is None:
        return
    if copied is None:
        say(f"{out} is not written; --force writes it all the same")
        return
    encoded = [n for n, c in (("pictures", copied.pictures), ("sound", copied.sound)) if not c]
    how = f"{' and '.join(encoded)} encoded again" if encoded else "streams copied"
    say(f"sound moved by {-found.offset_s:+.3f} s -> {out}, {how}")
