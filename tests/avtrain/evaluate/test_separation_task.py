"""The task: which mixtures, what is counted, what stands in the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from avdata import ShardSet
from avtrain.cli import main
from avtrain.data.samples import read_sample_table
from avtrain.errors import DataError
from avtrain.evaluate.separation_task import mixture_pairs

pytestmark = pytest.mark.usefixtures("one_torch_thread")
MakeShardSet = Callable[..., Path]
SETTINGS = (
    "method=separation",
    "data.batch_size=4",
    "data.loader_threads=1",
    "data.split=train",
    "schedule.max_steps=2",
    "log.tensorboard=false",
    "compute.threads=1",
    "separation.model={width = 4, blocks_per_stage = 1, norm_decay = 0.5}",
    "separation.unet={width = 4, num_levels = 5, norm_decay = 0.5}",
    "separation.output=mask",
    "separation.view={clip_frames = 8, fps = 16.0, short_side_px = 64, crop_px = 32}",
    "separation.spectrogram={window_samples = 128, hop_samples = 64, fft_samples = 128, "
    "num_frames = 56}",
)


@pytest.fixture(scope="module")
def sounding_set(make_shard_set: MakeShardSet) -> Path:
    """12 clips, 4 of them test."""
    return make_shard_set(
        num_clips=12, fields=("frames", "audio"), sample_rate_hz=8000, durations_s=(1.0,)
    )


def _run(folder: Path, out: Path, *more: str) -> Path:
    sets = [part for item in (*SETTINGS, *more) for part in ("--set", item)]
    done = CliRunner().invoke(main, ["fit", str(folder), "--out", str(out), *sets])
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def run(sounding_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of two steps."""
    before = torch.get_num_threads()
    yield _run(sounding_set, tmp_path_factory.mktemp("runs") / "on-off")
    torch.set_num_threads(before)


def _evaluate(run: Path, shards: Path, *more: str) -> Result:
    arguments = ["eval", str(run), str(shards), "--task", "separation", "--json", *more]
    return CliRunner().invoke(main, arguments)


def _metrics(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_pairs(sounding_set: Path) -> None:
    table = read_sample_table(ShardSet(sounding_set))
    samples = tuple(range(12))
    pairs = mixture_pairs(table, samples, seed=0, other_label=False, where="it")
    assert pairs == mixture_pairs(table, samples, seed=0, other_label=False, where="it")
    assert pairs != mixture_pairs(table, samples, seed=1, other_label=False, where="it")
    assert sorted(on for on, _ in pairs) == sorted(off for _, off in pairs) == list(samples)
    assert all(table.source_index[on] != table.source_index[off] for on, off in pairs)
    apart = mixture_pairs(table, samples, seed=0, other_label=True, where="it")
    assert all(table.labels[on] != table.labels[off] for on, off in apart)
    assert sorted(on for on, _ in apart) == list(samples)


def test_samples_that_cannot_be_mixed(sounding_set: Path) -> None:
    table = read_sample_table(ShardSet(sounding_set))
    with pytest.raises(DataError, match=r"clip-003 of it has no other of the 1 .* own source; mea"):
        mixture_pairs(table, (3,), seed=0, other_label=False, where="it")
    with pytest.raises(DataError, match=r"source and class; .*separation.other_label=false"):
        mixture_pairs(table, (0, 1), seed=0, other_label=True, where="it")


def test_numbers_stand_beside_those_of_the_mixture(run: Path, sounding_set: Path) -> None:
    few = ("--set", "separation.windows=2", "--set", "separation.num_mixtures=2")
    result = _metrics(_evaluate(run, sounding_set, *few))
    metrics, chance = result["metrics"], result["chance"]
    assert result["num_samples"] == 4  # 2 of 4 test samples, 2 windows
    names = {"sdr_db", "sir_db", "sar_db", "si_sdr_db", "sdr_gain_db", "si_sdr_gain_db"}
    assert names | {f"on/{name}" for name in names} < metrics.keys()
    for name in ("si_sdr", "on/si_sdr", "sdr", "on/sir"):
        gain = metrics[f"{name}_db"] - chance[f"{name}_db"]
        assert metrics[f"{name}_gain_db"] == pytest.approx(gain, abs=1e-6)
        assert chance[f"{name}_gain_db"] == 0
    assert chance["assignment_accuracy"] == 0.5
    assert -1 < chance["si_sdr_db"] < 1  # two equally loud tones
    assert metrics["mixture_error_db"] < -80  # shared masks
    again = _metrics(_evaluate(run, sounding_set, *few, "--set", "separation.bss=false"))
    assert again["metrics"] == pytest.approx({name: metrics[name] for name in again["metrics"]})


def test_other_forms_and_fewer_mixtures(run: Path, sounding_set: Path) -> None:
    settings = ("separation.bss=false", "separation.num_mixtures=3", "separation.sound=ratio-masks")
    sets = [part for item in settings for part in ("--set", item)]
    result = _metrics(_evaluate(run, sounding_set, *sets))
    assert result["num_samples"] == 3
    assert "sdr_db" not in result["metrics"]
    assert result["metrics"]["mixture_error_db"] > -60
    done = _evaluate(run, sounding_set, *sets, "--batch-size", "2")
    assert _metrics(done)["metrics"] == pytest.approx(result["metrics"], abs=1e-3)


def test_sounds_without_pictures(
    run: Path, sounding_set: Path, make_shard_set: MakeShardSet
) -> None:
    sounds = make_shard_set(
        num_clips=4, fields=("audio",), sample_rate_hz=8000, durations_s=(1.0,), num_splits=0
    )
    settings = ("separation.bss=false", f"separation.off_screen.shards={sounds}")
    sets = [part for item in settings for part in ("--set", item)]
    result = _metrics(_evaluate(run, sounding_set, *sets))
    assert result["num_samples"] == 4  # every test sample, also of a set of one source
    assert result["metrics"] == _metrics(_evaluate(run, sounding_set, *sets))["metrics"]
    settings = (*settings, "seed=1")
    sets = [part for item in settings for part in ("--set", item)]
    assert result["metrics"] != _metrics(_evaluate(run, sounding_set, *sets))["metrics"]


def test_side_by_side_each_sample_is_hidden_once(run: Path, sounding_set: Path) -> None:
    settings = ("separation.side_by_side=true", "separation.bss=false")
    sets = [part for item in settings for part in ("--set", item)]
    result = _metrics(_evaluate(run, sounding_set, *sets))
    assert result["num_samples"] == 8  # 4 pairs
    assert -2 <= result["metrics"]["crosswise_margin"] <= 2
    assert result["chance"]["crosswise_margin"] == 0
    assert "assignment_accuracy" in result["metrics"]
    assert any("each is hidden in turn" in note for note in result["notes"])
    done = _evaluate(run, sounding_set, *sets, "--set", "separation.off_screen.shards=other")
    assert done.exit_code == 2 and "sounds of off_screen.shards have no pictures" in done.stderr


def test_blind_runs_are_scored_in_their_better_order(sounding_set: Path, tmp_path: Path) -> None:
    folder = _run(
        sounding_set, tmp_path / "pit", "separation.objective=pit", "separation.use_video=false"
    )
    result = _metrics(_evaluate(folder, sounding_set, "--set", "separation.bss=false"))
    assert "assignment_accuracy" not in result["metrics"]
    assert any("does not know what is seen" in note for note in result["notes"])
    done = _evaluate(folder, sounding_set, "--set", "separation.side_by_side=true")
    assert done.exit_code == 2 and "asks whose sound is seen, and this run does" in done.stderr


def test_the_table_has_decibels(run: Path, sounding_set: Path) -> None:
    arguments = ["eval", str(run), str(sounding_set), "--task", "separation"]
    done = CliRunner().invoke(main, [*arguments, "--set", "separation.bss=false"])
    assert done.exit_code == 0, done.output
    line = next(line for line in done.stdout.splitlines() if line.startswith("si_sdr_gain_db"))
    assert "%" not in line and line.endswith("0.00")
    shown = CliRunner().invoke(main, ["eval", str(run), "--show"])
    assert "si_sdr_gain_db" in shown.stdout


def test_silent_sounds_are_counted(
    run: Path, make_shard_set: MakeShardSet, sounding_set: Path
) -> None:
    del sounding_set
    silent = make_shard_set(
        num_clips=6,
        fields=("frames", "audio"),
        sample_rate_hz=8000,
        durations_s=(1.0,),
        num_splits=0,
        silent_every=3,
    )
    result = _metrics(_evaluate(run, silent, "--set", "separation.bss=false"))
    assert result["num_samples"] < 6
    assert any("have a silent source: not scored" in note for note in result["notes"])
    nothing = make_shard_set(
        num_clips=4,
        fields=("frames", "audio"),
        sample_rate_hz=8000,
        durations_s=(1.0,),
        num_splits=0,
        silent_every=1,
    )
    done = _evaluate(run, nothing)
    assert done.exit_code != 0
    assert "none of 4 mixtures" in done.output and "4 have a silent source" in done.output


def test_runs_and_sets_that_do_not_fit(
    run: Path,
    sounding_set: Path,
    make_shard_set: MakeShardSet,
    tmp_path: Path,
    tiny_run: tuple[str, ...],
    shard_set: Path,
) -> None:
    sets = [part for item in (*tiny_run, "schedule.max_steps=1") for part in ("--set", item)]
    out = str(tmp_path / "avid")
    assert CliRunner().invoke(main, ["fit", str(shard_set), "--out", out, *sets]).exit_code == 0
    done = _evaluate(Path(out), shard_set)
    assert "takes mixtures apart, AVID does not; evaluate a run of separation" in done.output
    assert done.exit_code != 0
    faster = make_shard_set(
        num_clips=6, fields=("frames", "audio"), sample_rate_hz=16000, durations_s=(1.0,)
    )
    done = _evaluate(run, faster)
    assert "has sound at 16000 Hz, the run was trained on 8000 Hz; build it" in done.output
    done = CliRunner().invoke(main, ["eval", str(run), str(sounding_set), "--task", "knn"])
    assert done.exit_code != 0
    assert "takes a video and an audio network, Separation has none" in done.output
