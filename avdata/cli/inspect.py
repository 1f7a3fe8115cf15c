"""`avdata inspect`: a shard set, one shard or one sample, in text, JSON or a picture."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from avdata.shards.stored_sample import StoredSample


@click.command()
@click.argument("target", metavar="DIR|SHARD", type=click.Path(path_type=Path))
@click.argument("key", metavar="[KEY]", required=False)
@click.option(
    "--png",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw KEY, or the first sample: frames, waveform and log-mel on one time axis.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def inspect(target: Path, key: str | None, png: Path | None, as_json: bool) -> None:
    """Tell what is in a shard set (a folder), in one shard (a .tar), or in sample KEY of either.

    A shard needs no files beside it: any WebDataset tar can be listed.
    """
    from avdata.shards.stored_sample import open_sample

    # before anything is printed: a fault leaves no half answer
    sample = open_sample(target, key) if key is not None or png is not None else None
    if png is not None:
        assert sample is not None
        _draw(sample, png)
    if key is not None:
        assert sample is not None
        facts, lines = _sample_view(sample)
    elif target.is_dir():
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


def _draw(sample: "StoredSample", png: Path) -> None:
    from avdata.errors import ShardSetError
    from avdata.shards.picture import draw_sample, read_sample_contents

    picture = draw_sample(read_sample_contents(sample))
    try:
        picture.save(png, format="PNG")
    except OSError as error:
        raise ShardSetError(
            f"--png {png} cannot be written ({error.strerror or error}); name a file in a folder "
            "that exists"
        ) from None


def _set_view(directory: Path) -> tuple[dict[str, object], list[str]]:
    from dataclasses import asdict

    from avdata.cli.inspect_text import set_lines
    from avdata.shards.reader import ShardSet
    from avdata.shards.summary import summarize

    summary = summarize(ShardSet(directory))
    facts = {name: value for name, value in asdict(summary).items() if name != "spec"}
    spec = summary.spec.model_dump(mode="json")
    return {"directory": str(directory), **spec, **facts}, set_lines(directory, summary)


def _shard_view(shard: Path) -> tuple[dict[str, object], list[str]]:
    from avdata.cli.inspect_text import shard_lines
    from avdata.shards.tar_contents import read_contents

    samples = read_contents(shard).samples
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
