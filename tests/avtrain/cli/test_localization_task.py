"""`eval --task localization` and `gallery` on tiny runs, with right and wrong input."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from avtrain.cli import main

MakeShardSet = Callable[..., Path]

SYNC = (
    "data.split=train",
    "data.batch_size=6",
    "schedule.max_steps=1",
    "log.tensorboard=false",
    "sync.model={width=4, blocks_per_stage=1, norm_decay=0.9, sound_strides=[8,4,4,4,2]}",
    "sync.view.clip_frames=16",
    "sync.view.fps=16",
    "sync.view.min_shift_s=0.5",
    "sync.view.short_side_px=72",
    "sync.view.crop_px=64",
)
PLACES = ("ciou", "auc", "adaptive/ciou", "adaptive/auc", "pointing")
STRENGTHS = tuple(
    f"{control}/{name}"
    for control in ("silent", "other", "shifted", "located")
    for name in ("ap", "max_f1")
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def fit(shards: Path, out: Path, method: str, settings: tuple[str, ...]) -> Path:
    sets = [part for text in settings for part in ("--set", text)]
    done = invoke("fit", shards, "--method", method, "--out", out, "--device", "cpu", *sets)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


@pytest.fixture(scope="module")
def sync_run(shard_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(shard_set, tmp_path_factory.mktemp("runs") / "sync", "sync", SYNC)


@pytest.fixture(scope="module")
def avid_run(
    shard_set: Path, tiny_run: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    settings = (*tiny_run, "schedule.max_steps=1", "avid.video.crop_px=64")
    return fit(shard_set, tmp_path_factory.mktemp("runs") / "avid", "avid", settings)


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.csv"
    rows = (f"clip-{i:03d},1.5,0.1,0.1,0.6,0.9" for i in range(24))
    path.write_text("key,time_s,x0,y0,x1,y1\n" + "\n".join(rows) + "\n")
    return path


def evaluate(run: Path, shards: Path, *more: object) -> Result:
    return invoke("eval", run, shards, "--task", "localization", "--device", "cpu", *more)


def facts_of(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def test_sync_runs_have_numbers_of_both_forms(sync_run: Path, shard_set: Path, boxes: Path) -> None:
    facts = facts_of(evaluate(sync_run, shard_set, "--boxes", boxes, "--json"))
    names = {*PLACES, *STRENGTHS}
    expected = names | {f"signed/{n}" for n in names} | {f"center/{n}" for n in PLACES}
    assert facts["metrics"].keys() == facts["chance"].keys() == expected
    assert facts["num_samples"] == 8
    assert facts["chance"]["pointing"] == pytest.approx(0.4, abs=0.01)
    assert facts["chance"]["silent/ap"] == 0.5
    shown = invoke("eval", sync_run, "--show")
    assert "adaptive/ciou" in shown.stdout
    record = json.loads(next((sync_run / "eval").glob("localization-*.json")).read_text())
    assert record["settings"]["boxes"] == str(boxes)


def test_avid_runs_and_their_exports_localize_too(
    avid_run: Path, shard_set: Path, boxes: Path, tmp_path: Path
) -> None:
    facts = facts_of(evaluate(avid_run, shard_set, "--boxes", boxes, "--json"))
    expected = {*PLACES, *STRENGTHS, *(f"center/{name}" for name in PLACES)}
    assert facts["metrics"].keys() == expected
    done = invoke("export", avid_run, "--out", tmp_path / "export")
    assert done.exit_code == 0, done.output
    exported = facts_of(evaluate(tmp_path / "export", shard_set, "--boxes", boxes, "--json"))
    assert exported["metrics"] == pytest.approx(facts["metrics"])
    table = evaluate(avid_run, shard_set, "--boxes", boxes)
    assert re.search(r"^pointing +\d+\.\d% +40\.\d%", table.stdout, re.MULTILINE)


def test_what_does_not_fit_is_said(
    sync_run: Path, avid_run: Path, shard_set: Path, boxes: Path, make_shard_set: MakeShardSet
) -> None:
    done = evaluate(sync_run, shard_set)
    assert done.exit_code == 2
    assert "needs boxes around what sounds: give --boxes FILE" in done.output
    done = evaluate(sync_run, make_shard_set(num_clips=4, sample_rate_hz=16000), "--boxes", boxes)
    assert done.exit_code == 2
    assert "has sound at 16000 Hz, the run was trained on 24000 Hz" in done.output
    done = evaluate(
        avid_run, make_shard_set(num_clips=4, fields=("frames", "audio")), "--boxes", boxes
    )
    assert done.exit_code == 2
    assert "has no log-mel made as in the training of this run" in done.output
    short = make_shard_set(num_clips=4, durations_s=(0.9,), num_splits=0)
    rows = "\n".join(f"clip-{i:03d},0.5,0.1,0.1,0.6,0.9" for i in range(4))
    boxes.write_text("key,time_s,x0,y0,x1,y1\n" + rows + "\n")
    done = evaluate(sync_run, short, "--boxes", boxes)
    assert done.exit_code == 2
    assert "none of 4 samples" in done.output
    assert "holds a clip of 1.00 s" in done.output


def gallery(run: Path, shards: Path, out: Path, *more: object) -> Result:
    return invoke("gallery", run, shards, "--out", out, "--device", "cpu", *more)


def test_a_gallery_has_the_strongest_of_each_class(
    avid_run: Path, shard_set: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    facts = facts_of(gallery(avid_run, shard_set, out, "--per-class", 1, "--json"))
    assert facts["out"] == str(out)
    assert facts["num_videos"] == 8
    names = [one["name"] for one in facts["classes"]]
    assert names == sorted(names)
    for one in facts["classes"]:
        assert one["num_videos"] <= 2
        [moment] = one["moments"]
        assert 0 <= moment["time_s"] <= 4
        assert 0 < moment["x"] < 1
    page = out.read_text()
    assert page.count('class="moment"') == len(names)
    everything = facts_of(gallery(avid_run, shard_set, out, "--json"))
    for one, whole in zip(facts["classes"], everything["classes"], strict=True):
        assert one["moments"][0]["strength"] == max(m["strength"] for m in whole["moments"])
        assert len(whole["moments"]) == whole["num_videos"]
    sync = gallery(avid_run, shard_set, out, "--split", "train", "--where", "key < 'clip-002'")
    assert sync.exit_code == 0, sync.output
    assert "of 2 videos" in sync.output


def test_galleries_that_cannot_be_are_refused(
    avid_run: Path,
    shard_set: Path,
    make_shard_set: MakeShardSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = gallery(avid_run, shard_set, tmp_path / "page.png")
    assert done.exit_code == 2
    assert "the name must end with .htm or .html" in done.output
    done = gallery(avid_run, shard_set, tmp_path / "none" / "page.html")
    assert done.exit_code == 2
    assert "there is no folder" in done.output
    out = tmp_path / "page.html"
    done = gallery(avid_run, shard_set, out, "--split", "dev")
    assert done.exit_code == 2
    assert "has no samples of split 'dev'" in done.output
    monkeypatch.setitem(sys.modules, "cv2", None)  # as where it is not installed
    done = gallery(avid_run, shard_set, out, "--no-faces")
    assert done.exit_code == 2
    assert "pip install 'avtoolkit[faces]'" in done.output
    assert not out.exists()


def test_silent_videos_have_no_moment(
    sync_run: Path, make_shard_set: MakeShardSet, tmp_path: Path
) -> None:
    silent = make_shard_set(num_clips=4, num_splits=0, silent_every=1)
    done = gallery(sync_run, silent, tmp_path / "page.html")
    assert done.exit_code == 2
    assert "none of 4 videos" in done.output
    assert "has a map that counts: they are silent, shorter than a clip of 1.00 s" in done.output
