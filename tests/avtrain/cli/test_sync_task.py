"""`fit --method sync` and `eval --task sync` on tiny sets, with right and wrong input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from avtrain.cli import main

MakeShardSet = Callable[..., Path]

SETTINGS = (
    "data.split=train",
    "data.batch_size=6",
    "schedule.max_steps=2",
    "log.tensorboard=false",
    "sync.model={width=4, blocks_per_stage=1, norm_decay=0.9, sound_strides=[8,4,4,4,2]}",
    "sync.view.clip_frames=16",
    "sync.view.fps=16",
    "sync.view.min_shift_s=0.5",
    "sync.view.short_side_px=36",
    "sync.view.crop_px=32",
)
NUMBERS = ("accuracy", "aligned", "shifted", "oracle")
OFFSETS = ("offset/exact", "offset/within_one", "offset/error_s")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def fit(shards: Path, out: Path, *settings: str, method: str = "sync") -> Result:
    sets = [part for text in (*SETTINGS, *settings) for part in ("--set", text)]
    return invoke("fit", shards, "--method", method, "--out", out, "--device", "cpu", *sets)


def evaluate(run: Path, shards: Path, *more: object) -> Result:
    grid = ("--set", "sync.offsets.max_s=0.8", "--set", "sync.offsets.step_s=0.4")
    return invoke("eval", run, shards, "--task", "sync", "--device", "cpu", *grid, *more)


def facts_of(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


@pytest.fixture(scope="module")
def run(shard_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    done = fit(shard_set, out)
    assert done.exit_code == 0, done.output
    assert done.output.rstrip().endswith(f"evaluate: avtrain eval {out} {shard_set} --task sync")
    return out


def test_every_number_has_its_chance(run: Path, shard_set: Path) -> None:
    facts = facts_of(evaluate(run, shard_set, "--windows", 2, "--json"))
    classes = {f"accuracy/label{i}" for i in range(4)}
    control = {"unrelated/accuracy", "unrelated/oracle", "unrelated/rejected"}
    assert facts["metrics"].keys() == facts["chance"].keys()
    assert facts["metrics"].keys() == {*NUMBERS, *OFFSETS, *control, *classes}
    assert facts["num_samples"] == 8
    assert facts["chance"]["offset/exact"] == pytest.approx(1 / 5)
    assert facts["chance"]["offset/error_s"] == pytest.approx(0.48)
    assert any(
        "2 clips of a sample, each in sync and shifted by 0.50 s" in n for n in facts["notes"]
    )


def test_numbers_are_the_same_for_any_batch_and_differ_with_the_seed(
    run: Path, shard_set: Path
) -> None:
    one = facts_of(evaluate(run, shard_set, "--windows", 2, "--json"))
    other = facts_of(evaluate(run, shard_set, "--windows", 2, "--json", "--batch-size", 3))
    assert one["metrics"] == pytest.approx(other["metrics"])
    assert facts_of(evaluate(run, shard_set, "--json", "--random"))["random"]


def test_the_table_and_what_is_kept(run: Path, shard_set: Path) -> None:
    done = evaluate(run, shard_set, "--windows", 1)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"sync: {run} after step 2 on {shard_set}, 8 samples")
    [row] = [line for line in lines if line.startswith("offset/error_s")]
    assert row.split()[2] == "0.48"
    shown = invoke("eval", run, "--show")
    assert "oracle" in shown.stdout


def test_runs_that_name_delays_are_asked_for_each(
    shard_set: Path, run: Path, tmp_path: Path
) -> None:
    done = fit(
        shard_set, tmp_path / "run", "sync.objective=offset",
        "sync.offsets.max_s=0.5", "sync.offsets.step_s=0.25", f"init={run}",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = facts_of(evaluate(tmp_path / "run", shard_set, "--windows", 1, "--json"))
    assert facts["chance"]["offset/exact"] == pytest.approx(1 / 5)
    assert any("named by the head, over 5 delays of up to 0.5 s" in n for n in facts["notes"])


def test_short_samples_are_left_out_and_counted(shard_set: Path, run: Path, tmp_path: Path) -> None:
    long = ("sync.view.clip_frames=40", "sync.view.min_shift_s=0.9")
    done = fit(shard_set, tmp_path / "run", *long)
    assert done.exit_code == 0, done.output
    assert "left out: 8 of 16 samples" in done.output
    more = ("--split", "train", "--windows", 1, "--json")
    facts = facts_of(evaluate(tmp_path / "run", shard_set, *more))
    assert facts["num_samples"] == 8
    assert facts["notes"][0].startswith("left out: 8 of 16 samples")
    assert "8 samples have no room for delays of 0.8 s on both sides" in " ".join(facts["notes"])
    assert facts["chance"]["offset/exact"] > 1 / 5
    done = fit(shard_set, tmp_path / "none", "sync.view.clip_frames=200")
    assert done.exit_code == 2
    assert "16 of 16 samples" in done.output
    assert "lower sync.view.clip_frames=200" in done.output
    assert not (tmp_path / "none").exists()


def test_one_source_has_no_control(run: Path, make_shard_set: MakeShardSet) -> None:
    alone = make_shard_set(num_clips=1, num_splits=0)
    facts = facts_of(evaluate(run, alone, "--windows", 1, "--json"))
    assert "unrelated/accuracy" not in facts["metrics"]
    assert any("no control with unrelated sound" in note for note in facts["notes"])


def test_what_does_not_fit_is_said(
    run: Path, shard_set: Path, make_shard_set: MakeShardSet, tmp_path: Path
) -> None:
    done = evaluate(run, make_shard_set(num_clips=4, sample_rate_hz=16000))
    assert done.exit_code == 2
    assert "has sound at 16000 Hz, the run was trained on 24000 Hz" in done.output
    done = evaluate(run, make_shard_set(fields=("frames", "logmel")))
    assert done.exit_code == 2
    assert "method 'sync' needs fields {audio, frames}" in done.output
    done = invoke("eval", run, shard_set, "--task", "retrieval", "--device", "cpu")
    assert done.exit_code == 2
    assert "this evaluation takes a video and an audio network, Sync has none" in done.output
    avid = fit(
        shard_set, tmp_path / "avid", "avid.model=tiny", "avid.criterion.num_negatives=8",
        "avid.video.crop_px=32", method="avid",
    )  # fmt: skip
    assert avid.exit_code == 0, avid.output
    done = evaluate(tmp_path / "avid", shard_set)
    assert done.exit_code == 2
    assert "task sync needs a run of method sync, this is one of AVID" in done.output
