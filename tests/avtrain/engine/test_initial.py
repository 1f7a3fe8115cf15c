"""A run that starts from the weights of another one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from avdata import ShardSet, build_settings
from avtrain.encoders import export_run
from avtrain.engine.checkpoint import Checkpoint, load_latest_checkpoint
from avtrain.engine.config import FitConfig
from avtrain.engine.fit import fit
from avtrain.engine.initial import load_initial
from avtrain.engine.journal import LogLine
from avtrain.engine.run_folder import read_run
from avtrain.errors import RunError, WeightsError
from avtrain.exported.folder import write_exported

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Fit = Callable[..., object]


class _Silent:
    def started(self, step: int, num_steps: int) -> None: ...
    def stepped(self, step: int) -> None: ...
    def logged(self, line: LogLine) -> None: ...


@pytest.fixture
def run_fit(shard_set: Path, tiny_run: tuple[str, ...]) -> Fit:
    """Function that trains the tiny run for a step, with more settings, into a folder."""

    def run(out: Path, *settings: str) -> object:
        return fit(
            ShardSet(shard_set),
            build_settings(FitConfig, {}, (*tiny_run, "schedule.max_steps=1", *settings)),
            run=out,
            resume=False,
            device=torch.device("cpu"),
            progress=_Silent(),
        )

    return run


def last(run: Path) -> Checkpoint:
    checkpoint = load_latest_checkpoint(run)
    assert checkpoint is not None
    return checkpoint


def test_weights_of_a_run(run_fit: Fit, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run_fit(first)
    frozen = ("optim.lr=1e-30", "optim.weight_decay=0", f"init={first}", "seed=9")
    run_fit(second, *frozen)
    a, b = last(first).method, last(second).method
    weights = [name for name in a if name.startswith("model.") and name.endswith("weight")]
    assert len(weights) > 30
    assert all(torch.equal(a[name], b[name]) for name in weights)
    assert read_run(second).init_sha256
    assert read_run(first).init_sha256 is None
    # going on needs the first run no more
    shutil.rmtree(first)
    run_fit(second, *frozen, "schedule.max_steps=2")
    assert last(second).step == 2


def test_a_run_that_began_from_other_weights_is_refused(run_fit: Fit, tmp_path: Path) -> None:
    run_fit(tmp_path / "first")
    init = f"init={tmp_path / 'first'}"
    run_fit(tmp_path / "second", init)
    shutil.rmtree(tmp_path / "second" / "checkpoints")  # killed before the first one
    run_fit(tmp_path / "first", "schedule.max_steps=2")
    with pytest.raises(RunError, match="was to start from other weights than"):
        run_fit(tmp_path / "second", init)
    with pytest.raises(RunError, match="other settings: init: "):
        run_fit(tmp_path / "second")


def test_an_exported_folder(run_fit: Fit, tmp_path: Path) -> None:
    run_fit(tmp_path / "first")
    write_exported(export_run(tmp_path / "first", banks=True), tmp_path / "exported")
    fingerprint = read_run(tmp_path / "first").dataset_fingerprint
    own = load_initial(tmp_path / "first", fingerprint=fingerprint)
    theirs = load_initial(tmp_path / "exported", fingerprint=fingerprint)
    assert theirs.state.same_data
    assert not load_initial(tmp_path / "exported", fingerprint="other").state.same_data
    for name in ("model.audio_proj.projection.0.weight", "criterion.video_memory.memory"):
        assert torch.equal(own.state.tensors[name], theirs.state.tensors[name])
    run_fit(tmp_path / "second", f"init={tmp_path / 'exported'}")
    assert read_run(tmp_path / "second").init_sha256 == theirs.sha256


def test_wrong_places(run_fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"--init .*none: neither a run nor an export; give"):
        run_fit(tmp_path / "run", f"init={tmp_path / 'none'}")
    (tmp_path / "weights.safetensors").write_bytes(b"torn")
    (tmp_path / "config.json").write_text('{"method": "avid"}')
    with pytest.raises(WeightsError, match=r"config.json has \(format, version\)"):
        run_fit(tmp_path / "run", f"init={tmp_path}")
    run_fit(tmp_path / "first")
    shutil.rmtree(tmp_path / "first" / "checkpoints")
    with pytest.raises(RunError, match="the run has no checkpoint yet; train it first"):
        run_fit(tmp_path / "run", f"init={tmp_path / 'first'}")
    assert not (tmp_path / "run").exists()


def test_refused_weights_leave_the_folder_to_others(run_fit: Fit, tmp_path: Path) -> None:
    run_fit(tmp_path / "first")
    other = "avid.model={video={depth=10,width=8},audio={width=8}}"
    with pytest.raises(RunError, match=r"first does not fit: .* choose the model"):
        run_fit(tmp_path / "run", f"init={tmp_path / 'first'}", other)
    run_fit(tmp_path / "run")  # other settings: it is not the same run
    assert last(tmp_path / "run").step == 1
