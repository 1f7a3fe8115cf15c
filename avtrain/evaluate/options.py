"""What all evaluations of a run are told, and the features that they take by it."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from avdata import ShardSet
from avtrain.errors import RunError
from avtrain.evaluate.accuracy import LabelledFeatures
from avtrain.evaluate.classifier_training import TrainingOptions
from avtrain.evaluate.config import EvalConfig
from avtrain.evaluate.embed import EmbedOptions, sample_vectors
from avtrain.evaluate.folds import TRAIN_SPLIT, LabelledFold, SplitChoice, published_folds
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.fused_vectors import fused_vectors
from avtrain.methods import Modality


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalOptions:
    """What an evaluation may be told."""

    split: str | None = None
    """Samples to measure on; None: split test, and for retrieval all where there is none."""
    train_split: str = TRAIN_SPLIT
    """Samples whose labels are known."""
    folds: tuple[str, ...] = ()
    """Splits of which each is tested once while the others train, in place of both."""
    where: str | None = None
    """Of all, only those whose row of the manifest meets this condition."""
    encoder: Modality = "video"
    """Whose features are classified; retrieval takes both."""
    config: EvalConfig = field(default_factory=EvalConfig)
    embed: EmbedOptions

    @property
    def choice(self) -> SplitChoice:
        """Which splits were named."""
        return SplitChoice(
            split=self.split, train_split=self.train_split, folds=self.folds, where=self.where
        )

    @property
    def training(self) -> TrainingOptions:
        """What trainings of classifiers are told."""
        return TrainingOptions(
            modality=self.encoder,
            seed=self.config.seed,
            num_threads=self.embed.loader_threads,
            progress=self.embed.progress,
        )


def with_published_folds(shards: ShardSet, options: EvalOptions) -> EvalOptions:
    """With the folds of a set that consists of them, where no split is named."""
    if options.split is not None or options.folds:
        return options
    return replace(options, folds=published_folds(shards))


def fold_vectors(
    frozen: FrozenEncoders[Any], shards: ShardSet, fold: LabelledFold, options: EvalOptions
) -> dict[str, Tensor]:
    """By layer: rows of the training samples, then of the test samples."""
    samples = (*fold.train, *fold.test)
    if frozen.fused is not None:
        sound = options.config.sound
        return fused_vectors(frozen, shards, samples, sound=sound, options=options.embed)
    return sample_vectors(
        frozen,
        shards,
        samples,
        modality=options.encoder,
        options=options.embed,
    )


def heard_encoder(
    frozen: FrozenEncoders[Any], options: EvalOptions, *, sound: bool
) -> Modality | None:
    """Whose features a result is of: a modality's, or None for a network that sees and hears.

    Raises:
        RunError: The settings ask for an audio network, and the run has one for both; or not to
            hear, and the run has one network for each.
    """
    if frozen.fused is None:
        if not sound:
            raise RunError(
                "sound=false is for runs of sync, whose network sees and hears; this run has one "
                "for each: give --encoder video"
            )
        return options.encoder
    if options.encoder == "audio":
        raise RunError(
            "a run of sync has one network, which sees and hears; leave --encoder audio out, or "
            "give a set with frames"
        )
    return None if sound and frozen.fused.model.config.use_sound else "video"


def labelled_features(vectors: Tensor, fold: LabelledFold) -> LabelledFeatures:
    """`vectors` of a fold's samples with their classes."""
    return LabelledFeatures(
        train=vectors[: len(fold.train)],
        train_labels=fold.train_target,
        test=vectors[len(fold.train) :],
        test_labels=fold.test_target,
    )
