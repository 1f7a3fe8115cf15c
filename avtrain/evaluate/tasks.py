"""Evaluations of a run by name: a frozen method and a shard set -> numbers with chance beside."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from avdata import ShardSet
from avtrain.errors import DataError
from avtrain.evaluate.accuracy import ClassificationAccuracy
from avtrain.evaluate.classifier_training import few_steps_notes
from avtrain.evaluate.config import FUSED_STAGES, STAGES
from avtrain.evaluate.fewshot import fewshot_accuracy, smallest_class
from avtrain.evaluate.finetune import finetune_accuracy
from avtrain.evaluate.folds import LabelledFold, read_folds
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.knn import knn_accuracy
from avtrain.evaluate.linear_heads import linear_heads_accuracy
from avtrain.evaluate.linear_probe import linear_probe_accuracy
from avtrain.evaluate.localization import localization
from avtrain.evaluate.options import (
    EvalOptions,
    fold_vectors,
    heard_encoder,
    labelled_features,
    with_published_folds,
)
from avtrain.evaluate.result import (
    EvalResult,
    TaskName,
    accuracy_result,
    mean_result,
    with_best_layer,
)
from avtrain.evaluate.retrieval_task import retrieval
from avtrain.evaluate.separation_task import separation
from avtrain.evaluate.svm import grid_features, svm_accuracy
from avtrain.evaluate.sync_task import sync

__all__ = ["EVALUATIONS", "EvalOptions", "EvalResult", "TaskName", "evaluate_sets"]


Evaluation = Callable[[FrozenEncoders[Any], ShardSet, EvalOptions], EvalResult]


def evaluate_sets(
    task: TaskName, frozen: FrozenEncoders[Any], sets: list[ShardSet], options: EvalOptions
) -> EvalResult:
    """Result on one set, or the mean over several: the published splits of a listing.

    Raises:
        DataError: A set does not have what the task needs.
    """
    return _chosen_best(
        mean_result(
            {str(shards.location): EVALUATIONS[task](frozen, shards, options) for shards in sets}
        )
    )


def knn(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Votes of the nearest training samples, by frozen pooled features."""
    config = options.config.knn
    encoder = heard_encoder(frozen, options, sound=options.config.sound)

    def measure(fold: LabelledFold) -> EvalResult:
        vectors = fold_vectors(frozen, shards, fold, options)
        accuracy = knn_accuracy(
            labelled_features(vectors["pool"], fold),
            num_neighbors=config.neighbors,
            temperature=config.temperature,
        )
        return accuracy_result("knn", {"": accuracy}, encoder=encoder)

    return _over_folds(shards, options, measure)


def probe(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Logistic regression on frozen pooled features, layer by layer."""
    config = options.config.probe
    encoder = heard_encoder(frozen, options, sound=options.config.sound)
    stages = STAGES if frozen.fused is None else FUSED_STAGES
    layers = config.layers or (*stages, "pool")

    def measure(fold: LabelledFold) -> EvalResult:
        vectors = fold_vectors(frozen, shards, fold, options)
        if unknown := [layer for layer in layers if layer not in vectors]:
            raise DataError(
                f"probe.layers names {unknown}, this network has "
                f"{sorted(set(vectors) - {'embedding'})}; leave it out for all"
            )
        accuracy: dict[str, ClassificationAccuracy] = {
            layer: linear_probe_accuracy(
                labelled_features(vectors[layer], fold),
                inverse_penalty=config.inverse_penalty,
                max_iterations=config.max_iterations,
            )
            for layer in options.embed.progress(
                layers, total=len(layers), description=f"probe {fold.name}"
            )
        }
        return accuracy_result("probe", accuracy, encoder=encoder)

    return _over_folds(shards, options, measure)


def fewshot(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Linear classifiers on frozen pooled features of a few labeled samples of each class."""
    config = options.config.fewshot
    encoder = heard_encoder(frozen, options, sound=options.config.sound)

    def measure(fold: LabelledFold) -> EvalResult:
        rarest = smallest_class(fold.train_target)
        shots = [k for k in config.shots if k <= rarest]
        if not shots:
            raise DataError(
                f"fewshot.shots={list(config.shots)} needs as many training samples of each class, "
                f"the rarest of {shards.location} has {rarest}; set fewshot.shots=[{rarest}]"
            )
        left_out = [k for k in config.shots if k > rarest]
        vectors = fold_vectors(frozen, shards, fold, options)
        metrics: dict[str, float] = {}
        chance: dict[str, float] = {}
        for k in options.embed.progress(
            shots, total=len(shots), description=f"fewshot {fold.name}"
        ):
            of = fewshot_accuracy(
                labelled_features(vectors["pool"], fold),
                shots=k,
                config=config,
                seed=options.config.seed,
            )
            metrics |= {f"{k}-shot/top1": of.top1, f"{k}-shot/top1_std": of.top1_std}
            chance[f"{k}-shot/top1"] = of.chance_top1
        return EvalResult(
            task="fewshot",
            metrics=metrics,
            chance=chance,
            num_samples=len(fold.test),
            encoder=encoder,
            notes=(
                f"{config.draws} draws; top1_std is the deviation between them",
                *(f"{k} shots left out: the rarest class has {rarest}" for k in left_out),
            ),
        )

    return _over_folds(shards, options, measure)


def linear(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Linear heads trained on the frozen maps of each stage: the Kinetics protocol."""
    config = options.config.linear

    def measure(fold: LabelledFold) -> EvalResult:
        accuracy = linear_heads_accuracy(frozen, shards, fold, config, options.training)
        result = accuracy_result("linear", accuracy, encoder=options.encoder)
        notes = few_steps_notes(
            len(fold.train),
            clips_per_sample=config.clips_per_sample,
            batch_size=config.batch_size,
            epochs=config.epochs,
            section="linear",
        )
        return replace(result, notes=notes)

    return _over_folds(shards, options, measure)


def finetune(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """A copy of the network trained with a classifier: the UCF-101 and HMDB-51 protocols."""
    config = options.config.finetune
    if frozen.fused is not None:
        config = config.for_fused()
    encoder = heard_encoder(frozen, options, sound=config.sound)

    def measure(fold: LabelledFold) -> EvalResult:
        accuracy = finetune_accuracy(frozen, shards, fold, config, options.training)
        result = accuracy_result("finetune", {"": accuracy.dense}, encoder=encoder)
        notes = few_steps_notes(
            len(fold.train),
            clips_per_sample=config.clips_per_sample,
            batch_size=config.batch_size,
            epochs=config.head_epochs + config.epochs,
            section="finetune",
        )
        result = replace(result, notes=notes)
        if accuracy.single is None:
            return result
        single = accuracy_result("finetune", {"clip": accuracy.single}, encoder=encoder)
        return replace(
            result,
            metrics={**result.metrics, **single.metrics},
            chance={**result.chance, **single.chance},
        )

    return _over_folds(shards, options, measure)


def svm(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Linear SVMs on the frozen maps of each stage: the ESC-50 and DCASE protocol."""
    config, seed = options.config.svm, options.config.seed
    folds = read_folds(shards, with_published_folds(shards, options).choice)
    samples = tuple(sorted({sample for fold in folds for sample in (*fold.train, *fold.test)}))
    with grid_features(
        frozen,
        shards,
        samples,
        config,
        modality=options.encoder,
        seed=seed,
        options=options.embed,
    ) as features:
        results = {
            fold.name: accuracy_result(
                "svm", svm_accuracy(features, fold, config, seed=seed), encoder=options.encoder
            )
            for fold in options.embed.progress(folds, total=len(folds), description="svm folds")
        }
    return mean_result(results)


EVALUATIONS: dict[TaskName, Evaluation] = {
    "retrieval": retrieval,
    "knn": knn,
    "probe": probe,
    "linear": linear,
    "finetune": finetune,
    "svm": svm,
    "fewshot": fewshot,
    "sync": sync,
    "separation": separation,
    "localization": localization,
}


def _chosen_best(result: EvalResult) -> EvalResult:
    layers = [name for name in result.metrics if name.endswith("/top1")]
    return (
        with_best_layer(result) if result.task in ("probe", "linear", "svm") and layers else result
    )


def _over_folds(
    shards: ShardSet, options: EvalOptions, measure: Callable[[LabelledFold], EvalResult]
) -> EvalResult:
    folds = read_folds(shards, with_published_folds(shards, options).choice)
    return mean_result({fold.name: measure(fold) for fold in folds})
