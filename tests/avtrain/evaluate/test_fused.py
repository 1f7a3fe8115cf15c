"""The network of a sync run as a classifier: what is restored, finetuning, frozen features."""

import copy
from pathlib import Path

import pytest
import torch
from disturbances import Bound

from avdata import ShardSet, build_settings
from avtrain.evaluate.classifier_training import TrainingOptions
from avtrain.evaluate.config import EvalConfig, FinetuneConfig
from avtrain.evaluate.embed import EmbedOptions
from avtrain.evaluate.feature_cache import FeatureCache
from avtrain.evaluate.finetune import finetune_accuracy
from avtrain.evaluate.folds import LabelledFold, SplitChoice, read_folds
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.fused_network import (
    FusedClassifier,
    copy_to_finetune,
    copy_to_freeze,
    pooled_features,
)
from avtrain.evaluate.fused_vectors import fused_vectors
from avtrain.methods import MethodFacts, SyncConfig
from avtrain.methods.sync import Sync, SyncInputs
from avtrain.models.batch_renorm import BatchNorm, BatchRenorm
from avtrain.progress import silent

SETTINGS = (
    "model={width=4, blocks_per_stage=1, norm_decay=0.9, sound_strides=[8,4,4,4,2]}",
    "view.clip_frames=8",
    "view.fps=16",
    "view.short_side_px=36",
    "view.crop_px=32",
)


@pytest.fixture
def sync(shards: ShardSet, one_torch_thread: None, training_seed: int) -> Sync:
    facts = MethodFacts(
        spec=shards.spec,
        where="fixture",
        trained_sources=None,
        seed=training_seed,
        device=torch.device("cpu"),
    )
    return build_settings(SyncConfig, {}, SETTINGS).build(facts).eval()


@pytest.fixture
def fused(sync: Sync) -> FrozenEncoders:
    return FrozenEncoders(method=sync, device=torch.device("cpu"))


@pytest.fixture
def inputs() -> SyncInputs:
    generator = torch.Generator().manual_seed(0)
    return SyncInputs(
        frames=torch.rand(2, 3, 8, 32, 32, generator=generator) * 2 - 1,
        sound=torch.rand(2, 1, 2, 12_000, generator=generator) * 2 - 1,
        delay_s=torch.zeros(2, 1),
        valid=torch.ones(2, 1, dtype=torch.bool),
    )


def training(seed: int = 0) -> TrainingOptions:
    return TrainingOptions(modality="video", seed=seed, num_threads=2, progress=silent)


def test_all_but_head_and_scales_is_restored(sync: Sync) -> None:
    with torch.no_grad():
        for parameter in sync.model.parameters():
            parameter.add_(0.01)
    network = copy_to_finetune(sync, sound=True)
    given = sync.model.state_dict()
    scales = {n: p for n, p in network.named_parameters() if n not in given}
    assert len(scales) == sum(n.endswith(".running_mean") for n in given)
    assert all(p.requires_grad and torch.equal(p, torch.ones_like(p)) for p in scales.values())
    assert all(torch.equal(network.state_dict()[n], tensor) for n, tensor in given.items())
    # a run with scales of its own: they are new again
    again = copy.copy(sync)
    with torch.no_grad():
        for scale in scales.values():
            scale.fill_(3)
    again.model = network
    anew = copy_to_finetune(again, sound=True)
    assert all(torch.equal(anew.get_parameter(n), torch.ones_like(p)) for n, p in scales.items())
    kept = copy_to_freeze(again, sound=True)
    assert all(torch.equal(kept.get_parameter(n), p) for n, p in scales.items())


def test_the_copy_computes_what_the_run_does(sync: Sync, inputs: SyncInputs) -> None:
    network = copy_to_finetune(sync, sound=True).eval()
    features = pooled_features(network, inputs)["pool"]
    expected = sync.encoders()["video"].features(inputs)
    torch.testing.assert_close(features, expected)
    model = FusedClassifier(network, num_classes=3, dropout=0.5).eval()
    torch.testing.assert_close(model(inputs), model.classifier(features))


def test_without_sound_nothing_is_heard(sync: Sync, inputs: SyncInputs) -> None:
    louder = SyncInputs(
        frames=inputs.frames, sound=0.5 * inputs.sound, delay_s=inputs.delay_s, valid=inputs.valid
    )
    for sound in (True, False):
        network = copy_to_freeze(sync, sound=sound)
        one, other = pooled_features(network, inputs), pooled_features(network, louder)
        assert torch.equal(one["pool"], other["pool"]) is not sound
        assert torch.equal(one["scale0"], other["scale0"])  # of the pictures alone


SHORT = FinetuneConfig(
    preset="multisensory-tiny",  # type: ignore[call-arg]
    epochs=12,
    clips_per_sample=2,
    batch_size=8,
    optimizer="sgd",
    lr=3e-2,
    milestones=(9,),
    test_clips=2,
    single_test_clips=2,
    norm_batches=4,
    label_smoothing=0.05,
)


@pytest.mark.trains
@pytest.mark.parametrize("sound", [True, False])
def test_finetuning_learns_on_a_copy(
    fused: FrozenEncoders,
    distinct_shards: ShardSet,
    distinct_fold: LabelledFold,
    sound: bool,
    training_seed: int,
    bound: Bound,
) -> None:
    before = copy.deepcopy(fused.method.state_dict())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    config = SHORT.model_copy(update={"sound": sound})
    options = training(training_seed)
    accuracy = finetune_accuracy(fused, distinct_shards, distinct_fold, config, options)
    bound("top-1 accuracy", accuracy.dense.top1, above=0.7)  # chance is 0.25
    assert accuracy.single is not None
    assert (accuracy.dense.num_test, accuracy.single.num_test) == (16, 32)
    after = fused.method.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert torch.equal(state, torch.get_rng_state())


def test_finetuning_is_a_function_of_the_seed(fused: FrozenEncoders, shards: ShardSet) -> None:
    [fold] = read_folds(shards, SplitChoice())
    config = SHORT.model_copy(update={"epochs": 1, "dropout": 0.3, "head_epochs": 1})
    one = finetune_accuracy(fused, shards, fold, config, training())
    torch.manual_seed(7)
    assert finetune_accuracy(fused, shards, fold, config, training()) == one


def test_frozen_features_are_means_over_clips(
    fused: FrozenEncoders, shards: ShardSet, tmp_path: Path
) -> None:
    cache = FeatureCache(directory=tmp_path)
    options = EmbedOptions(num_windows=2, batch_size=3, cache=cache)
    heard = fused_vectors(fused, shards, (3, 1, 2), sound=True, options=options)
    assert {name: rows.shape for name, rows in heard.items()} == {
        "scale0": (3, 4),
        "scale1": (3, 8),
        "pool": (3, 32),
    }
    alone = fused_vectors(
        fused, shards, (1,), sound=True, options=EmbedOptions(num_windows=2, batch_size=1)
    )
    torch.testing.assert_close(alone["pool"][0], heard["pool"][1])
    seen = fused_vectors(fused, shards, (3, 1, 2), sound=False, options=options)
    assert torch.equal(seen["scale0"], heard["scale0"])
    assert not torch.equal(seen["pool"], heard["pool"])
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    again = fused_vectors(fused, shards, (2, 3), sound=True, options=options)
    assert torch.equal(again["pool"], heard["pool"][[2, 0]])


def test_what_is_not_set_is_published(shards: ShardSet) -> None:
    read = build_settings(EvalConfig, {}, ("finetune.sound=false", "finetune.epochs=3")).finetune
    config = read.for_fused()
    assert (config.sound, config.epochs) == (False, 3)
    assert (config.optimizer, config.momentum, config.weight_decay) == ("sgd", 0.9, 1e-5)
    assert (config.batch_size, config.test_clips, config.single_test_clips) == (8, 25, 0)
    assert (config.dropout, config.head_epochs, config.gamma) == (0, 0, 0.1)
    assert config.clip_length(29.97) == 76
    assert config.for_fused() == config
    assert FinetuneConfig().clip_length(16) == 8
    assert SHORT.for_fused() == SHORT
    assert SHORT.clip_length(16) is None


@pytest.mark.parametrize("kind", [BatchNorm, BatchRenorm])
def test_statistics_are_estimated_anew(kind: type[BatchNorm]) -> None:
    generator = torch.Generator().manual_seed(0)
    used, new = (kind(3, eps=1e-3, decay=0.9997, gamma=True) for _ in range(2))
    for _ in range(4):
        used(5 + 3 * torch.randn(8, 3, 6, generator=generator))
    used.reset_running_stats()
    for _ in range(2):
        x = torch.randn(8, 3, 6, generator=generator)
        torch.testing.assert_close(used(x), new(x))
    assert all(torch.equal(t, new.state_dict()[n]) for n, t in used.state_dict().items())
