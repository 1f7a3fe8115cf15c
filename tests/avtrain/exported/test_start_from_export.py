"""Runs that start from an export: of a run, or of a published checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from avdata import ShardSet, build_settings
from avtrain.cli import main
from avtrain.data.samples import dataset_fingerprint
from avtrain.engine.config import FitConfig
from avtrain.engine.initial import load_initial
from avtrain.engine.load import load_method
from avtrain.exported import read_exported
from avtrain.methods import Method, MethodFacts
from avtrain.methods.avid import AVID

MakeRun = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

CMA = (
    "data.batch_size=6",
    "data.loader_threads=1",
    "schedule.max_steps=1",
    "log.tensorboard=false",
    "cma.model=tiny",
    "cma.criterion.num_negatives=8",
    "cma.criterion.num_negatives_within=4",
    "cma.criterion.num_positives=4",
    "cma.video.crop_px=32",
    "cma.video.clip_frames=4",
    "cma.audio.window_s=1.0",
    "cma.audio.frame_rate_hz=50",
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def fit_cma(shards: Path, out: Path, initial: Path, *settings: str) -> Result:
    sets = [part for text in (*CMA, *settings) for part in ("--set", text)]
    return invoke(
        *("fit", shards, "--method", "cma", "--out", out, "--device", "cpu"),
        *("--init", initial, *sets),
    )


def start(shard_set: Path, initial: Path, *settings: str) -> Method:
    """A new method that has taken up an export."""
    shards = ShardSet(shard_set)
    facts = MethodFacts(
        spec=shards.spec,
        where=str(shard_set),
        trained_sources=None,
        seed=5,
        device=torch.device("cpu"),
    )
    config = build_settings(FitConfig, {}, settings)
    method = config.method_config.build(facts)
    method.start_from(load_initial(initial, fingerprint=dataset_fingerprint(shards)).state)
    return method


def test_cma_starts_from_an_imported_checkpoint_with_banks(
    published_file: Path,
    published_names: Path,
    small_published: str,
    shard_set: Path,
    tmp_path: Path,
) -> None:
    banks = ("--bank-list", published_names, "--manifest", shard_set)
    out = tmp_path / "avid"
    done = invoke("import", published_file, "--out", out, "--set", small_published, *banks)
    assert done.exit_code == 0, done.output
    given = read_exported(out, banks=True).tensors
    state = start(shard_set, out, "method=cma", *CMA, f"cma.{small_published}").state_dict()
    assert sum(name.startswith("model.") for name in given) == 171
    for name, tensor in given.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    assert float(state["criterion.normalizer"]) == 2.5
    done = fit_cma(shard_set, tmp_path / "cma", out, f"cma.{small_published}")
    assert done.exit_code == 0, done.output
    mined = load_method(tmp_path / "cma", torch.device("cpu")).method.state_dict()
    assert int((mined["criterion.positives"] >= 0).sum()) == 24 * 4


def test_cma_starts_from_an_exported_run_and_needs_its_banks(
    make_run: MakeRun, shard_set: Path, tmp_path: Path
) -> None:
    run = make_run("data.split=")  # on all samples, as the run that starts
    for name, more in (("bare", ()), ("whole", ("--banks",))):
        done = invoke("export", run, "--out", tmp_path / name, *more)
        assert done.exit_code == 0, done.output
    done = fit_cma(shard_set, tmp_path / "cma", tmp_path / "bare")
    assert done.exit_code == 2
    assert "it holds networks alone" in done.output
    done = fit_cma(shard_set, tmp_path / "cma_whole", tmp_path / "whole")
    assert done.exit_code == 0, done.output


def test_audio_statistics_come_with_the_weights_or_are_those_of_the_data(
    published_file: Path, small_published: str, shard_set: Path, tmp_path: Path
) -> None:
    statistics = tmp_path / "statistics.npz"
    np.savez(statistics, mean=np.arange(257, dtype=np.float32), std=np.full(257, 3, np.float32))
    model = ("--set", small_published)
    for name, more in (("bare", ()), ("whole", ("--audio-statistics", statistics))):
        done = invoke("import", published_file, "--out", tmp_path / name, *model, *more)
        assert done.exit_code == 0, done.output
    settings = (f"avid.{small_published}", "avid.audio.input=spectrogram")
    bare = start(shard_set, tmp_path / "bare", *settings)
    whole = start(shard_set, tmp_path / "whole", *settings)
    assert isinstance(bare, AVID)
    assert isinstance(whole, AVID)
    assert bare.num_calibration_clips > 0  # clips are shown to it, and their statistics taken
    assert whole.num_calibration_clips == 0
    assert whole.preparation.audio_mean.tolist() == list(range(257))
    assert whole.preparation.audio_std.tolist() == [3.0] * 257
