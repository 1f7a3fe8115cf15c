"""`avtrain eval` on a tiny run: every task, and one message for each wrong input."""

import json
from collections.abc import Callable
from pathlib import Path

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


@pytest.mark.parametrize("encoder", ["video", "audio"])
@pytest.mark.parametrize("task", ["knn", "linear"])
def test_classification(run: Path, shard_set: Path, task: str, encoder: str) -> None:
    done = evaluate(run, shard_set, task, "--encoder", encoder, "--windows", 2, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["task"] == task
    assert facts["num_samples"] == 8
    assert facts["metrics"].keys() == facts["chance"].keys() == {"top1", "top5"}
    assert facts["metrics"]["top5"] == 1
    assert facts["chance"]["top1"] == 0.25


def test_retrieval_is_in_both_directions_with_chance_beside(run: Path, shard_set: Path) -> None:
    done = evaluate(run, shard_set, "retrieval", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    names = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank")
    assert facts["metrics"].keys() == {
        f"{direction}/{name}"
        for direction in ("video_to_audio", "audio_to_video")
        for name in names
    }
    assert facts["chance"]["video_to_audio/recall_at_1"] == 1 / 8
    assert facts["chance"]["audio_to_video/median_rank"] == 4.5
    assert facts["num_samples"] == 8


def test_the_split_and_the_batches_are_free(run: Path, shard_set: Path) -> None:
    one = evaluate(run, shard_set, "retrieval", "--split", "train", "--json")
    other = evaluate(run, shard_set, "retrieval", "--split", "train", "--batch-size", 5, "--json")
    assert json.loads(one.stdout)["num_samples"] == 16
    assert json.loads(one.stdout) == json.loads(other.stdout)


def test_sets_without_splits_are_measured_whole(run: Path, make_shard_set: MakeShardSet) -> None:
    shards = make_shard_set(num_clips=5, num_splits=0)
    done = evaluate(run, shards, "retrieval", "--json")
    assert json.loads(done.stdout)["num_samples"] == 5


def test_the_table_has_chance_beside_each_number(run: Path, shard_set: Path) -> None:
    done = evaluate(run, shard_set, "retrieval")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("retrieval: ")
    assert lines[1].split() == ["result", "chance"]
    assert len(lines) == 10
    assert lines[2].split()[2] == "12.5%"


def refused(done: Result, *parts: str) -> None:
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("avtrain: error: ")
    for part in parts:
        assert part in done.stderr


def test_what_is_not_a_run(shard_set: Path, tmp_path: Path) -> None:
    refused(evaluate(tmp_path, shard_set, "knn"), "is not a run", "`avtrain fit --out`")
    refused(evaluate(tmp_path / "none", shard_set, "knn"), "is not a folder")


def test_a_run_without_a_checkpoint(run: Path, shard_set: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text((run / "run.json").read_text())
    refused(evaluate(tmp_path, shard_set, "knn"), "has no checkpoint yet", "--resume")


def test_sets_that_do_not_fit(
    run: Path, shard_set: Path, make_shard_set: MakeShardSet, tmp_path: Path
) -> None:
    refused(evaluate(run, tmp_path, "knn"), "has no dataset.json")
    refused(evaluate(run, shard_set, "knn", "--split", "dev"), "no samples of split 'dev'")
    refused(evaluate(run, shard_set, "knn", "--split", "train"), "are both 'train'")
    unlabeled = make_shard_set(num_clips=6, num_labels=0)
    refused(evaluate(run, unlabeled, "linear"), "have no labels", "--task retrieval")
    whole = make_shard_set(num_clips=5, num_splits=0)
    refused(evaluate(run, whole, "linear"), "no samples of split 'train': it has no splits")
    frames = make_shard_set(num_clips=2, fields=("frames",))
    refused(evaluate(run, frames, "retrieval"), "needs fields {frames, logmel}")
    other = make_shard_set(num_clips=2, sample_rate_hz=16000)
    refused(evaluate(run, other, "retrieval"), "audio.frame_rate_hz=50 must divide")
