"""`avdata inspect`: a shard set, one shard or one sample, in text, JSON or a picture."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata.command_line import PathOrUrl

if TYPE_CHECKING:
    from avdata.shards.stored_sample import StoredSample


@click.command()
@click.argument("target", metavar="DIR|SHARD", type=PathOrUrl())
@click.argument("key", metavar="[KEY]", required=False)
@click.option(
    "--png",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw KEY, or the first sample: frames, waveform and log-mel on one time axis.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one page to look and listen in a browser: summary, histograms, rejects, samples.",
)
@click.option(
    "--samples",
    "num_samples",
    type=click.IntRange(min=1, max=1000),
    default=60,
    show_default=True,
    help="Samples on the page.",
)
@click.option("--seed", default=0, show_default=True, help="Of the pick of samples for the page.")
@click.option(
    "--where",
    metavar="CONDITION",
    help='Only clips that meet it stand on the page, as in "silence_fraction > 0.5".',
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def inspect(
    target: Path | str,
    key: str | None,
    png: Path | None,
    page: Path | None,
    num_samples: int,
    seed: int,
    where: str | None,
    as_json: bool,
) -> None:
    """Tell what is in a shard set (a folder), in one shard (a .tar), or in sample KEY of either.

    A shard needs no files beside it: any WebDataset tar can be listed.
    """
    from avdata.shards.stored_sample import is_set, open_sample

    if page is not None:
        if key is not None or png is not None:
            raise click.UsageError("--html shows a whole set: leave KEY and --png out")
        _write_page(target, page, num_samples, seed, where, as_json)
        return
    if where is not None:
        raise click.UsageError("--where goes with --html; `avdata stats DIR --where` counts")
    if png is not None:
        from avdata.cli.picture_file import check_picture_name

        check_picture_name(png)
    # before anything is printed: a fault leaves no half answer
    sample = open_sample(target, key) if key is not None or png is not None else None
    if png is not None:
        assert sample is not None
        _draw(sample, png)
    if key is not None:
        assert sample is not None
        facts, lines = _sample_view(sample)
    elif is_set(target):
        facts, lines = _set_view(target)
    else:
        facts, lines = _shard_view(target)
    if as_json:
        print(json.dumps({**facts, **({"png": str(png)} if png else {})}))
        return
    for line in lines:
        print(line)
    if png is not None and sample is not None:
        print(f"\npicture of {sample.key} -> {png}")


def _write_page(
    target: Path | str, path: Path, num_samples: int, seed: int, where: str | None, as_json: bool
) -> None:
    from avdata.atomic_writing import write_atomically
    from avdata.cli.progress import clip_bar
    from avdata.errors import ShardSetError
    from avdata.shards.page import PageOptions, make_page
    from avdata.shards.quantity_text import bytes_text
    from avdata.shards.reader import ShardSet

    shard_set = ShardSet(target)
    if not path.parent.is_dir():
        raise ShardSetError(f"--html {path}: there is no folder {path.parent}; make it first")
    options = PageOptions(num_samples=num_samples, seed=seed, where=where)
    with clip_bar(min(num_samples, len(shard_set)), "page") as bar:
        page = make_page(shard_set, options, on_sample=bar.update)
    data = page.html.encode()
    try:
        write_atomically(path, data)
    except OSError as error:
        raise ShardSetError(f"--html {path} cannot be written: {error.strerror or error}") from None
    if page.damaged:
        some = ", ".join(page.damaged[:5]) + (" ..." if len(page.damaged) > 5 else "")
        click.echo(
            f"note: {len(page.damaged)} of the {page.num_samples} samples do not decode, their "
            f"tiles say why: {some}; run `avdata verify {target}`",
            err=True,
        )
    if as_json:
        facts = {
            "html": str(path),
            "num_bytes": len(data),
            "num_clips": page.num_clips,
            "num_chosen": page.num_chosen,
            "num_samples": page.num_samples,
            "damaged": page.damaged,
        }
        print(json.dumps(facts))
        return
    chosen = f" ({page.num_chosen} where {where})" if where else ""
    print(
        f"{page.num_samples} of {page.num_clips} clips{chosen}, {bytes_text(len(data))} -> {path}"
    )


def _draw(sample: "StoredSample", png: Path) -> None:
    from avdata.cli.picture_file import save_picture
    from avdata.shards.picture import draw_sample, read_sample_contents

    save_picture(draw_sample(read_sample_contents(sample)), png)


def _set_view(directory: Path | str) -> tuple[dict[str, object], list[str]]:
    from dataclasses import asdict

    from avdata.cli.inspect_text import set_lines
    from avdata.shards.reader import ShardSet
    from avdata.shards.summary import summarize

    summary = summarize(ShardSet(directory))
    facts = {name: value for name, value in asdict(summary).items() if name != "spec"}
    spec = summary.spec.model_dump(mode="json")
    return {"directory": str(directory), **spec, **facts}, set_lines(directory, summary)


def _shard_view(shard: Path | str) -> tuple[dict[str, object], list[str]]:
    from avdata.cli.inspect_text import shard_lines
    from avdata.shards.stored_sample import shard_place
    from avdata.shards.tar_contents import read_contents_at

    samples = read_contents_at(*shard_place(shard)).samples
    facts: dict[str, object] = {
        "shard": str(shard),
        "num_samples": len(samples),
        "samples": [
            {
                "key": sample.key,
                "members": {suffix: where.size for suffix, where in sample.members.items()},
            }
            for sample in samples
        ],
    }
    return facts, shard_lines(shard, samples)


def _sample_view(sample: "StoredSample") -> tuple[dict[str, object], list[str]]:
    from dataclasses import asdict

    from avdata.cli.inspect_text import sample_lines

    meta = sample.read_meta()
    row = asdict(sample.row) if sample.row else None
    facts: dict[str, object] = {
        "key": sample.key,
        "shard": str(sample.shard),
        "members": {suffix: asdict(where) for suffix, where in sample.sample.members.items()},
        "row": row,
        "meta": meta,
    }
    return facts, sample_lines(sample, meta)
