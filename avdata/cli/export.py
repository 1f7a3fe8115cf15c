"""`avdata export`: a stored sample back to a movie, sound or pictures."""

import json
from pathlib import Path

import click

from avdata.command_line import PathOrUrl


@click.command()
@click.argument("directory", metavar="DIR", type=PathOrUrl())
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option(
    "-o",
    "--out",
    required=True,
    help="File to write; {key} in it stands for the key, and is needed for several samples.",
)
@click.option("--all", "all_samples", is_flag=True, help="Every sample of the set.")
@click.option(
    "--frame",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The frame that one picture shows.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a sample.")
def export(
    directory: Path | str,
    keys: tuple[str, ...],
    out: str,
    all_samples: bool,
    frame: int,
    as_json: bool,
) -> None:
    """Write samples KEY of the shard set DIR as files that anything opens.

    \b
    -o x.mp4 .mov .webm    a movie, picture and sound in sync
    -o x.mkv               the same with the stored sound as it is
    -o x.flac x.wav        the stored sound
    -o x.png x.jpg         one frame
    -o x_%04d.jpg          all frames

    A key that starts with a dash goes behind --: avdata export DIR -o x.mp4 -- -a1b2_0_10000
    """
    from avdata.errors import ConfigError
    from avdata.shards.export import check_target, export_sample
    from avdata.shards.reader import ShardSet
    from avdata.shards.sample_key import find_sample

    check_target(Path(out))
    shards = ShardSet(directory)
    if all_samples == bool(keys):
        raise ConfigError("name samples or give --all, one of the two; `avdata inspect` shows keys")
    if (all_samples or len(keys) > 1) and "{key}" not in out:
        raise ConfigError(f"-o {out}: several samples need {{key}} in the name, as in {{key}}.mp4")
    wanted = range(len(shards)) if all_samples else [find_sample(shards, key) for key in keys]
    for sample in wanted:
        # keys of foreign tars may hold folders
        path = Path(out.replace("{key}", shards.keys[sample].replace("/", "_")))
        done = export_sample(shards, sample, path, frame=frame)
        files = [str(file) for file in done.files]
        if as_json:
            facts = {"key": done.key, "files": files, "frames": done.num_frames}
            print(json.dumps({**facts, "audio_samples": done.num_audio_samples}))
        else:
            parts = [f"{done.num_frames} frames"] if done.num_frames else []
            parts += [f"{done.num_audio_samples} audio samples"] if done.num_audio_samples else []
            last = f" ... {files[-1]}" if len(files) > 1 else ""
            print(f"{done.key}: {', '.join(parts)} -> {files[0]}{last}")
