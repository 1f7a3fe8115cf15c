"""Robust-xID through `fit` with the tiny model: stages, resume, and starting from other runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from avdata import ConfigError, ShardSet, build_settings
from avtrain.engine.checkpoint import Checkpoint, load_latest_checkpoint
from avtrain.engine.config import FitConfig
from avtrain.engine.fit import FitResult, fit
from avtrain.engine.journal import LogLine
from avtrain.errors import DataError, RunError
from avtrain.methods import InitialState, MethodFacts, RobustXIDConfig, StepFacts
from avtrain.methods.robust_xid import RobustXID

MakeShardSet = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("one_torch_thread")
CPU = torch.device("cpu")


class _Silent:
    def started(self, step: int, num_steps: int) -> None: ...
    def stepped(self, step: int) -> None: ...
    def logged(self, line: LogLine) -> None: ...


@pytest.fixture
def run_fit(shard_set: Path, tiny_run: tuple[str, ...]) -> Callable[..., FitResult]:
    """Function that trains Robust-xID's tiny run, with more settings, into a folder."""
    tiny = [
        text.replace("avid.", "robust_xid.").replace("num_negatives=8", "num_negatives=10")
        for text in tiny_run
    ]

    def run(out: Path, *settings: str, resume: bool = False) -> FitResult:
        return fit(
            ShardSet(shard_set),
            build_settings(FitConfig, {}, ("method=robust-xid", *tiny, *settings)),
            run=out,
            resume=resume,
            device=CPU,
            progress=_Silent(),
        )

    return run


def log_lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def last(run: Path) -> Checkpoint:
    checkpoint = load_latest_checkpoint(run)
    assert checkpoint is not None
    return checkpoint


# 16 training samples in batches of 6: the epochs of steps 0.. are 0, .38, .75, 1.1, 1.5, ...
@pytest.mark.parametrize(
    "settings",
    [
        ("robust_xid.warmup_epochs=1.2", "robust_xid.criterion.mix_start=0.1"),
        (
            "robust_xid.warmup_epochs=0.5",
            "robust_xid.statistics_every=2",
            "robust_xid.criterion.statistics=ema",
            "robust_xid.criterion.targets=neighbor",
        ),
    ],
    ids=["bank", "ema"],
)
def test_stopped_around_the_switch_equals_uninterrupted(
    run_fit: Callable[..., FitResult], tmp_path: Path, settings: tuple[str, ...]
) -> None:
    # the schedule is as long in every part: shares of it count
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    more = ("log.every_steps=1", "checkpoint.every_steps=1", "checkpoint.keep=20", *settings)
    run_fit(whole, *more)
    run_fit(parts, *more)
    for kept in (1, 4, 6):  # before, at and after the switch
        _forget_after(parts, kept)
        run_fit(parts, *more, resume=True)
        one, two = last(whole).method, last(parts).method
        assert one.keys() == two.keys()
        assert [n for n in one if not torch.equal(one[n], two[n])] == []
    assert [line["loss"] for line in log_lines(whole)] == [
        line["loss"] for line in log_lines(parts)
    ]
    stages = [line["terms"]["stage"] for line in log_lines(whole)]
    assert stages == sorted(stages)
    assert set(stages) == {1.0, 2.0}


def _forget_after(run: Path, step: int) -> None:
    """As if the run had been killed after the checkpoint of this step."""
    for path in (run / "checkpoints").iterdir():
        if int(path.stem.rpartition("-")[2]) > step:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert last(run).step == step


def test_the_log_shows_the_stage_and_the_health_of_the_targets(
    run_fit: Callable[..., FitResult], tmp_path: Path
) -> None:
    run_fit(tmp_path, "log.every_steps=1")
    lines = log_lines(tmp_path)
    assert [line["terms"]["stage"] for line in lines] == [1.0] * 5 + [2.0] * 5
    names = {
        "video_to_audio",
        "audio_to_video",
        "weight",
        "stage",
        "own_target",
        "target_entropy",
        "similarity_mean",
        "similarity_std",
    }
    assert all(line["terms"].keys() == names for line in lines)
    assert [line["terms"]["own_target"] for line in lines[:5]] == [1.0] * 5
    for line in lines:
        terms = line["terms"]
        total = terms["video_to_audio"] + terms["audio_to_video"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
    robust = lines[-1]["terms"]
    assert 0.25 < robust["weight"] < 1
    assert robust["target_entropy"] > 0
    assert robust["similarity_std"] > 0


def build(path: Path, *settings: str, seed: int = 0, num_clips: int = 24) -> RobustXID:
    shards = ShardSet(path)
    small = ("robust_xid.model=tiny", "robust_xid.video.crop_px=32")
    config = build_settings(FitConfig, {}, (*small, *settings)).robust_xid
    assert isinstance(config, RobustXIDConfig)
    config.check(shards.spec, where="SHARDS")
    trained = torch.arange(0, num_clips, 2)
    facts = MethodFacts(
        spec=shards.spec, where="SHARDS", trained_sources=trained, seed=seed, device=CPU
    )
    return config.build(facts)


def at(step: int, *, epochs: float, share: float, new_epoch: bool = False) -> StepFacts:
    return StepFacts(step=step, epochs=epochs, share=share, new_epoch=new_epoch)


def test_the_warm_up_ends_by_share_or_by_epochs(shard_set: Path) -> None:
    by_share = build(shard_set, "robust_xid.warmup_share=0.25")
    by_epochs = build(shard_set, "robust_xid.warmup_epochs=2")
    for facts, expected in (
        (at(3, epochs=1.9, share=0.2), (False, False)),
        (at(4, epochs=1.99, share=0.25), (True, False)),
        (at(5, epochs=2.0, share=0.3), (True, True)),
        (at(6, epochs=1.0, share=0.1), (True, True)),  # a longer schedule does not go back
    ):
        for method in (by_share, by_epochs):
            method.before_step(facts)
        assert (by_share.criterion.robust, by_epochs.criterion.robust) == expected
    at_once = build(shard_set, "robust_xid.warmup_share=0")
    at_once.before_step(at(0, epochs=0, share=0, new_epoch=True))
    assert at_once.criterion.robust


def test_statistics_are_recomputed_when_they_are_due(shard_set: Path) -> None:
    every_epoch = build(shard_set, "robust_xid.warmup_share=1")
    every_three = build(shard_set, "robust_xid.warmup_share=1", "robust_xid.statistics_every=3")
    averaged = build(
        shard_set, "robust_xid.warmup_share=0.5", "robust_xid.criterion.statistics=ema"
    )
    moments: dict[str, list[bool]] = {"epoch": [], "three": [], "averaged": []}
    for step in range(6):
        facts = at(step, epochs=step / 2, share=step / 6, new_epoch=step % 2 == 0)
        for name, method in zip(moments, (every_epoch, every_three, averaged), strict=True):
            method.criterion.pairs.visited.fill_(True)
            method.criterion.pairs.std.fill_(-1.0)
            method.before_step(facts)
            moments[name].append(bool(method.criterion.pairs.std > 0))
    assert moments["epoch"] == [True, False] * 3
    assert moments["three"] == [True, False, False] * 2
    assert moments["averaged"] == [True, False, True, True, False, False]  # the switch, then none


def initial(method: RobustXID, *, name: str = "robust-xid", same_data: bool = True) -> InitialState:
    return InitialState(method=name, tensors=method.state_dict(), same_data=same_data, where="RUN")


def test_starts_from_networks_and_banks_of_the_same_data(shard_set: Path) -> None:
    old, new = build(shard_set, seed=1), build(shard_set, seed=2)
    old.criterion.pairs.visited[[0, 2, 4]] = True
    old.criterion.start_robust_stage(share=0.5)
    new.start_from(initial(old))
    one, two = old.state_dict(), new.state_dict()
    for key in one:
        same = torch.equal(one[key], two[key])
        assert same != key.endswith(("stage_start", "pairs.similarity", "pairs.mean", "pairs.std"))
    assert not new.criterion.robust
    assert new.criterion.pairs.std > 0

    of_avid = {k: v for k, v in one.items() if "pairs" not in k and "stage" not in k}
    new = build(shard_set, seed=2)
    new.start_from(InitialState(method="avid", tensors=of_avid, same_data=True, where="RUN"))
    assert torch.equal(new.criterion.video_memory.memory, old.criterion.video_memory.memory)
    assert new.criterion.pairs.visited.nonzero()[:, 0].tolist() == list(range(0, 24, 2))


@pytest.mark.parametrize("case", ["other data", "no banks"])
def test_banks_start_anew_where_they_do_not_fit(
    shard_set: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = build(shard_set, seed=1), build(shard_set, seed=2)
    before = new.criterion.video_memory.memory.clone()
    state = initial(old, same_data=case == "no banks")
    if case == "no banks":
        tensors = {k: v for k, v in state.tensors.items() if not k.startswith("criterion.")}
        state = InitialState(method="avid", tensors=tensors, same_data=True, where="RUN")
    with caplog.at_level("INFO"):
        new.start_from(state)
    why = "was trained on other samples" if case == "other data" else "has no memory banks"
    assert f"RUN {why}: the banks start anew" in caplog.text
    assert torch.equal(new.criterion.video_memory.memory, before)
    assert not new.criterion.pairs.visited.any()
    weight = "model.video_model.conv1.0.weight"
    assert torch.equal(new.state_dict()[weight], old.state_dict()[weight])


def test_refuses_runs_it_cannot_start_from(shard_set: Path, make_shard_set: MakeShardSet) -> None:
    method = build(shard_set)
    with pytest.raises(RunError, match=r"cannot start from RUN, a run of 'sync'; give one of avid"):
        method.start_from(initial(method, name="sync"))
    other = build(make_shard_set(num_clips=16), num_clips=16)
    with pytest.raises(RunError, match=r"video_memory.memory is \(16, 128\) and must be \(24, 128"):
        method.start_from(initial(other))


def test_a_run_starts_its_robust_stage_from_a_warm_run(
    run_fit: Callable[..., FitResult], tmp_path: Path
) -> None:
    run_fit(tmp_path / "warm", "robust_xid.warmup_share=1")
    warm = tmp_path / "warm"
    run_fit(tmp_path / "robust", "robust_xid.warmup_share=0", f"init={warm}", "log.every_steps=1")
    terms = [line["terms"] for line in log_lines(tmp_path / "robust")]
    assert {t["stage"] for t in terms} == {2.0}
    # all sources were trained before: already the first step weighs them
    assert all(t["weight"] < 1 for t in terms)


def test_wrong_settings_and_data(make_shard_set: MakeShardSet) -> None:
    for setting, text in (
        ("robust_xid.warmup_share=1.5", "warmup_share"),
        ("robust_xid.statistics_every=0", "statistics_every"),
        ("robust_xid.criterion.targets=cycles", "targets"),
        ("robust_xid.criterion.loss=nce", "loss='nce' has no distribution over candidates"),
    ):
        with pytest.raises(ConfigError, match=text):
            build_settings(FitConfig, {}, [setting])
    path = make_shard_set(num_clips=2, fields=("frames", "audio"))
    with pytest.raises(DataError, match=r"method 'robust-xid' needs fields .*robust_xid.audio.inp"):
        build(path)
