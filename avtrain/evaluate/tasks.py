"""Evaluations of a run by name: a frozen method and a shard set -> numbers with chance beside."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from avdata import ShardSet
from avtrain.data.samples import (
    SampleTable,
    filter_samples,
    read_sample_table,
    select_samples,
)
from avtrain.errors import DataError
from avtrain.evaluate.accuracy import ClassificationAccuracy, LabelledFeatures
from avtrain.evaluate.embed import EmbedOptions, FrozenEncoders, embed_samples
from avtrain.evaluate.knn import knn_accuracy
from avtrain.evaluate.linear_probe import linear_probe_accuracy
from avtrain.evaluate.retrieval import cross_modal_retrieval
from avtrain.methods import Modality

TaskName = Literal["retrieval", "knn", "linear"]

TRAIN_SPLIT = "train"
TEST_SPLIT = "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalOptions:
    """What an evaluation may be told."""

    split: str | None = None
    """Samples to measure on; None: split test, and for retrieval all where there is none."""
    train_split: str = TRAIN_SPLIT
    """Samples whose labels are known, for knn and linear."""
    where: str | None = None
    """Of both, only those whose row of the manifest meets this condition."""
    encoder: Modality = "video"
    """Whose features knn and linear classify."""
    embed: EmbedOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalResult:
    """Numbers of one evaluation; each metric has its chance under the same name."""

    task: TaskName
    metrics: dict[str, float]
    chance: dict[str, float]
    num_samples: int
    """Samples measured on."""


def retrieval(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """How a sample's video finds its own sound among all of the split, and the reverse."""
    table, where = read_sample_table(shards), str(shards.location)
    split = options.split
    if split is None and TEST_SPLIT in table.splits:
        split = TEST_SPLIT
    samples = filter_samples(shards, select_samples(table, split, where=where), options.where)
    if len(samples) < 2:
        raise DataError(
            f"retrieval needs at least 2 samples, {where} has {len(samples)} of split {split!r}; "
            "give another --split"
        )
    embeddings = embed_samples(
        frozen,
        shards,
        table,
        samples,
        modalities=("video", "audio"),
        space="embedding",
        options=options.embed,
    )
    both = cross_modal_retrieval(embeddings["video"], embeddings["audio"])
    metrics: dict[str, float] = {}
    chance: dict[str, float] = {}
    for direction, values in asdict(both).items():
        for name in ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank"):
            metrics[f"{direction}/{name}"] = values[name]
            chance[f"{direction}/{name}"] = values[f"chance_{name}"]
    return EvalResult(task="retrieval", metrics=metrics, chance=chance, num_samples=len(samples))


def knn(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Votes of the nearest training samples, by frozen features."""
    accuracy = knn_accuracy(_labelled_features(frozen, shards, options))
    return _classification_result("knn", accuracy)


def linear(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """A linear classifier fitted on frozen features of the training samples."""
    accuracy = linear_probe_accuracy(_labelled_features(frozen, shards, options))
    return _classification_result("linear", accuracy)


EVALUATIONS: dict[TaskName, Callable[[FrozenEncoders[Any], ShardSet, EvalOptions], EvalResult]] = {
    "retrieval": retrieval,
    "knn": knn,
    "linear": linear,
}


def _labelled_features(
    frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions
) -> LabelledFeatures:
    table, where = read_sample_table(shards), str(shards.location)
    test_split = TEST_SPLIT if options.split is None else options.split
    train = _labelled(shards, table, options.train_split, condition=options.where)
    test = _labelled(shards, table, test_split, condition=options.where)
    if options.train_split == test_split:
        raise DataError(
            f"--split and --train-split are both {test_split!r}; test on samples that the "
            "classifier was not fitted on"
        )
    classes = {name: i for i, name in enumerate(sorted({str(table.labels[s]) for s in train}))}
    if len(classes) < 2:
        raise DataError(
            f"all labels of split {options.train_split!r} in {where} are {sorted(classes)}; a "
            "classifier needs at least 2"
        )
    if unknown := sorted({str(table.labels[s]) for s in test} - classes.keys()):
        raise DataError(
            f"labels {unknown[:5]} of split {test_split!r} in {where} do not occur in split "
            f"{options.train_split!r}; list clips of them there, or drop them"
        )
    features = embed_samples(
        frozen,
        shards,
        table,
        (*train, *test),
        modalities=(options.encoder,),
        space="features",
        options=options.embed,
    )[options.encoder]
    targets = torch.tensor([classes[str(table.labels[s])] for s in (*train, *test)])
    return LabelledFeatures(
        train=features[: len(train)],
        train_labels=targets[: len(train)],
        test=features[len(train) :],
        test_labels=targets[len(train) :],
    )


def _labelled(
    shards: ShardSet, table: SampleTable, split: str, *, condition: str | None
) -> tuple[int, ...]:
    """Samples of a split that meet the condition and have a label."""
    where = str(shards.location)
    samples = filter_samples(shards, select_samples(table, split, where=where), condition)
    labelled = tuple(sample for sample in samples if table.labels[sample] is not None)
    if not labelled:
        raise DataError(
            f"the {len(samples)} samples of split {split!r} in {where} have no labels; build the "
            "set from a listing with labels, or evaluate with --task retrieval"
        )
    return labelled


def _classification_result(task: TaskName, accuracy: ClassificationAccuracy) -> EvalResult:
    return EvalResult(
        task=task,
        metrics={"top1": accuracy.top1, "top5": accuracy.top5},
        chance={"top1": accuracy.chance_top1, "top5": accuracy.chance_top5},
        num_samples=accuracy.num_test,
    )
