"""`avtrain eval` on a tiny run: every task, what is kept, one message for each wrong input."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from avtrain.cli import main

MakeShardSet = Callable[..., Path]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


@pytest.fixture(scope="module")
def run(shard_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = (
        "data.batch_size=6",
        "avid.model=tiny",
        "avid.criterion.num_negatives=8",
        "avid.video.crop_px=32",
        "avid.audio.frame_rate_hz=50",
        "schedule.max_steps=2",
    )
    sets = [part for text in settings for part in ("--set", text)]
    done = invoke("fit", shard_set, "--out", out, "--device", "cpu", *sets)
    assert done.exit_code == 0, done.output
    return out


def evaluate(run: Path, shards: Path, task: str, *more: object) -> Result:
    return invoke("eval", run, shards, "--task", task, "--device", "cpu", *more)


def facts_of(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def seen(pooled: Path) -> dict[str, int]:
    """When each file of features was written."""
    return {path.name: path.stat().st_mtime_ns for path in pooled.rglob("*.safetensors")}


def test_pooled_features_are_computed_once(run: Path, shard_set: Path) -> None:
    tasks = ("--task", "probe", "--task", "fewshot", "--set", "fewshot.shots=[1,3]", "--json")
    first = evaluate(run, shard_set, "knn", *tasks, "--windows", 2)
    knn, probe, fewshot = (json.loads(line) for line in first.stdout.splitlines())
    assert knn["metrics"].keys() == knn["chance"].keys() == {"top1", "top5"}
    assert (knn["num_samples"], knn["metrics"]["top5"], knn["chance"]["top1"]) == (8, 1, 0.25)
    layers = ("conv2x", "conv3x", "conv4x", "conv5x", "pool", "best")
    assert probe["metrics"].keys() == {f"{n}/top{k}" for n in layers for k in (1, 5)}
    best = max(probe["metrics"][f"{layer}/top1"] for layer in layers[:-1])
    assert probe["metrics"]["best/top1"] == best
    assert fewshot["chance"] == {"1-shot/top1": 0.25, "3-shot/top1": 0.25}
    times = seen(run / "features")
    assert len(times) == 1
    again = evaluate(run, shard_set, "knn", *tasks, "--windows", 2)
    repeated = [json.loads(line)["metrics"] for line in again.stdout.splitlines()]
    assert repeated == [knn["metrics"], probe["metrics"], fewshot["metrics"]]
    assert seen(run / "features") == times

    without = facts_of(evaluate(run, shard_set, "knn", "--windows", 2, "--no-cache", "--json"))
    assert without["metrics"] == knn["metrics"]
    assert seen(run / "features") == times
    evaluate(run, shard_set, "knn", "--windows", 1)  # other windows, and other weights
    evaluate(run, shard_set, "knn", "--windows", 2, "--random")
    assert len(seen(run / "features")) == 3


def test_retrieval_is_across_and_within_modalities(run: Path, shard_set: Path) -> None:
    facts = facts_of(evaluate(run, shard_set, "retrieval", "--json"))
    across = [f"recall_at_{k}" for k in (1, 5, 10)] + ["median_rank"]
    within = [f"recall_at_{k}" for k in (1, 5, 10, 20)]
    assert facts["metrics"].keys() == {
        *(f"{way}/{name}" for way in ("video_to_audio", "audio_to_video") for name in across),
        *(f"{way}/{name}" for way in ("video_to_video", "audio_to_audio") for name in within),
    }
    assert facts["chance"]["video_to_audio/recall_at_1"] == 1 / 8
    assert facts["chance"]["audio_to_video/median_rank"] == 4.5
    # 16 training samples, 4 of each class
    assert facts["chance"]["video_to_video/recall_at_1"] == pytest.approx(1 / 4)
    assert facts["num_samples"] == 8


def test_the_split_and_the_batches_are_free(run: Path, shard_set: Path) -> None:
    more = ("--split", "train", "--json", "--no-cache")
    one = facts_of(evaluate(run, shard_set, "retrieval", *more))
    other = facts_of(evaluate(run, shard_set, "retrieval", *more, "--batch-size", 5))
    assert one["num_samples"] == 16
    assert one["metrics"] == other["metrics"]
    assert not any(name.startswith("video_to_video") for name in one["metrics"])
    assert "none within a modality: --split and --train-split are both" in one["notes"][0]


def test_sets_without_splits_are_measured_whole(run: Path, make_shard_set: MakeShardSet) -> None:
    shards = make_shard_set(num_clips=5, num_splits=0)
    assert facts_of(evaluate(run, shards, "retrieval", "--json"))["num_samples"] == 5


def test_the_table_has_chance_beside_each_number(run: Path, shard_set: Path) -> None:
    done = evaluate(run, shard_set, "retrieval")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("retrieval: ")
    assert lines[1].split() == ["result", "chance"]
    assert len(lines) == 18
    assert lines[2].split()[2] == "12.5%"


def test_linear_heads(run: Path, shard_set: Path) -> None:
    short = ("--set", "linear.epochs=1", "--set", "linear.test_clips=2", "--json")
    facts = facts_of(evaluate(run, shard_set, "linear", "--encoder", "audio", *short))
    layers = ("conv2x", "conv3x", "conv4x", "conv5x", "best")
    assert facts["metrics"].keys() == {f"{n}/top{k}" for n in layers for k in (1, 5)}
    assert facts["encoder"] == "audio"


def test_finetuning_over_folds_and_over_sets(run: Path, shard_set: Path) -> None:
    settings = ("head_epochs=1", "epochs=1", "clips_per_sample=1", "test_clips=2", "clip_frames=4")
    sets = [part for text in settings for part in ("--set", f"finetune.{text}")]
    short = (*sets, "--set", "finetune.single_test_clips=2", "--json")
    folds = facts_of(evaluate(run, shard_set, "finetune", "--folds", "train,test", *short))
    assert folds["folds"].keys() == {"train", "test"}
    assert folds["num_samples"] == 24
    mean = sum(fold["top1"] for fold in folds["folds"].values()) / 2
    assert folds["metrics"]["top1"] == pytest.approx(mean)
    assert folds["metrics"].keys() == {"top1", "top5", "clip/top1", "clip/top5"}


def test_svm_of_a_set_without_frames(run: Path, make_shard_set: MakeShardSet) -> None:
    shards = make_shard_set(fields=("audio", "logmel"))
    short = ("--set", "svm.clips_per_sample=2", "--set", "svm.test_clips=2", "--json")
    facts = facts_of(evaluate(run, shards, "svm", *short))
    assert facts["encoder"] == "audio"
    assert facts["metrics"]["best/top5"] == 1
    [folder] = (run / "features").glob("grids-*")
    assert {path.name for path in folder.iterdir()} == {
        f"{part}-conv{k}x.npy" for part in ("train", "test") for k in (2, 3, 4, 5)
    }
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert facts_of(evaluate(run, shards, "svm", *short))["metrics"] == facts["metrics"]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    within = facts_of(evaluate(run, shards, "retrieval", "--json"))
    assert {name.partition("/")[0] for name in within["metrics"]} == {"audio_to_audio"}
    assert "has no field of the other modality" in within["notes"][0]


def test_svm_of_log_mel_alone_keeps_its_speed(
    run: Path, make_shard_set: MakeShardSet, caplog: pytest.LogCaptureFixture
) -> None:
    shards = make_shard_set(num_clips=6, num_labels=2, fields=("logmel",))
    # sources 0, 1 train and 3, 4 train; 2 and 5 are the test
    short = ("--set", "svm.clips_per_sample=1", "--set", "svm.test_clips=1", "--no-cache")
    done = evaluate(run, shards, "svm", *short)
    assert done.exit_code == 0, done.output
    assert "windows keep their speed" in caplog.text


def test_a_run_that_cannot_be_written_is_measured(
    run: Path, shard_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("features", "eval"))
    for name in ("features", "eval"):
        (copy / name).write_text("in the way")
    short = ("--set", "svm.clips_per_sample=1", "--set", "svm.test_clips=1")
    done = evaluate(copy, shard_set, "svm", "--task", "knn", "--encoder", "audio", *short)
    assert done.exit_code == 0, done.output
    assert "features cannot be kept in" in caplog.text
    assert "the result is not kept" in caplog.text


def test_results_are_kept_and_shown(run: Path, shard_set: Path, tmp_path: Path) -> None:
    for more in ((), ("--random",)):
        done = evaluate(run, shard_set, "knn", "--encoder", "audio", *more)
        assert done.exit_code == 0, done.output
    [path] = (run / "eval").glob("knn-audio-*-random-*.json")
    record = json.loads(path.read_text())
    assert record["random"] is True
    assert record["settings"]["neighbors"] == 20
    shown = invoke("eval", run, "--show")
    assert shown.exit_code == 0, shown.output
    head, *rows = shown.stdout.splitlines()
    assert head.split() == [
        "run", "step", "set", "task", "encoder", "metric", "result", "random", "chance", "n"
    ]  # fmt: skip
    [row] = [row.split() for row in rows if "knn" in row and "audio" in row and "top1" in row]
    assert (row[0], row[1], row[3:6], row[9]) == ("run", "2", ["knn", "audio", "top1"], "8")
    assert row[7] == f"{record['metrics']['top1']:.1%}"
    markdown = invoke("eval", run, "--show", "--markdown").stdout.splitlines()
    assert markdown[1].startswith("| ---")
    assert {line.count("|") for line in markdown} == {11}
    refused(invoke("eval", tmp_path, "--show"), "has no results", "--task knn")


def test_an_export_is_measured_as_its_run_is(run: Path, shard_set: Path, tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    done = invoke("export", run, "--out", exported)
    assert done.exit_code == 0, done.output
    for task in ("retrieval", "knn"):
        of_run = facts_of(evaluate(run, shard_set, task, "--json"))
        of_export = facts_of(evaluate(exported, shard_set, task, "--json"))
        assert of_export["metrics"] == of_run["metrics"]


def refused(done: Result, *parts: str) -> None:
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "rror: " in done.stderr
    for part in parts:
        assert part in done.stderr


def test_what_is_not_a_run(shard_set: Path, tmp_path: Path) -> None:
    refused(evaluate(tmp_path, shard_set, "knn"), "is not a run", "`avtrain fit --out`")
    refused(evaluate(tmp_path / "none", shard_set, "knn"), "is not a folder")
    refused(invoke("eval", tmp_path, shard_set), "at least one --task")
    refused(invoke("eval", tmp_path, "--task", "knn"), "give RUN, SHARDS")


def test_a_run_without_a_checkpoint(run: Path, shard_set: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text((run / "run.json").read_text())
    refused(evaluate(tmp_path, shard_set, "knn"), "has no checkpoint yet", "--resume")


def test_settings_that_are_not_there(run: Path, shard_set: Path) -> None:
    refused(evaluate(run, shard_set, "knn", "--set", "knn.k=3"), "knn.k: unknown setting")
    wrong = evaluate(run, shard_set, "finetune", "--set", "finetune.preset=ucf")
    refused(wrong, "finetune.preset='ucf' is unknown; there are ucf101-8f, ucf101-32f")
    wrong = evaluate(run, shard_set, "svm", "--set", "svm.preset=esc10")
    refused(wrong, "svm.preset='esc10' is unknown; there are esc50, dcase")


def test_sets_that_do_not_fit(
    run: Path, shard_set: Path, make_shard_set: MakeShardSet, tmp_path: Path
) -> None:
    refused(evaluate(run, tmp_path, "knn"), "has no dataset.json")
    refused(evaluate(run, shard_set, "knn", "--split", "dev"), "no samples of split 'dev'")
    refused(evaluate(run, shard_set, "knn", "--split", "train"), "are both 'train'")
    wrong = evaluate(run, shard_set, "knn", "--folds", "fold1,test")
    refused(wrong, "no samples of split 'fold1': its splits are ['test', 'train']")
    wrong = evaluate(run, shard_set, "knn", "--folds", "test")
    refused(wrong, "--folds test must name at least 2 splits", "['test', 'train']")
    unlabeled = make_shard_set(num_clips=6, num_labels=0)
    refused(evaluate(run, unlabeled, "probe"), "have no labels", "--task retrieval")
    one = make_shard_set(num_clips=6, num_labels=1)
    refused(evaluate(run, one, "knn"), "are ['label0']; a classifier needs at least 2")
    refused(
        evaluate(run, shard_set, "knn", "--where", "label != 'label1' or split == 'test'"),
        "labels ['label1'] of split 'test'",
    )
    refused(
        evaluate(run, shard_set, "fewshot", "--set", "fewshot.shots=[20]"),
        "fewshot.shots=[20] needs as many", "set fewshot.shots=[4]",
    )  # fmt: skip
    whole = make_shard_set(num_clips=5, num_splits=0)
    refused(evaluate(run, whole, "probe"), "no samples of split 'train': it has no splits")


def test_sets_whose_fields_do_not_fit(run: Path, make_shard_set: MakeShardSet) -> None:
    frames = make_shard_set(num_clips=6, num_labels=2, fields=("frames",))
    wrong = evaluate(run, frames, "knn", "--encoder", "audio")
    refused(wrong, "the audio network of this run needs field logmel or audio", "{frames}")
    sound = make_shard_set(num_clips=6, num_labels=2, fields=("audio", "logmel"))
    refused(evaluate(run, sound, "knn", "--encoder", "video"), "needs field frames")
    other = make_shard_set(num_clips=6, num_labels=2, sample_rate_hz=16000)
    refused(evaluate(run, other, "retrieval"), "audio.frame_rate_hz=50 must divide")
    other = make_shard_set(num_clips=6, num_labels=2, sample_rate_hz=16000, fields=("audio",))
    refused(evaluate(run, other, "knn"), "sound at 16000 Hz", "--set audio.sample_rate_hz=24000")
