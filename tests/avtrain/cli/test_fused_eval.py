"""`eval --task finetune, knn, probe, fewshot` of a sync run, with right and wrong input."""

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
    "schedule.max_steps=1",
    "log.tensorboard=false",
    "sync.model={width=4, blocks_per_stage=1, norm_decay=0.9, sound_strides=[8,4,4,4,2]}",
    "sync.view.clip_frames=8",
    "sync.view.fps=16",
    "sync.view.min_shift_s=0.5",
    "sync.view.short_side_px=36",
    "sync.view.crop_px=32",
)
TINY = (
    "finetune.preset=multisensory-tiny",
    "finetune.epochs=1",
    "finetune.milestones=[]",
    "finetune.test_clips=2",
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def sets(*settings: str) -> list[str]:
    return [part for text in settings for part in ("--set", text)]


def evaluate(run: Path, shards: Path, *more: object) -> Result:
    return invoke("eval", run, shards, "--device", "cpu", "--windows", 2, *more)


def facts_of(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


@pytest.fixture(scope="module")
def run(shard_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    done = invoke(
        "fit", shard_set, "--method", "sync", "--out", out, "--device", "cpu", *sets(*SETTINGS)
    )
    assert done.exit_code == 0, done.output
    return out


def test_finetune_with_and_without_sound_and_from_new_weights(run: Path, shard_set: Path) -> None:
    heard = facts_of(evaluate(run, shard_set, "--task", "finetune", "--json", *sets(*TINY)))
    assert heard["metrics"].keys() == {"top1", "top5"}
    assert heard["chance"]["top1"] == pytest.approx(0.25)
    assert heard["encoder"] is None
    silent = sets(*TINY, "finetune.sound=false")
    seen = facts_of(evaluate(run, shard_set, "--task", "finetune", "--json", *silent))
    assert seen["encoder"] == "video"
    new = facts_of(
        evaluate(run, shard_set, "--task", "finetune", "--json", "--random", *sets(*TINY))
    )
    assert new["random"]
    # three questions, three results, with all that they were asked
    kept = [json.loads(path.read_text()) for path in sorted((run / "eval").glob("finetune*.json"))]
    asked = {(k["encoder"], k["random"]) for k in kept}
    assert len(kept) == 3 and asked == {(None, True), (None, False), ("video", False)}
    assert {k["settings"]["sound_jitter_frames"] for k in kept} == {1.0}
    shown = invoke("eval", run, "--show").stdout
    assert "finetune  both" in shown and "finetune  video" in shown


def test_frozen_features(run: Path, shard_set: Path) -> None:
    tasks = ("--task", "knn", "--task", "probe", "--task", "fewshot")
    few = ("--set", "fewshot.shots=[2]")
    done = evaluate(run, shard_set, *tasks, *few, "--json")
    assert done.exit_code == 0, done.output
    knn, probe, fewshot = (json.loads(line) for line in done.stdout.splitlines()[-3:])
    assert knn["metrics"]["top1"] >= 0
    stages = {name.split("/")[0] for name in probe["metrics"]}
    assert stages == {"scale0", "scale1", "pool", "best"}
    assert "2-shot/top1" in fewshot["metrics"]
    seen = facts_of(evaluate(run, shard_set, "--task", "probe", "--set", "sound=false", "--json"))
    assert seen["encoder"] == "video"
    assert seen["metrics"]["scale0/top1"] == probe["metrics"]["scale0/top1"]


def test_what_does_not_fit_is_said(
    run: Path, shard_set: Path, make_shard_set: MakeShardSet, tmp_path: Path
) -> None:
    def refused(done: Result, text: str) -> None:
        assert done.exit_code == 2, done.output
        assert text in " ".join(done.output.split())

    knn = ("--task", "knn")
    refused(
        evaluate(run, make_shard_set(sample_rate_hz=16000), *knn),
        "has sound at 16000 Hz, the run was trained on 24000 Hz",
    )
    refused(
        evaluate(run, make_shard_set(fields=("frames", "logmel")), *knn),
        "method 'sync' needs fields {audio, frames}",
    )
    refused(
        evaluate(run, shard_set, *knn, "--encoder", "audio"),
        "a run of sync has one network, which sees and hears",
    )
    refused(
        evaluate(run, shard_set, "--task", "probe", "--set", 'probe.layers=["conv3x"]'),
        "probe.layers names ['conv3x'], this network has ['pool', 'scale0', 'scale1']; leave",
    )
    for task in ("linear", "svm", "retrieval"):
        refused(evaluate(run, shard_set, "--task", task), "evaluate a run of avid, cma or robust")
    avid = invoke(
        "fit", shard_set, "--method", "avid", "--out", tmp_path / "avid", "--device", "cpu",
        *sets("avid.model=tiny", "avid.criterion.num_negatives=8", "avid.video.crop_px=32",
              "schedule.max_steps=1", "data.batch_size=6", "log.tensorboard=false"),
    )  # fmt: skip
    assert avid.exit_code == 0, avid.output
    for setting in ("sound=false", "finetune.sound=false"):
        task = "finetune" if setting.startswith("finetune") else "knn"
        refused(
            evaluate(tmp_path / "avid", shard_set, "--task", task, "--set", setting),
            "sound=false is for runs of sync",
        )
