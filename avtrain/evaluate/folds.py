"""Which samples of a shard set train a classifier and which test it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avdata import ShardSet
from avtrain.data.samples import (
    SampleTable,
    filter_samples,
    read_sample_table,
    select_samples,
)
from avtrain.errors import DataError

if TYPE_CHECKING:
    from jaxtyping import Int

TRAIN_SPLIT = "train"
TEST_SPLIT = "test"
_FOLD_NAME = re.compile(r"fold\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitChoice:
    """Which splits a user named."""

    split: str | None = None
    """Samples to measure on; None: split test."""
    train_split: str = TRAIN_SPLIT
    """Samples whose labels are known."""
    folds: tuple[str, ...] = ()
    """Splits of which each is tested once while the others train; not empty: in place of both."""
    where: str | None = None
    """Of all, only those whose row of the manifest meets this condition."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelledFold:
    """Samples with their classes, some to learn from and some to measure on."""

    name: str
    """Name of the tested split."""
    train: tuple[int, ...]
    test: tuple[int, ...]
    train_target: Int[Tensor, " m"]
    test_target: Int[Tensor, " n"]
    classes: tuple[str, ...]
    """Names of the classes that the targets count."""

    def __repr__(self) -> str:
        return (
            f"LabelledFold({self.name}: {len(self.train)} train, {len(self.test)} test, "
            f"{len(self.classes)} classes)"
        )


def read_folds(shards: ShardSet, choice: SplitChoice) -> list[LabelledFold]:
    """Folds of a set: one, train against test, or one for each split that `choice.folds` names.

    Raises:
        DataError: A split has no samples or no labels, or there are fewer than two classes.
    """
    table, where = read_sample_table(shards), str(shards.location)
    if not choice.folds:
        test_split = TEST_SPLIT if choice.split is None else choice.split
        if choice.train_split == test_split:
            raise DataError(
                f"--split and --train-split are both {test_split!r}; test on samples that the "
                "classifier was not fitted on"
            )
        train = labelled_samples(shards, table, choice.train_split, condition=choice.where)
        test = labelled_samples(shards, table, test_split, condition=choice.where)
        return [_fold(table, train, test, name=test_split, where=where)]
    if len(set(choice.folds)) < max(2, len(choice.folds)):
        raise DataError(
            f"--folds {','.join(choice.folds)} must name at least 2 splits, each once: one is "
            f"tested while the others train; {where} has splits {_splits(table)}"
        )
    by_fold = {
        name: labelled_samples(shards, table, name, condition=choice.where) for name in choice.folds
    }
    return [
        _fold(
            table,
            tuple(sorted(s for other in choice.folds if other != name for s in by_fold[other])),
            by_fold[name],
            name=name,
            where=where,
        )
        for name in choice.folds
    ]


def published_folds(shards: ShardSet) -> tuple[str, ...]:
    """Splits of a set that consists of numbered folds, as ESC-50 does; else nothing."""
    splits = _splits(read_sample_table(shards))
    if len(splits) >= 2 and all(_FOLD_NAME.fullmatch(name) for name in splits):
        return tuple(splits)
    return ()


def labelled_samples(
    shards: ShardSet, table: SampleTable, split: str, *, condition: str | None
) -> tuple[int, ...]:
    """Samples of a split that meet the condition and have a label.

    Raises:
        DataError: There are none.
    """
    where = str(shards.location)
    samples = filter_samples(shards, select_samples(table, split, where=where), condition)
    labelled = tuple(sample for sample in samples if table.labels[sample] is not None)
    if not labelled:
        raise DataError(
            f"the {len(samples)} samples of split {split!r} in {where} have no labels; build the "
            "set from a listing with labels, or evaluate with --task retrieval"
        )
    return labelled


def _splits(table: SampleTable) -> list[str]:
    return sorted({name for name in table.splits if name is not None})


def _fold(
    table: SampleTable,
    train: tuple[int, ...],
    test: tuple[int, ...],
    *,
    name: str,
    where: str,
) -> LabelledFold:
    labels = table.labels
    classes = sorted({str(labels[sample]) for sample in train})
    if len(classes) < 2:
        raise DataError(
            f"all labels that train against {name!r} in {where} are {classes}; a classifier needs "
            "at least 2"
        )
    if unknown := sorted({str(labels[sample]) for sample in test} - set(classes)):
        raise DataError(
            f"labels {unknown[:5]} of split {name!r} in {where} do not occur among the training "
            "samples; list clips of them there, or drop them"
        )
    index = {label: i for i, label in enumerate(classes)}
    return LabelledFold(
        name=name,
        train=train,
        test=test,
        train_target=torch.tensor([index[str(labels[sample])] for sample in train]),
        test_target=torch.tensor([index[str(labels[sample])] for sample in test]),
        classes=tuple(classes),
    )
