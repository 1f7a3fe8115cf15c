"""Sync on tiny shard sets: passes that cannot leak, what it learns, starts from and refuses."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from disturbances import Bound
from pydantic import ValidationError

from avdata import AudioSpec, ShardSet, VideoSpec, build_settings
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.engine.config import FitConfig
from avtrain.errors import DataError, RunError
from avtrain.methods import MethodFacts
from avtrain.methods.base import InitialState, StepFacts
from avtrain.methods.sync import Sync, SyncConfig
from avtrain.methods.sync_inputs import SyncInputs

MakeShardSet = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

CPU = torch.device("cpu")
SMALL = (
    "sync.model={width=4, blocks_per_stage=1, norm_decay=0.9, sound_strides=[8,4,4,4,2]}",
    "sync.view.clip_frames=16",
    "sync.view.fps=16",
    "sync.view.min_shift_s=0.5",
    "sync.view.short_side_px=36",
    "sync.view.crop_px=32",
    "sync.offsets.max_s=0.5",
    "sync.offsets.step_s=0.25",
)


def configure(*settings: str) -> SyncConfig:
    return build_settings(FitConfig, {}, (*SMALL, *settings)).sync


def build(path: Path, *settings: str, seed: int = 0) -> tuple[Sync, ShardSet]:
    shards, config = ShardSet(path), configure(*settings)
    config.check(shards.spec, where="SHARDS")
    facts = MethodFacts(
        spec=shards.spec, where="SHARDS", trained_sources=None, seed=seed, device=CPU
    )
    return config.build(facts), shards


def batch_of(method: Sync, shards: ShardSet, num_clips: int = 8):
    view = method.train_view(shards, read_sample_table(shards), seed=0, pin_memory=False)
    batch = view.allocate(num_clips)
    for slot in range(num_clips):
        view.fill(batch, slot, StreamItem(sample=slot, epoch=0, occurrence=0))
    return batch


def noise(num_clips: int, generator: torch.Generator, *, num_windows: int = 2) -> SyncInputs:
    """Pictures and sounds that have nothing to do with each other."""
    return SyncInputs(
        frames=torch.rand(num_clips, 3, 8, 16, 16, generator=generator) * 2 - 1,
        sound=torch.randn(num_clips, num_windows, 2, 6000, generator=generator) * 0.1,
        delay_s=torch.zeros(num_clips, num_windows),
        valid=torch.ones(num_clips, num_windows, dtype=torch.bool),
    )


def new_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Passes:
    """What the two passes of a loss are given, as the joint part of the network sees it."""

    def __init__(self, method: Sync) -> None:
        self.sounds: list[torch.Tensor] = []
        self.num_stems = 0
        method.model.sound.register_forward_pre_hook(
            lambda _, inputs: self.sounds.append(inputs[0])
        )
        method.model.video.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.num_stems += 1


def test_inputs_have_the_published_ranges(shard_set: Path) -> None:
    method, shards = build(shard_set)
    batch = batch_of(method, shards)
    inputs = method.prepare(batch, CPU)
    assert inputs.frames.shape == (8, 3, 16, 32, 32)
    assert inputs.sound.shape == (8, 2, 2, 24_000)
    expected = batch.frames.float() * 2 / 255 - 1
    torch.testing.assert_close(inputs.frames, expected.permute(0, 4, 1, 2, 3))
    torch.testing.assert_close(inputs.sound, batch.sound.float() / 32767)
    assert method.clip.num_samples == 24_000
    assert (method.clip.clip_frames, method.clip.fps, method.clip.crop_px) == (16, 16, 32)
    assert method.clip.sound_rate_hz == 24_000


def test_frames_cropped_on_the_device_are_the_same(shard_set: Path) -> None:
    whole, shards = build(shard_set, "sync.view.crop_on=device")
    cropped, _ = build(shard_set, "sync.view.crop_on=loader")
    one = whole.prepare(batch_of(whole, shards), CPU)
    other = cropped.prepare(batch_of(cropped, shards), CPU)
    assert (one.frames - other.frames).abs().max() <= 2.01 / 255
    assert torch.equal(one.sound, other.sound)


def test_the_first_loss_is_that_of_a_coin(shard_set: Path) -> None:
    method, shards = build(shard_set)
    output = method.loss(method.prepare(batch_of(method, shards), CPU), generator=new_generator())
    assert float(output.total.detach()) == pytest.approx(math.log(2), abs=0.3)
    assert output.terms.keys() == {"alignment"}
    assert output.metrics.keys() == {"accuracy", "aligned_over_shifted"}


@pytest.mark.parametrize("objective", ["binary", "offset"])
def test_all_weights_are_trained(shard_set: Path, objective: str) -> None:
    method, shards = build(shard_set, f"sync.objective={objective}")
    inputs = method.prepare(batch_of(method, shards), CPU)
    method.loss(inputs, generator=new_generator()).total.backward()
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before a normalization that takes it out has a gradient of rounding errors at most
    assert [name for name in without if "conv2.bias" not in name] == []


def test_each_pass_is_a_random_mix_of_both_sounds_and_the_stem_works_once() -> None:
    method = configure().build(facts())
    inputs = noise(64, new_generator(1))
    seen = Passes(method)
    method.loss(inputs, generator=new_generator(2))
    assert seen.num_stems == 1
    first, second = seen.sounds
    in_first = (first == inputs.sound[:, 0]).all(dim=2).all(dim=1)
    assert 16 < int(in_first.sum()) < 48
    mixed = in_first[:, None, None]
    assert torch.equal(first, torch.where(mixed, inputs.sound[:, 0], inputs.sound[:, 1]))
    assert torch.equal(second, torch.where(mixed, inputs.sound[:, 1], inputs.sound[:, 0]))
    method.loss(inputs, generator=new_generator(3))
    assert not torch.equal(seen.sounds[2], first)


@pytest.mark.trains
def test_unrelated_sound_stays_at_chance_in_training_and_evaluation(
    training_seed: int, bound: Bound
) -> None:
    """Labels are a coin's: whatever is above one half would leak through the batch."""
    method = configure().build(facts(training_seed))
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    generator = new_generator(5 + training_seed)
    accuracy = []
    for step in range(80):
        output = method.loss(noise(16, generator), generator=generator)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        if step >= 20:
            accuracy.append(float(output.metrics["accuracy"]))
    off = abs(sum(accuracy) / len(accuracy) - 0.5)
    bound("accuracy in training, from chance", off, below=0.05)  # 1920 answers
    method.eval()
    with torch.no_grad():
        outputs = [method.loss(noise(32, generator), generator=generator) for _ in range(40)]
    for name in ("accuracy", "aligned_over_shifted"):
        mean = sum(float(output.metrics[name]) for output in outputs) / len(outputs)
        bound(f"{name} in evaluation, from chance", abs(mean - 0.5), below=0.07)  # 1280 clips


def test_in_evaluation_clips_do_not_see_each_other() -> None:
    method = configure().build(facts()).eval()
    inputs = noise(4, new_generator(7))
    with torch.no_grad():
        together = method.window_logits(inputs)
        alone = method.window_logits(
            SyncInputs(
                frames=inputs.frames[2:3],
                sound=inputs.sound[2:3],
                delay_s=inputs.delay_s[2:3],
                valid=inputs.valid[2:3],
            )
        )
    assert together.shape == (4, 2, 1)
    torch.testing.assert_close(together[2:3], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.trains
def test_eight_clips_are_learned_by_heart(training_seed: int, bound: Bound) -> None:
    method = configure().build(facts(training_seed))
    inputs = noise(8, new_generator(9 + training_seed))
    generator = new_generator(10 + training_seed)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    for _ in range(120):
        output = method.loss(inputs, generator=generator)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        if float(output.total.detach()) < 0.05:
            break
    bound("accuracy", float(output.metrics["accuracy"]), above=0.99)


def test_easy_negatives_are_sounds_of_other_clips_and_follow_the_schedule() -> None:
    method = configure("sync.negatives.easy_share_start=1", "sync.negatives.until_share=0.4").build(
        facts()
    )
    inputs = noise(16, new_generator(1))
    seen = Passes(method)
    method.loss(inputs, generator=new_generator(2))
    stranger = inputs.sound[:, 1].roll(1, dims=0)
    for sound in seen.sounds:
        own = (sound == inputs.sound[:, 0]).all(dim=2).all(dim=1)
        assert torch.equal(sound, torch.where(own[:, None, None], inputs.sound[:, 0], stranger))
    shares = []
    for share in (0.0, 0.1, 0.4, 1.0):
        method.before_step(StepFacts(step=0, epochs=0, share=share, new_epoch=False))
        shares.append(method.easy_share)
    assert shares == pytest.approx([1, 0.75, 0, 0])


def test_delays_are_classes_of_the_grid(shard_set: Path) -> None:
    method, shards = build(shard_set, "sync.objective=offset")
    inputs = method.prepare(batch_of(method, shards, 24), CPU)
    assert inputs.sound.shape == (24, 1, 2, 24_000)
    classes = method.delay_index(inputs.delay_s[:, 0])
    assert set(classes.tolist()) == {0, 1, 2, 3, 4}
    torch.testing.assert_close(inputs.delay_s[:, 0], classes * 0.25 - 0.5)
    output = method.loss(inputs, generator=new_generator())
    assert output.metrics.keys() == {"accuracy", "within_one"}
    assert float(output.total.detach()) == pytest.approx(math.log(5), abs=0.6)


@pytest.mark.parametrize("objective", ["binary", "offset"])
def test_scores_and_maps_of_single_clips(shard_set: Path, objective: str) -> None:
    method, shards = build(shard_set, f"sync.objective={objective}")
    method.eval()
    batch = batch_of(method, shards, 2)
    with torch.no_grad():
        scores = method.scores(batch.frames, batch.sound[:, 0])
        as_floats = method.scores(batch.frames, batch.sound[:, 0].float() / 32767)
        maps = method.maps(batch.frames, batch.sound[:, 0])
    assert scores.shape == (2,)
    torch.testing.assert_close(scores, as_floats)
    assert maps.shape == (2, 2, 1, 1)
    if objective == "binary":
        torch.testing.assert_close(maps.mean(dim=(1, 2, 3)), scores, atol=1e-5, rtol=1e-5)


def test_the_odds_of_no_delay_are_against_all_others() -> None:
    method = configure("sync.objective=offset").build(facts())
    logits = torch.randn(3, 5, generator=new_generator())
    chance = logits.softmax(dim=1)[:, 2]
    torch.testing.assert_close(method.log_odds(logits), (chance / (1 - chance)).log())


def test_ablations_change_the_inputs(shard_set: Path) -> None:
    still, shards = build(shard_set, "sync.view.static=true")
    inputs = still.prepare(batch_of(still, shards), CPU)
    moving, _ = build(shard_set)
    middle = moving.prepare(batch_of(moving, shards), CPU).frames[:, :, 8]
    assert torch.equal(inputs.frames, middle[:, :, None].expand_as(inputs.frames))
    mono, _ = build(shard_set, "sync.view.mono=true")
    left_right = torch.tensor([[0.2, -0.4], [0.6, 0.0]])
    torch.testing.assert_close(mono.waves(left_right), torch.tensor([[0.4, -0.2]] * 2))


def test_weights_are_a_function_of_the_seed(shard_set: Path) -> None:
    state = torch.random.get_rng_state()
    one, again, other = (build(shard_set, seed=s)[0].state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["model.head.weight"], other["model.head.weight"])


def facts(seed: int = 0) -> MethodFacts:
    spec = build_spec()
    return MethodFacts(spec=spec, where="SHARDS", trained_sources=None, seed=seed, device=CPU)


def build_spec(**fields: object):
    from avdata import DatasetSpec

    values: dict[str, object] = {
        "fields": ("frames", "audio"),
        "video": VideoSpec(fps=16.0),
        "audio": AudioSpec(sample_rate_hz=24_000),
        "num_shards": 1,
        "num_listed": 1,
        "num_clips": 1,
        "num_rejected": 0,
        "num_sources": 1,
        "labels": (),
        "labels_hash": "",
        "build_hash": "",
        "listing_name": "",
        "software": {},
    }
    return DatasetSpec.model_validate(values | fields)


def state_of(method: Sync, name: str = "sync") -> InitialState:
    return InitialState(
        method=name, tensors=method.state_dict(), same_data=False, where="runs/earlier"
    )


def test_a_second_stage_takes_up_everything(shard_set: Path) -> None:
    slow, _ = build(shard_set, "sync.view.frame_stride=4", seed=1)
    full, _ = build(shard_set, seed=2)
    full.start_from(state_of(slow))
    assert all(torch.equal(value, slow.state_dict()[n]) for n, value in full.state_dict().items())


def test_finer_maps_start_from_the_full_network(shard_set: Path) -> None:
    coarse, shards = build(shard_set, seed=1)
    fine, _ = build(shard_set, "sync.model.space_strides=[2,2,2,2,1]", seed=2)
    fine.start_from(state_of(coarse))
    batch = batch_of(fine.eval(), shards, 2)
    with torch.no_grad():
        assert fine.maps(batch.frames, batch.sound[:, 0]).shape == (2, 2, 2, 2)


def test_another_head_starts_anew_and_says_so(
    shard_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    binary, _ = build(shard_set, seed=1)
    offset, _ = build(shard_set, "sync.objective=offset", seed=2)
    head = offset.model.head.weight.clone()
    offset.start_from(state_of(binary))
    assert torch.equal(offset.model.head.weight, head)
    assert torch.equal(offset.model.video.conv1.conv.weight, binary.model.video.conv1.conv.weight)
    assert "runs/earlier has another head" in caplog.text
    assert "model.head.bias (1,), here (5,): the head starts anew" in caplog.text


def test_other_runs_and_other_networks_are_refused(shard_set: Path) -> None:
    method, _ = build(shard_set)
    with pytest.raises(RunError, match="runs/earlier is a run of avid; sync starts from a run of"):
        method.start_from(state_of(method, "avid"))
    wide, _ = build(shard_set, "sync.model.width=8")
    with pytest.raises(RunError, match=r"runs/earlier does not fit: .* is \(64, 24, 1, 1, 1\) and"):
        method.start_from(state_of(wide))


def test_sets_that_do_not_fit_are_refused() -> None:
    config = configure()
    with pytest.raises(
        DataError, match=r"method 'sync' needs fields \{audio, frames\}, S has \{fr"
    ):
        config.check(build_spec(fields=("frames",), audio=None), where="S")
    with pytest.raises(DataError, match=r"needs mono or stereo sound, S has layout 'foa'; build"):
        config.check(build_spec(audio=AudioSpec(layout="foa")), where="S")
    with pytest.raises(DataError, match=r"see 16 frames a second, S has 8; set sync.view.fps=8"):
        config.check(build_spec(video=VideoSpec(fps=8.0)), where="S")
    config.check(build_spec(video=VideoSpec(fps="native")), where="S")
    stage1 = configure("sync.view.frame_stride=2")
    stage1.check(build_spec(video=VideoSpec(fps=8.0)), where="S")


def test_easy_negatives_are_for_the_binary_objective() -> None:
    with pytest.raises(ValidationError, match=r"negatives.easy_share of 0.5 needs objective="):
        SyncConfig.model_validate({"objective": "offset", "negatives": {"easy_share_end": 0.5}})


def test_encoders_give_the_fused_features(shard_set: Path) -> None:
    method, shards = build(shard_set)
    method.eval()
    inputs = method.prepare(batch_of(method, shards, 3), CPU)
    [(name, encoder)] = method.encoders().items()
    assert name == "video"
    with torch.no_grad():
        features = encoder.project(encoder.features(inputs))
    assert features.shape == (3, 32)
    assert features.dtype == torch.float32
