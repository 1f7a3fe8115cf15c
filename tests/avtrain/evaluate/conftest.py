"""A tiny method with new weights on the tiny shard sets."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from avdata import ShardSet, build_settings
from avtrain.evaluate.folds import LabelledFold, SplitChoice, read_folds
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.methods import AVIDConfig, MethodFacts


@pytest.fixture
def shards(shard_set: Path) -> ShardSet:
    return ShardSet(shard_set)


@pytest.fixture
def distinct_shards(make_shard_set: Callable[..., Path]) -> ShardSet:
    """96 clips with 8 labels; see `distinct_fold`."""
    return ShardSet(make_shard_set(num_clips=96, num_labels=8))


@pytest.fixture
def distinct_fold(distinct_shards: ShardSet) -> LabelledFold:
    """Every second label: 32 training and 16 test clips of 4 classes that are easy to tell.

    Neighboring labels have colors and tones in a row, and clips at the border are nearly equal.
    """
    labels = tuple(f"label{i}" for i in range(0, 8, 2))
    [fold] = read_folds(distinct_shards, SplitChoice(where=f"label in {labels}"))
    assert (len(fold.train), len(fold.test), len(fold.classes)) == (32, 16, 4)
    return fold


@pytest.fixture
def frozen(shards: ShardSet, one_torch_thread: None, training_seed: int) -> FrozenEncoders:
    """32 px, 8 frames, and 2 s of log-mel at 50 columns a second."""
    config = build_settings(
        AVIDConfig,
        {},
        ("model=tiny", "video.crop_px=32", "audio.frame_rate_hz=50", "criterion.num_negatives=8"),
    )
    facts = MethodFacts(
        spec=shards.spec,
        where="fixture",
        trained_sources=None,
        seed=training_seed,
        device=torch.device("cpu"),
    )
    return FrozenEncoders(
        method=config.build(facts).eval(), device=torch.device("cpu"), trained=shards.spec
    )
