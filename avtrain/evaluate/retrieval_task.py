"""Retrieval on a shard set: a clip's own other half, and clips of its class."""

from dataclasses import asdict, replace
from typing import Any

from avdata import ShardSet
from avtrain.data.samples import filter_samples, read_sample_table, select_samples
from avtrain.errors import DataError
from avtrain.evaluate.embed import sample_vectors
from avtrain.evaluate.folds import TEST_SPLIT, LabelledFold, read_folds
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.label_retrieval import label_retrieval
from avtrain.evaluate.options import (
    EvalOptions,
    fold_vectors,
    labelled_features,
    with_published_folds,
)
from avtrain.evaluate.result import EvalResult, mean_result
from avtrain.evaluate.retrieval import cross_modal_retrieval
from avtrain.methods import Modality


def retrieval(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Across modalities, a sample's own other half among all of the split; within each modality,
    samples of the same class among the training samples, as far as there are labels.
    """
    modalities = frozen.stored_modalities(shards)
    parts = []
    notes: list[str] = []
    if len(modalities) == 2:
        parts.append(_across(frozen, shards, options))
    else:
        notes.append(f"{shards.location} has no field of the other modality: none across")
    try:
        folds = read_folds(shards, with_published_folds(shards, options).choice)
    except DataError as error:
        if not parts:
            raise
        notes.append(f"none within a modality: {error}")
    else:
        parts += [
            mean_result(
                {fold.name: _within(frozen, shards, fold, modality, options) for fold in folds}
            )
            for modality in modalities
        ]
    return EvalResult(
        task="retrieval",
        metrics={name: value for part in parts for name, value in part.metrics.items()},
        chance={name: value for part in parts for name, value in part.chance.items()},
        num_samples=parts[0].num_samples,
        folds=_joined_folds(parts),
        notes=tuple(notes),
    )


def _across(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
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
    video, audio = (
        sample_vectors(frozen, shards, samples, modality=modality, options=options.embed)
        for modality in ("video", "audio")
    )
    both = cross_modal_retrieval(video["embedding"], audio["embedding"])
    metrics: dict[str, float] = {}
    chance: dict[str, float] = {}
    for direction, values in asdict(both).items():
        for name in ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank"):
            metrics[f"{direction}/{name}"] = values[name]
            chance[f"{direction}/{name}"] = values[f"chance_{name}"]
    return EvalResult(task="retrieval", metrics=metrics, chance=chance, num_samples=len(samples))


def _within(
    frozen: FrozenEncoders[Any],
    shards: ShardSet,
    fold: LabelledFold,
    modality: Modality,
    options: EvalOptions,
) -> EvalResult:
    vectors = fold_vectors(frozen, shards, fold, replace(options, encoder=modality))
    found = label_retrieval(labelled_features(vectors["pool"], fold))
    direction = f"{modality}_to_{modality}"
    return EvalResult(
        task="retrieval",
        metrics={f"{direction}/recall_at_{k}": value for k, value in found.recall_at.items()},
        chance={f"{direction}/recall_at_{k}": value for k, value in found.chance_recall_at.items()},
        num_samples=found.num_queries,
    )


def _joined_folds(parts: list[EvalResult]) -> dict[str, dict[str, float]]:
    names = dict.fromkeys(name for part in parts for name in part.folds)
    return {
        name: {metric: v for part in parts for metric, v in part.folds.get(name, {}).items()}
        for name in names
    }
