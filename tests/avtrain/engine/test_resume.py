"""A run in pieces is the run in one piece, bit for bit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from avdata import ShardSet, build_settings
from avtrain.engine.checkpoint import Checkpoint, list_checkpoints, load_latest_checkpoint
from avtrain.engine.config import FitConfig
from avtrain.engine.fit import FitResult, fit
from avtrain.engine.journal import KEYS_NAME, LogLine
from avtrain.errors import RunError, TrainingError

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Fit = Callable[..., FitResult]


class _Silent:
    def started(self, step: int, num_steps: int) -> None: ...
    def stepped(self, step: int) -> None: ...
    def logged(self, line: LogLine) -> None: ...


@pytest.fixture
def run_fit(shard_set: Path, tiny_run: tuple[str, ...]) -> Fit:
    """Function that trains the tiny run, with more settings, into a folder."""

    def run(
        out: Path, *settings: str, resume: bool = False, shards: Path = shard_set, progress=None
    ) -> FitResult:
        return fit(
            ShardSet(shards),
            build_settings(FitConfig, {}, (*tiny_run, *settings)),
            run=out,
            resume=resume,
            device=torch.device("cpu"),
            progress=progress or _Silent(),
        )

    return run


def losses(run: Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines]


def last(run: Path) -> Checkpoint:
    checkpoint = load_latest_checkpoint(run)
    assert checkpoint is not None
    return checkpoint


def assert_equal_runs(one: Path, other: Path) -> None:
    assert (one / KEYS_NAME).read_text() == (other / KEYS_NAME).read_text()
    assert losses(one) == losses(other)
    a, b = last(one), last(other)
    assert a.step == b.step
    assert a.method.keys() == b.method.keys()
    assert all(torch.equal(a.method[name], b.method[name]) for name in a.method)
    torch.testing.assert_close(a.optimizer["state"], b.optimizer["state"], rtol=0, atol=0)
    assert torch.equal(a.window, b.window)


class _Killed(BaseException):
    """Ends a run as hard as a test in one process can."""


class _KillAt(_Silent):
    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, step: int) -> None:
        if step == self.step:
            raise _Killed


@pytest.mark.parametrize("audio", ["logmel", "spectrogram"])
def test_stopped_twice_equals_uninterrupted(run_fit: Fit, tmp_path: Path, audio: str) -> None:
    setting = f"avid.audio.input={audio}"
    whole = run_fit(tmp_path / "whole", setting)
    run_fit(tmp_path / "parts", setting, "schedule.max_steps=1")
    run_fit(tmp_path / "parts", setting, "schedule.max_steps=7", resume=True)
    parts = run_fit(tmp_path / "parts", setting, resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")
    assert parts.session.num_steps == 3
    assert parts.step == whole.step == 10
    assert parts.session.loss == whole.session.loss
    assert [step for step, _ in losses(tmp_path / "parts")] == [3, 6, 9]


def test_killed_after_a_checkpoint_equals_uninterrupted(run_fit: Fit, tmp_path: Path) -> None:
    run_fit(tmp_path / "whole")
    with pytest.raises(_Killed):
        run_fit(tmp_path / "killed", "checkpoint.every_steps=4", progress=_KillAt(7))
    assert last(tmp_path / "killed").step == 4
    assert [step for step, _ in losses(tmp_path / "killed")] == [3, 6]
    run_fit(tmp_path / "killed", resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


def test_killed_before_any_checkpoint_starts_from_the_first_step(
    run_fit: Fit, tmp_path: Path
) -> None:
    run_fit(tmp_path / "whole")
    with pytest.raises(_Killed):
        run_fit(tmp_path / "killed", progress=_KillAt(2))
    run_fit(tmp_path / "killed", resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


def test_loader_threads_do_not_change_a_run(run_fit: Fit, tmp_path: Path) -> None:
    run_fit(tmp_path / "two")
    run_fit(tmp_path / "four", "data.loader_threads=4", "data.prefetch_batches=1")
    assert_equal_runs(tmp_path / "two", tmp_path / "four")


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(
    run_fit: Fit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_fit(tmp_path / "whole")
    run = tmp_path / "damaged"
    run_fit(run, "checkpoint.every_steps=4")
    paths = list_checkpoints(run)
    assert [path.name for path in paths] == ["step-00000008", "step-00000010"]
    weights = paths[-1] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    (run / "checkpoints" / "step-00000012.partial").mkdir()
    run_fit(run, resume=True)
    assert "step-00000010 is damaged" in caplog.text
    assert_equal_runs(tmp_path / "whole", run)
    assert not list((run / "checkpoints").glob("*partial*"))


def test_a_run_with_only_damaged_checkpoints_is_refused(run_fit: Fit, tmp_path: Path) -> None:
    run_fit(tmp_path, "schedule.max_steps=1")
    for path in list_checkpoints(tmp_path):
        (path / "state.pt").write_bytes(b"")
    with pytest.raises(RunError, match=r"none of the 1 checkpoints in .* can be read \(.*delete"):
        run_fit(tmp_path, resume=True)


def test_resume_refuses_another_shard_set(
    run_fit: Fit, tmp_path: Path, make_shard_set: Callable[..., Path]
) -> None:
    run_fit(tmp_path, "schedule.max_steps=1")
    other = make_shard_set(build_hash="other")
    with pytest.raises(RunError, match="was trained on another shard set"):
        run_fit(tmp_path, resume=True, shards=other)


def test_resume_refuses_settings_that_make_another_run(run_fit: Fit, tmp_path: Path) -> None:
    run_fit(tmp_path, "schedule.max_steps=1")
    with pytest.raises(RunError, match=r"other settings: optim.lr: 0.0002 -> 0.1. Only lengths"):
        run_fit(tmp_path, "optim.lr=0.1", resume=True)


def test_the_same_command_goes_on_and_another_one_is_refused(
    run_fit: Fit, tmp_path: Path, make_shard_set: Callable[..., Path]
) -> None:
    run_fit(tmp_path / "whole")
    run_fit(tmp_path / "run", "schedule.max_steps=4")
    assert run_fit(tmp_path / "run").session.num_steps == 6
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")
    written = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert run_fit(tmp_path / "run").session.num_steps == 0
    assert sorted((tmp_path / "run" / "checkpoints").iterdir()) == written
    with pytest.raises(
        RunError, match=r"other settings: data.split: 'train' -> 'test'; seed: 3 -> 4"
    ):
        run_fit(tmp_path / "run", "seed=4", "data.split=test")
    with pytest.raises(RunError, match="was trained on another shard set"):
        run_fit(tmp_path / "run", shards=make_shard_set(build_hash="other"))


def test_a_loss_that_is_not_finite_ends_the_run_with_its_keys(run_fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss of step \d is not finite.*clip-0"):
        run_fit(tmp_path, "optim.lr=1e30", "checkpoint.every_steps=1", "log.every_steps=5")
    assert last(tmp_path).step >= 1
    assert all(torch.isfinite(v).all() for v in last(tmp_path).window)


def test_all_samples_of_the_split_are_seen_each_epoch(run_fit: Fit, tmp_path: Path) -> None:
    result = run_fit(tmp_path, "schedule.max_steps=8")
    lines = map(json.loads, (tmp_path / KEYS_NAME).read_text().splitlines())
    keys = [key for line in lines for key in line["keys"]]
    train = {f"clip-{i:03d}" for i in range(24) if i % 3 != 2}
    assert len(keys) == 48
    for epoch in range(3):
        assert sorted(keys[16 * epoch : 16 * epoch + 16]) == sorted(train)
    assert result.epochs == 3
