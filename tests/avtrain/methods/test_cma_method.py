"""CMA from an AVID run to a resumed run, and what it refuses."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from avdata import ConfigError, ShardSet, build_settings
from avtrain.engine.checkpoint import Checkpoint, load_latest_checkpoint
from avtrain.engine.config import FitConfig
from avtrain.engine.fit import FitResult, fit
from avtrain.errors import DataError, RunError
from avtrain.methods import InitialState, MethodFacts, StepFacts
from avtrain.methods.cma import CMA

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = (
    "method=cma",
    "cma.model=tiny",
    "cma.video.crop_px=32",
    "cma.video.clip_frames=4",
    "cma.audio.window_s=1.0",
    "cma.audio.frame_rate_hz=50",
    "cma.criterion.num_negatives=8",
    "cma.criterion.num_negatives_within=4",
    "cma.criterion.num_positives=4",
    "cma.criterion.resample_epochs=1",
)
Fit = Callable[..., FitResult]


class _Silent:
    """A `Progress` that shows nothing, whatever it is told."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


@pytest.fixture
def run_fit(shard_set: Path, tiny_run: tuple[str, ...]) -> Fit:
    """Function that trains the tiny run, with more settings, into a folder."""

    def run(out: Path, *settings: str, resume: bool = False) -> FitResult:
        return fit(
            ShardSet(shard_set),
            build_settings(FitConfig, {}, (*tiny_run, *settings)),
            run=out,
            resume=resume,
            device=torch.device("cpu"),
            progress=_Silent(),
        )

    return run


def last(run: Path) -> Checkpoint:
    checkpoint = load_latest_checkpoint(run)
    assert checkpoint is not None
    return checkpoint


def build(path: Path, *settings: str, sources: torch.Tensor | None = None) -> CMA:
    config = build_settings(FitConfig, {}, (*SMALL, *settings)).cma
    spec = ShardSet(path).spec
    config.check(spec, where="SHARDS")
    return config.build(
        MethodFacts(
            spec=spec, where="SHARDS", trained_sources=sources, seed=0, device=torch.device("cpu")
        )
    )


def at(epoch: float) -> StepFacts:
    return StepFacts(step=round(10 * epoch), epochs=epoch, share=0.0, new_epoch=True)


def test_from_an_avid_run_and_resumed_equals_uninterrupted(
    run_fit: Fit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # 16 samples in batches of 6: steps 0, 3 and 6 are the first of epochs 0, 1 and 2
    run_fit(tmp_path / "avid", "schedule.max_steps=4")
    avid = last(tmp_path / "avid").method
    start = (*SMALL, f"init={tmp_path / 'avid'}")
    with caplog.at_level(logging.INFO):
        run_fit(tmp_path / "whole", *start, "schedule.max_steps=8")
    mined = [r for r in caplog.records if r.getMessage() == "mining 4 positives of each source"]
    assert len(mined) == 3
    run_fit(tmp_path / "parts", *start, "schedule.max_steps=2")
    run_fit(tmp_path / "parts", *start, "schedule.max_steps=6", resume=True)
    run_fit(tmp_path / "parts", *start, "schedule.max_steps=8", resume=True)
    whole, parts = last(tmp_path / "whole").method, last(tmp_path / "parts").method
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert int(whole["criterion.mined"]) == 2
    assert torch.equal(whole["criterion.normalizer"], avid["criterion.normalizer"])
    trained = torch.tensor([i for i in range(24) if i % 3 != 2])
    positives = whole["criterion.positives"]
    assert torch.isin(positives[trained], trained.int()).all()
    assert not (positives[trained] == trained[:, None]).any()
    assert (positives[2::3] == -1).all()
    assert torch.equal(  # rows that are not trained stay as AVID drew them
        whole["criterion.video_memory.memory"][2::3], avid["criterion.video_memory.memory"][2::3]
    )


def test_a_warm_up_is_avid_until_it_ends(run_fit: Fit, tmp_path: Path) -> None:
    steps = "schedule.max_steps=3"
    run_fit(tmp_path / "avid", steps)
    run_fit(tmp_path / "cma", *SMALL, "cma.warmup_epochs=1", steps)
    avid, cma = last(tmp_path / "avid").method, last(tmp_path / "cma").method
    for name, value in avid.items():
        torch.testing.assert_close(cma[name], value, atol=1e-5, rtol=1e-4, msg=name)
    assert int(cma["criterion.mined"]) == -1
    run_fit(tmp_path / "cma", *SMALL, "cma.warmup_epochs=1", "schedule.max_steps=5", resume=True)
    after = last(tmp_path / "cma").method
    assert int(after["criterion.mined"]) == 1
    assert after["criterion.within_normalizer"] > 0


def test_positives_are_mined_when_they_are_old(shard_set: Path) -> None:
    method = build(shard_set, "cma.criterion.resample_epochs=3", "cma.warmup_epochs=2")
    method.criterion.normalizer.fill_(2.2)
    epochs = []
    for epoch in (0.0, 1.9, 2.0, 2.3, 4.9, 5.2, 5.6, 7.9, 12.0, 13.0):
        before = method.criterion.mined_epoch
        method.before_step(at(epoch))
        if method.criterion.mined_epoch != before:
            epochs.append(epoch)
    assert epochs == [2.0, 5.2, 12.0]


def test_without_trained_banks_it_does_not_start(
    run_fit: Fit, tmp_path: Path, shard_set: Path
) -> None:
    with pytest.raises(RunError, match=r"trained memory banks: start from .* --init RUN, or .*=10"):
        run_fit(tmp_path / "run", *SMALL)
    assert not (tmp_path / "run" / "run.json").exists()
    with pytest.raises(RunError, match=r"banks that are random here: start from a trained AVID"):
        build(shard_set).before_step(at(0.0))


def test_what_it_can_start_from(shard_set: Path) -> None:
    method = build(shard_set)
    trained = build(shard_set)
    for bank in (trained.criterion.video_memory, trained.criterion.audio_memory):
        bank.memory.copy_(bank.memory.flip(0))
    trained.criterion.normalizer.fill_(2.5)

    def initial(**changes: object) -> InitialState:
        facts = {
            "method": "avid",
            "tensors": trained.state_dict(),
            "same_data": True,
            "where": "runs/a",
        }
        return InitialState(**{**facts, **changes})

    networks = {n: t for n, t in trained.state_dict().items() if not n.startswith("criterion")}
    for changes, reason in (
        ({"same_data": False}, "its banks are of other samples: each row belongs to one source"),
        ({"method": "robust-xid"}, "it is of method 'robust-xid', and only avid and cma have them"),
        ({"tensors": networks}, "it holds networks alone"),
    ):
        with pytest.raises(RunError, match=f"in the banks of runs/a: {reason}; start from"):
            method.start_from(initial(**changes))
        warm = build(shard_set, "cma.warmup_epochs=1")
        rows = warm.criterion.video_memory.memory.clone()
        warm.start_from(initial(**changes))
        assert torch.equal(warm.criterion.video_memory.memory, rows)
        assert float(warm.criterion.normalizer) == -1
    name = "criterion.video_memory.memory"
    narrow = {**trained.state_dict(), name: torch.zeros(24, 3)}
    with pytest.raises(RunError, match=r"memory of runs/a is \(24, 3\) and must be \(24, 128\)"):
        method.start_from(initial(tensors=narrow))
    method.start_from(initial())
    state = method.state_dict()
    assert all(torch.equal(state[n], t) for n, t in trained.state_dict().items())
    method.before_step(at(0.0))
    assert method.criterion.mined_epoch == 0


def test_too_few_sources_are_refused(shard_set: Path) -> None:
    with pytest.raises(DataError, match=r"num_positives=32 needs at least 34 sources .* has 24"):
        build(shard_set, "cma.criterion.num_positives=32")
    with pytest.raises(DataError, match=r"num_positives=4 needs at least 6 sources .* has 5: one"):
        build(shard_set, sources=torch.arange(5))
    assert build(shard_set, sources=torch.arange(6)).criterion.positives.shape == (24, 4)


def test_a_warm_up_needs_the_term_that_it_trains() -> None:
    with pytest.raises(ConfigError, match="warmup_epochs=2 trains the term cross_instance"):
        build_settings(
            FitConfig, {}, ("cma.warmup_epochs=2", "cma.criterion.coefficients.cross_instance=0")
        )
