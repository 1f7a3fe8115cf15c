"""AVID on a tiny shard set: starts where it should, learns, and takes only what it can use."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from disturbances import Bound

from avdata import ShardSet, build_settings
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamPlan, batches
from avtrain.engine.config import FitConfig
from avtrain.errors import DataError
from avtrain.methods import MethodFacts
from avtrain.methods.avid import AVID
from avtrain.methods.pair_inputs import PairPreparation

MakeShardSet = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

CPU = torch.device("cpu")
SMALL = ("avid.model=tiny", "avid.video.crop_px=32", "avid.audio.frame_rate_hz=50")


def build(path: Path, *settings: str, seed: int = 0) -> tuple[AVID, ShardSet]:
    shards = ShardSet(path)
    config = build_settings(FitConfig, {}, (*SMALL, *settings)).avid
    config.check(shards.spec, where="SHARDS")
    facts = MethodFacts(
        spec=shards.spec, where="SHARDS", trained_sources=None, seed=seed, device=CPU
    )
    return config.build(facts), shards


def first_batch(method: AVID, shards: ShardSet, *, batch_size: int = 8):
    view = method.train_view(shards, read_sample_table(shards), seed=0, pin_memory=False)
    plan = StreamPlan(samples=tuple(range(24)), seed=0, batch_size=batch_size)
    with BatchLoader(view, batches(plan), num_threads=2, prefetch_batches=1) as loader:
        return next(loader).batch


def first_loss(method: AVID, shards: ShardSet) -> float:
    inputs = method.prepare(first_batch(method, shards), CPU)
    return float(method.loss(inputs, generator=torch.Generator().manual_seed(0)).total.detach())


def test_inputs_have_the_shapes_and_moments_that_networks_take(shard_set: Path) -> None:
    method, shards = build(shard_set)
    inputs = method.prepare(first_batch(method, shards, batch_size=24), CPU)
    assert inputs.video.shape == (24, 3, 8, 32, 32)
    assert inputs.audio.shape == (24, 1, 100, 128)
    assert inputs.video.dtype == inputs.audio.dtype == torch.float32
    assert abs(float(inputs.audio.mean())) < 0.1
    assert abs(float(inputs.audio.std()) - 1) < 0.1


def test_the_first_loss_is_that_of_random_embeddings(shard_set: Path) -> None:
    # softplus(b - p) is near b = ln(1024 Z), all negatives give near 1
    method, shards = build(shard_set)
    loss = first_loss(method, shards)
    boundary = math.log(1024 * float(method.criterion.normalizer))
    assert loss == pytest.approx(boundary + 1, abs=1)


@pytest.mark.parametrize("mode", ["cross", "self", "joint"])
def test_every_mode_trains_all_weights(shard_set: Path, mode: str) -> None:
    method, shards = build(
        shard_set, f"avid.criterion.mode={mode}", "avid.criterion.num_negatives=64"
    )
    inputs = method.prepare(first_batch(method, shards), CPU)
    banks = method.criterion.video_memory.memory.clone()
    output = method.loss(inputs, generator=torch.Generator().manual_seed(0))
    output.total.backward()
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    moved = (method.criterion.video_memory.memory != banks).any(dim=1).nonzero()[:, 0]
    assert moved.tolist() == sorted(inputs.source.tolist())


def test_weights_and_banks_are_a_function_of_the_seed(shard_set: Path) -> None:
    state = torch.random.get_rng_state()
    one, again, other = (build(shard_set, seed=s)[0].state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], again[name]) for name in one)
    for name in ("model.video_model.conv1.0.weight", "criterion.audio_memory.memory"):
        assert not torch.equal(one[name], other[name])


def test_the_published_bins_get_their_floor_back(shard_set: Path) -> None:
    method, shards = build(shard_set)
    assert shards.spec.logmel is not None
    avid = shards.spec.logmel.model_copy(update={"filterbank": "avid"})
    spec = shards.spec.model_copy(update={"logmel": avid})
    batch = first_batch(method, shards)
    audio = method.config.audio
    plain = PairPreparation(audio, shards.spec).sound(batch)
    floored = PairPreparation(audio, spec).sound(batch)
    loudest = plain.amax(dim=(1, 2))
    assert torch.allclose(
        floored.amin(dim=(1, 2)).clamp(min=-100),
        torch.maximum(plain.amin(dim=(1, 2)), loudest - 10 * math.log(10)),
    )
    assert torch.equal(floored.amax(dim=(1, 2)), loudest)


def test_gain_is_a_shift_of_logmel(shard_set: Path) -> None:
    method, shards = build(shard_set)
    batch = first_batch(method, shards)
    loud = method.preparation.sound(batch)
    batch.gain[:] = 1
    plain = method.preparation.sound(batch)
    batch.gain[:] = torch.e
    torch.testing.assert_close(method.preparation.sound(batch), plain + 2)
    assert not torch.equal(loud, plain)


def test_spectrogram_statistics_come_from_the_clips(shard_set: Path) -> None:
    method, shards = build(shard_set, "avid.audio.input=spectrogram", "avid.audio.num_bins=129")
    assert method.num_calibration_clips == 512
    batch = first_batch(method, shards, batch_size=24)
    method.calibrate([batch])
    audio = method.prepare(batch, CPU).audio
    assert audio.shape == (24, 1, 100, 129)
    torch.testing.assert_close(audio.mean(dim=(0, 1, 2)), torch.zeros(129), atol=1e-3, rtol=0)
    assert "preparation.audio_mean" in method.state_dict()


def test_two_calibration_batches_equal_one(shard_set: Path) -> None:
    method, shards = build(shard_set, "avid.audio.input=spectrogram")
    preparation: PairPreparation = method.preparation
    batch = first_batch(method, shards)
    method.calibrate([batch])
    once = preparation.audio_std.clone()
    method.calibrate([batch, batch])
    torch.testing.assert_close(preparation.audio_std, once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "settings", "message"),
    [
        (
            ("frames",),
            (),
            r"method 'avid' needs fields \{frames, logmel\}, SHARDS has \{frames\}; build it again "
            r"with --set 'fields=\[\"frames\", \"logmel\"\]'",
        ),
        (
            ("frames", "logmel"),
            ("avid.audio.input=spectrogram",),
            r"needs fields \{audio, frames\}, SHARDS has \{frames, logmel\}",
        ),
        (
            ("frames", "audio"),
            (),
            r"needs fields \{frames, logmel\}.*or make .*: --set avid.audio.input=spectrogram",
        ),
        (
            ("frames", "audio"),
            ("avid.audio.input=spectrogram", "avid.audio.frame_rate_hz=70"),
            "audio.frame_rate_hz=70 must divide 24000; the published models take 100",
        ),
        (
            ("frames", "audio", "logmel"),
            ("avid.audio.frame_rate_hz=30",),
            "audio.frame_rate_hz=30 must divide the 100 log-mel columns per second of SHARDS",
        ),
    ],
)
def test_shard_sets_that_do_not_fit_are_refused(
    make_shard_set: MakeShardSet, fields: tuple[str, ...], settings: tuple[str, ...], message: str
) -> None:
    path = make_shard_set(num_clips=2, fields=fields)
    with pytest.raises(DataError, match=message):
        build(path, *settings)


def test_the_published_spectrogram_needs_its_sample_rate(make_shard_set: MakeShardSet) -> None:
    path = make_shard_set(num_clips=2, sample_rate_hz=16000)
    with pytest.raises(DataError, match=r"24000 Hz sound, SHARDS has 16000 Hz; build it again"):
        build(path, "avid.audio.input=spectrogram")


@pytest.mark.trains
@pytest.mark.parametrize("mode", ["cross", "self", "joint"])
def test_every_mode_learns(shard_set: Path, mode: str, training_seed: int, bound: Bound) -> None:
    # with the default momentum of 0.5 the within-modal terms chase their bank on so small a set
    method, shards = build(
        shard_set,
        f"avid.criterion.mode={mode}",
        "avid.criterion.num_negatives=64",
        "avid.criterion.momentum=0.98",
        seed=training_seed,
    )
    table = read_sample_table(shards)
    view = method.train_view(shards, table, seed=training_seed, pin_memory=False)
    plan = StreamPlan(samples=tuple(range(24)), seed=training_seed, batch_size=12)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    method.train()
    losses = []
    with BatchLoader(view, batches(plan), num_threads=2, prefetch_batches=2) as loader:
        for step in range(60):
            inputs = method.prepare(next(loader).batch, CPU)
            generator = torch.Generator().manual_seed(step + training_seed)
            output = method.loss(inputs, generator=generator)
            optimizer.zero_grad()
            output.total.backward()
            optimizer.step()
            losses.append(float(output.total.detach()))
    bound("last losses over first", sum(losses[-10:]) / sum(losses[:10]), below=0.8)
