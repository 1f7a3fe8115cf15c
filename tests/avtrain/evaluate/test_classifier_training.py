"""Linear heads, finetuning and SVMs on clips whose class is their color and their pitch."""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from disturbances import Bound
from sklearn.svm import LinearSVC

from avdata import ShardSet
from avtrain.evaluate.classifier_training import TrainingOptions, few_steps_notes
from avtrain.evaluate.clip_batches import epoch_batches
from avtrain.evaluate.config import EvalConfig, FinetuneConfig, LinearConfig, SvmConfig
from avtrain.evaluate.embed import EmbedOptions, sample_vectors
from avtrain.evaluate.feature_cache import SAMPLES, FeatureCache
from avtrain.evaluate.finetune import finetune_accuracy
from avtrain.evaluate.folds import LabelledFold, SplitChoice, published_folds, read_folds
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.linear_heads import linear_heads_accuracy
from avtrain.evaluate.svm import grid_features, svm_accuracy
from avtrain.methods import Modality
from avtrain.progress import silent


@pytest.fixture
def fold(shards: ShardSet) -> LabelledFold:
    [fold] = read_folds(shards, SplitChoice())
    return fold


def training(modality: Modality, seed: int = 0) -> TrainingOptions:
    return TrainingOptions(modality=modality, seed=seed, num_threads=2, progress=silent)


def state(frozen: FrozenEncoders, modality: Modality) -> dict[str, torch.Tensor]:
    return copy.deepcopy(frozen.network(modality).state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_an_epoch_holds_each_clip_once_in_batches_of_like_size() -> None:
    batches = epoch_batches((3, 5, 9), clips_per_sample=7, batch_size=6, seed=0, epoch=2)
    assert [len(batch) for batch in batches] == [6, 5, 5, 5]
    clips = [(item.sample, item.occurrence) for batch in batches for item in batch]
    assert sorted(clips) == [(sample, i) for sample in (3, 5, 9) for i in range(7)]
    assert clips != sorted(clips)
    again = epoch_batches((3, 5, 9), clips_per_sample=7, batch_size=6, seed=0, epoch=3)
    assert again[0] != batches[0]


@pytest.mark.trains
def test_linear_heads_learn_and_the_network_does_not(
    frozen: FrozenEncoders,
    distinct_shards: ShardSet,
    distinct_fold: LabelledFold,
    training_seed: int,
    bound: Bound,
) -> None:
    before = state(frozen, "audio")
    config = LinearConfig(
        epochs=8, clips_per_sample=2, batch_size=16, lr=3e-3, milestones=(6,), test_clips=2
    )
    options = training("audio", training_seed)
    accuracy = linear_heads_accuracy(frozen, distinct_shards, distinct_fold, config, options)
    assert accuracy.keys() == {"conv2x", "conv3x", "conv4x", "conv5x"}
    bound("top-1 accuracy", max(of.top1 for of in accuracy.values()), above=0.7)
    assert {of.chance_top1 for of in accuracy.values()} == {0.25}
    assert same(before, state(frozen, "audio"))
    again = linear_heads_accuracy(frozen, distinct_shards, distinct_fold, config, options)
    assert again == accuracy


def test_the_batch_norm_quirk_is_another_probe(
    frozen: FrozenEncoders, shards: ShardSet, fold: LabelledFold
) -> None:
    before = state(frozen, "audio")
    config = LinearConfig(epochs=1, batch_size=8, lr=1e-2, test_clips=1)
    plain = linear_heads_accuracy(frozen, shards, fold, config, training("audio"))
    quirk = config.model_copy(update={"bn_quirk": True})
    other = linear_heads_accuracy(frozen, shards, fold, quirk, training("audio"))
    assert other != plain
    assert same(before, state(frozen, "audio"))


@pytest.mark.trains
def test_finetuning_learns_on_a_copy(
    frozen: FrozenEncoders,
    distinct_shards: ShardSet,
    distinct_fold: LabelledFold,
    training_seed: int,
    bound: Bound,
) -> None:
    before = state(frozen, "audio")
    config = FinetuneConfig(
        head_epochs=1,
        epochs=10,
        clips_per_sample=2,
        batch_size=8,
        lr=2e-3,
        milestones=(8,),
        test_clips=2,
        single_test_clips=2,
    )
    options = training("audio", training_seed)
    accuracy = finetune_accuracy(frozen, distinct_shards, distinct_fold, config, options)
    bound("top-1 accuracy", accuracy.dense.top1, above=0.7)
    assert accuracy.single is not None
    assert (accuracy.dense.num_test, accuracy.single.num_test) == (16, 32)
    assert same(before, state(frozen, "audio"))


@pytest.mark.trains
def test_svm_is_the_one_of_the_protocol(
    frozen: FrozenEncoders,
    distinct_shards: ShardSet,
    distinct_fold: LabelledFold,
    tmp_path: Path,
    bound: Bound,
) -> None:
    shards, fold = distinct_shards, distinct_fold
    config = SvmConfig(clips_per_sample=3, test_clips=2)
    samples = tuple(sorted((*fold.train, *fold.test)))
    options = EmbedOptions(cache=FeatureCache(directory=tmp_path))
    with grid_features(
        frozen, shards, samples, config, modality="audio", seed=0, options=options
    ) as features:
        accuracy = svm_accuracy(features, fold, config, seed=0)
        train = features.train_rows("conv4x", fold.train)
        test = features.test_rows("conv4x", fold.test)
        assert train.shape[0] == 96 and test.shape[0] == 32
    bound("top-1 accuracy", max(of.top1 for of in accuracy.values()), above=0.7)
    # the formula of the protocol, class by class
    target = fold.train_target.numpy().repeat(3)
    std = train.std(axis=0) + 0.01
    decisions = np.zeros((16, 4))
    for label in range(4):
        one = LinearSVC(loss="hinge", C=10, tol=1e-4, max_iter=200, random_state=0, dual=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one.fit((train - train.mean(axis=0)) / std, target == label)
        values = one.decision_function((test - train.mean(axis=0)) / std)
        decisions[:, label] = values.reshape(16, 2).mean(axis=1)
    expected = np.mean(decisions.argmax(axis=1) == fold.test_target.numpy())
    bound("difference", abs(accuracy["conv4x"].top1 - expected), below=1.5 / 16)
    assert not list(tmp_path.glob("partial-*"))


def test_what_an_interrupted_pass_computed_is_kept(
    frozen: FrozenEncoders, shards: ShardSet, tmp_path: Path
) -> None:
    cache = FeatureCache(directory=tmp_path)

    def stop_after_two(items, *, total, description):  # type: ignore[no-untyped-def]
        for i, item in enumerate(items):
            if i == 2:
                raise KeyboardInterrupt
            yield item

    samples = tuple(range(10))
    options = EmbedOptions(num_windows=1, batch_size=2, cache=cache, progress=stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        sample_vectors(frozen, shards, samples, modality="audio", options=options)
    [path] = tmp_path.glob("*.safetensors")
    assert safetensors.torch.load_file(path)[SAMPLES].tolist() == [0, 1, 2, 3]
    options = EmbedOptions(num_windows=1, batch_size=2, cache=cache)
    resumed = sample_vectors(frozen, shards, samples, modality="audio", options=options)
    whole = sample_vectors(
        frozen, shards, samples, modality="audio", options=EmbedOptions(num_windows=1, batch_size=2)
    )
    assert all(torch.equal(rows, whole[name]) for name, rows in resumed.items())


def test_few_steps_are_told() -> None:
    of = {"clips_per_sample": 2, "batch_size": 8, "section": "linear"}
    assert few_steps_notes(400, epochs=2, **of) == ()
    [note] = few_steps_notes(9, epochs=2, **of)
    assert note.startswith("only 6 training steps")
    assert "more with linear.clips_per_sample or linear.epochs" in note


def test_numbered_folds_are_found(shards: ShardSet, fold: LabelledFold) -> None:
    assert published_folds(shards) == ()
    assert fold.classes == ("label0", "label1", "label2", "label3")
    one, other = read_folds(shards, SplitChoice(folds=("train", "test")))
    assert (one.name, one.test, one.train) == ("train", fold.train, fold.test)
    assert (other.test, other.train) == (fold.test, fold.train)


def test_presets_are_the_published_settings() -> None:
    eval_config = EvalConfig.model_validate(
        {"finetune": {"preset": "hmdb51-32f", "epochs": 2}, "svm": {"preset": "dcase"}}
    )
    tuned = eval_config.finetune
    assert (tuned.clip_frames, tuned.batch_size, tuned.clips_per_sample) == (32, 32, 10)
    assert (tuned.epochs, tuned.milestones, tuned.jitter.brightness) == (2, (3, 6, 8), 1.0)
    assert (eval_config.svm.clips_per_sample, eval_config.svm.inverse_penalty) == (60, 1.0)
    assert eval_config.linear == LinearConfig()
