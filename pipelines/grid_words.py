"""Sentences of the GRID corpus: their mouths as movies, and probes for the words.

    python pipelines/grid_words.py prepare TRAIN_DIR TEST_DIR --out MEDIA
    python pipelines/grid_words.py probe SHARDS RUN [RUN ...] --out words.json

A sentence is six words, as in "bin blue at f two now". Labels are POSITION=WORD.
"""

import csv
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import av
import click
import torch

if TYPE_CHECKING:
    from avdata import ShardSet
    from avtrain.engine.device import DeviceName

POSITIONS = ("command", "colour", "preposition", "letter", "digit", "adverb")
MOUTH_BOX = (slice(176, 260), slice(122, 206))
"""Rows and columns around the mouth of speaker s1, who sits still, in pictures of 360 x 288."""
SPAN_S = (0.4, 2.6)
"""Of the 3 s of each recording; the rest is silence."""
X264 = {"crf": "16", "preset": "veryfast"}
NUM_FOLDS = 5


@click.group()
def main() -> None:
    """Make movies of the mouths of GRID's sentences, or probe for their words."""


@main.command()
@click.argument("train", type=click.Path(path_type=Path))
@click.argument("test", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--limit", type=click.IntRange(min=1), help="Of each folder the first so many.")
@click.option("--whole", is_flag=True, help="List whole recordings, their silent ends too.")
@click.option("--label", type=click.Choice(POSITIONS), help="Only this word, as the one label.")
@click.option(
    "--tested",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Sentences of TRAIN, drawn by chance, that are split test too.",
)
def prepare(
    train: Path,
    test: Path,
    out: Path,
    limit: int | None,
    whole: bool,
    label: str | None,
    tested: int,
) -> None:
    """Write movies of the mouths, and the listing of both folders, for `avdata build`.

    With --tested the sentences of TRAIN come in an order of chance, always the same: the first so
    many of those that train are as good as any.
    """
    learned = _sentences(train)[:limit]
    if tested >= len(learned):
        raise click.UsageError(f"--tested {tested} leaves none of {len(learned)} to train on")
    if tested:
        random.Random(0).shuffle(learned)
    cut = len(learned) - tested
    parts = (
        ("train", train, learned[:cut]),
        ("test", train, learned[cut:]),
        ("test", test, _sentences(test)[:limit]),
    )
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for split, folder, sentences in parts:
        for row in sentences:
            source = folder / row["file"]
            name = f"{row['speaker']}_{source.stem}"
            if not (out / f"{name}.mkv").exists():
                _write_mouth(source, out / f"{name}.mkv")
            every = "|".join(f"{position}={row[position]}" for position in POSITIONS)
            labels = row[label] if label else every
            span = ("", "") if whole else SPAN_S
            rows.append([f"{name}.mkv", name, *span, labels, split])
    with (out / "listing.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "id", "start_s", "end_s", "labels", "split"], *rows])
    click.echo(f"{len(rows)} sentences: {out / 'listing.csv'}")


def _write_mouth(source: Path, target: Path) -> None:
    """The part of the picture around the mouth, with the sound as it is."""
    partial = target.with_suffix(".partial.mkv")
    with av.open(str(source)) as read, av.open(str(partial), "w") as written:
        sound = written.add_stream_from_template(read.streams.audio[0])
        picture = written.add_stream("libx264", rate=25, options=X264)
        picture.width = picture.height = MOUTH_BOX[0].stop - MOUTH_BOX[0].start
        picture.pix_fmt = "yuv420p"
        for packet in read.demux(read.streams.audio[0], read.streams.video[0]):
            if packet.stream.type == "audio":
                if packet.dts is not None:
                    packet.stream = sound
                    written.mux(packet)
                continue
            for frame in packet.decode():
                cut = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24")[MOUTH_BOX].copy())
                cut.pts, cut.time_base = frame.pts, frame.time_base
                written.mux(picture.encode(cut))
        written.mux(picture.encode(None))
    partial.rename(target)


def _sentences(folder: Path) -> list[dict[str, str]]:
    path = folder / "labels.csv"
    if not path.exists():
        raise click.UsageError(f"{folder} has no labels.csv; give a folder of GRID sentences")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {"file", "speaker", *POSITIONS}
    if not rows or not wanted <= rows[0].keys():
        seen = sorted(rows[0]) if rows else "no rows"
        raise click.UsageError(f"{path} has {seen}, columns {sorted(wanted)} are needed")
    return rows


@main.command()
@click.argument("shards", type=click.Path(path_type=Path))
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--windows", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def probe(
    shards: Path, runs: tuple[Path, ...], out: Path, windows: int, device: "DeviceName"
) -> None:
    """Print how well a linear classifier reads each word off the frozen features of each RUN.

    Twice: fitted on split train and tested on split test; and over 5 folds of all sentences, which
    measures more of them, on features that the network may have been trained on without words.
    """
    from avdata import ShardSet

    shard_set = ShardSet(shards)
    words = _words(shard_set)
    splits = shard_set.manifest["split"].to_pylist()
    is_test = torch.tensor([split == "test" for split in splits])
    order = torch.randperm(len(splits), generator=torch.Generator().manual_seed(0))
    folds = torch.empty(len(splits), dtype=torch.long)
    folds[order] = torch.arange(len(splits)) % NUM_FOLDS
    results = []
    for run in runs:
        for modality, features in _features(run, shard_set, windows, device).items():
            for position, target in words.items():
                held_out = _accuracy(features, target, [is_test])
                all_folds = _accuracy(features, target, [folds == i for i in range(NUM_FOLDS)])
                results.append(
                    {
                        "run": str(run),
                        "modality": modality,
                        "position": position,
                        "words": int(target.max()) + 1,
                        "held_out": held_out,
                        "num_held_out": int(is_test.sum()),
                        "folds": all_folds,
                        "num_folds": len(splits),
                        "chance": float(torch.bincount(target).max() / len(target)),
                    }
                )
    out.write_text(json.dumps(results, indent=1))
    _print_table(results)


def _words(shards: "ShardSet") -> dict[str, torch.Tensor]:
    """By position, as the labels name them: the word of each sentence, as a number."""
    rows = [
        dict(label.split("=") for label in labels)
        for labels in shards.manifest["labels"].to_pylist()
    ]
    found = {}
    for position in rows[0]:
        names = sorted({row[position] for row in rows})
        found[position] = torch.tensor([names.index(row[position]) for row in rows])
    return found


def _features(
    run: Path, shards: "ShardSet", windows: int, device: "DeviceName"
) -> dict[str, torch.Tensor]:
    """Pooled features of all sentences, by modality."""
    from avtrain.engine.device import choose_device
    from avtrain.engine.load import load_method
    from avtrain.evaluate.embed import EmbedOptions, sample_vectors
    from avtrain.evaluate.frozen import FrozenEncoders

    where = choose_device(device)
    loaded = load_method(run, where)
    frozen = FrozenEncoders(method=loaded.method, device=where, trained=loaded.record.spec)
    return {
        modality: sample_vectors(
            frozen,
            shards,
            tuple(range(len(shards))),
            modality=modality,
            options=EmbedOptions(num_windows=windows, batch_size=16),
        )["pool"]
        for modality in ("video", "audio")
    }


def _accuracy(features: torch.Tensor, target: torch.Tensor, tests: list[torch.Tensor]) -> float:
    """Share of test sentences whose word is right, each test fitted on all others."""
    from avtrain.evaluate import LabelledFeatures, linear_probe_accuracy

    right, count = 0.0, 0
    for test in tests:
        found = linear_probe_accuracy(
            LabelledFeatures(
                train=features[~test],
                train_labels=target[~test],
                test=features[test],
                test_labels=target[test],
            ),
            inverse_penalty=0.01,
        )
        right, count = right + found.top1 * found.num_test, count + found.num_test
    return right / count


def _print_table(results: list[dict[str, object]]) -> None:
    click.echo(f"accuracy on held-out sentences / over {NUM_FOLDS} folds of all sentences")
    of_run: dict[str, list[str]] = {}
    for result in results:
        words = of_run.setdefault(f"{result['run']}, {result['modality']}", [])
        words.append(f"{result['position']} {result['held_out']:.1%} / {result['folds']:.1%}")
    chance = {result["position"]: f"{result['chance']:.1%}" for result in results}
    of_run["commonest word"] = [f"{position} {share}" for position, share in chance.items()]
    for name, words in of_run.items():
        click.echo(f"{name}: {', '.join(words)}")


if __name__ == "__main__":
    main()
