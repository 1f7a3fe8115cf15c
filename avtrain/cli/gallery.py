"""`avtrain gallery`: a run and a shard set -> a page of its strongest responses, class by class."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata import PathOrUrl

if TYPE_CHECKING:
    from avtrain.apps.gallery import Gallery
    from avtrain.engine.device import DeviceName


@click.command("gallery")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("shards", type=PathOrUrl(), metavar="SHARDS")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="Page to write, .html: one file that needs no network.",
)
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Videos of each class, one moment of each.",
)
@click.option(
    "--no-faces",
    is_flag=True,
    help="Leave out moments whose strongest place is a face; needs OpenCV (avtoolkit[faces]).",
)
@click.option("--split", help="Samples to look at [default: test, else all].")
@click.option(
    "--where", metavar="CONDITION", help="Only samples whose manifest row meets it, as in eval."
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Clips at a time.",
)
@click.option("--loader-threads", type=click.IntRange(min=1), help="[default: one a core]")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print what is shown as one JSON object.")
def gallery(
    run: Path,
    shards: Path | str,
    out: Path,
    per_class: int,
    no_faces: bool,
    split: str | None,
    where: str | None,
    batch_size: int,
    loader_threads: int | None,
    device: "DeviceName",
    as_json: bool,
) -> None:
    """Show where RUN responds most to the videos of SHARDS, class by class, on one page.

    RUN is a run of sync, or one of a method over pairs or an export of it. Each class has its
    strongest videos, with the map over the moment of its peak; they play under the mouse.
    """
    from avdata import ShardSet, atomic_file, available_cores
    from avtrain.apps.gallery import GalleryOptions, make_gallery
    from avtrain.apps.gallery_page import PageFacts, gallery_html
    from avtrain.apps.out_file import check_out_file
    from avtrain.cli.progress_bar import progress_bar
    from avtrain.data.samples import check_shard_files, filter_samples, select_samples
    from avtrain.engine.device import choose_device
    from avtrain.evaluate.config import LocalizationEvalConfig
    from avtrain.evaluate.folds import TEST_SPLIT
    from avtrain.evaluate.load import load_networks
    from avtrain.evaluate.localization import set_maps

    check_out_file(out, option="--out", suffixes={".html", ".htm"}, video=run)
    networks = load_networks(run, choose_device(device), is_random=False)
    shard_set = ShardSet(shards)
    check_shard_files(shard_set)
    source = set_maps(networks.frozen, shard_set, LocalizationEvalConfig())
    if split is None and TEST_SPLIT in source.table.splits:
        split = TEST_SPLIT
    chosen = select_samples(source.table, split, where=str(shard_set.location))
    found = make_gallery(
        source,
        shard_set,
        filter_samples(shard_set, chosen, where),
        networks.frozen.device,
        GalleryOptions(
            per_class=per_class,
            leave_out_faces=no_faces,
            batch_size=batch_size,
            loader_threads=loader_threads or min(available_cores(), 32),
            progress=progress_bar,
        ),
    )
    facts = PageFacts(
        run=run.resolve().name,
        shards=str(shard_set.location).rstrip("/").rpartition("/")[2],
        split=split,
        without_faces=no_faces,
    )
    with atomic_file(out) as file:
        file.write(gallery_html(found, facts).encode())
    _report(found, out, as_json=as_json)


def _report(found: "Gallery", out: Path, *, as_json: bool) -> None:
    shown = sum(len(one.moments) for one in found.classes)
    megabytes = out.stat().st_size / 1e6
    click.echo(
        f"{shown} moments of {len(found.classes)} classes, of {found.num_videos} videos -> {out} "
        f"({megabytes:.1f} MB)",
        err=as_json,
    )
    if found.num_without:
        click.echo(
            f"{found.num_without} videos have no map that counts: too short, silent, or sound and "
            "picture do not go together",
            err=as_json,
        )
    faces = sum(one.num_faces for one in found.classes)
    if faces:
        click.echo(f"{faces} moments left out: a face is the strongest place", err=as_json)
    if as_json:
        print(json.dumps(_record(found, out)))


def _record(found: "Gallery", out: Path) -> dict[str, object]:
    return {
        "out": str(out),
        "num_videos": found.num_videos,
        "num_without": found.num_without,
        "classes": [
            {
                "name": one.name,
                "num_videos": one.num_videos,
                "num_faces": one.num_faces,
                "moments": [
                    {
                        "key": moment.key,
                        "time_s": moment.time_s,
                        "x": moment.x,
                        "y": moment.y,
                        "strength": moment.strength,
                    }
                    for moment in one.moments
                ],
            }
            for one in found.classes
        ],
    }
