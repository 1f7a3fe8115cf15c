"""A tiny method with new weights on the tiny shard sets."""

from pathlib import Path

import pytest
import torch

from avdata import ShardSet, build_settings
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.methods import AVIDConfig, MethodFacts


@pytest.fixture
def shards(shard_set: Path) -> ShardSet:
    return ShardSet(shard_set)


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
