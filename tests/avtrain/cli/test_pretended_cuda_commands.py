"""`fit`, `eval`, `embed`, `gallery` on a pretended CUDA device give what they give on the CPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pretend_cuda import PretendCuda
from pyarrow import parquet

from avtrain.cli import main

MakeShardSet = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("one_torch_thread", "pretended_cuda")

COMMON = (
    "data.split=train",
    "data.loader_threads=1",
    "schedule.max_steps=3",
    "log.every_steps=2",
    "log.tensorboard=false",
    "compute.precision=float32",
)
FUSED = "{width=4, blocks_per_stage=1, norm_decay=0.9, sound_strides=[8,4,4,4,2]}"
METHODS = {
    "avid": (
        *("data.batch_size=6", "avid.model=tiny", "avid.criterion.num_negatives=8"),
        *("avid.video.crop_px=32", "avid.audio.frame_rate_hz=50"),
    ),
    "sync": (
        *("data.batch_size=6", f"sync.model={FUSED}", "sync.view.clip_frames=16"),
        *("sync.view.fps=16", "sync.view.min_shift_s=0.5"),
        *("sync.view.short_side_px=36", "sync.view.crop_px=32"),
    ),
    "separation": (
        *("data.batch_size=4", f"separation.model={FUSED}", "separation.view.clip_frames=16"),
        *("separation.view.fps=16", "separation.view.short_side_px=64"),
        *("separation.view.crop_px=32", "separation.unet.width=4", "separation.unet.num_levels=5"),
        *("separation.spectrogram.window_samples=128", "separation.spectrogram.hop_samples=64"),
        *("separation.spectrogram.fft_samples=128", "separation.spectrogram.num_frames=112"),
    ),
}
TASKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "retrieval knn probe fewshot svm": ("avid", ("fewshot.shots=[1]",)),
    "linear": ("avid", ("linear.epochs=1", "linear.test_clips=2")),
    "finetune": (
        "avid",
        (
            *("finetune.head_epochs=1", "finetune.epochs=1", "finetune.clips_per_sample=1"),
            *("finetune.test_clips=2", "finetune.single_test_clips=2", "finetune.clip_frames=4"),
        ),
    ),
    "sync": ("sync", ("sync.offsets.max_s=0.8", "sync.offsets.step_s=0.4")),
    "localization": ("sync", ()),
    "separation": ("separation", ()),
}
"""Method and settings of each call."""
NEARLY = {"linear": 0.2, "finetune": 0.2, "probe": 0.2, "svm": 0.2, "separation": 0.01}
"""Trained again: shares of a few clips; in decibels."""


def answers(*arguments: object) -> list[Any]:
    """What a command with --json says, a line each."""
    done = CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def answer(*arguments: object) -> Any:
    return answers(*arguments)[-1]


@pytest.fixture(scope="module")
def sets(make_shard_set: MakeShardSet) -> dict[str, Path]:
    few = make_shard_set(
        num_clips=12, fields=("frames", "audio"), sample_rate_hz=8000, durations_s=(2.0,)
    )
    return {"avid": make_shard_set(), "sync": make_shard_set(), "separation": few}


def fit(shards: Path, out: Path, method: str, device: str, *settings: str) -> Any:
    texts = [word for text in (*COMMON, *METHODS[method], *settings) for word in ("--set", text)]
    named = ("--method", method, "--out", out, "--device", device)
    return answer("fit", shards, *named, "--json", *texts)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_that_of_the_cpu_and_goes_on(
    method: str, sets: dict[str, Path], tmp_path: Path, pretended_cuda: PretendCuda
) -> None:
    name = method.replace("-", "_")
    view = "video" if method == "avid" else "view"
    same = f"{name}.{view}.crop_on=loader"  # the device's own crops are in float16
    found = {
        device: fit(sets[method], tmp_path / device, method, device, same)
        for device in ("cpu", "cuda")
    }
    assert pretended_cuda.storages
    assert found["cuda"]["loss"] == pytest.approx(found["cpu"]["loss"], rel=1e-5)
    fit(sets[method], tmp_path / "parts", method, "cuda", same, "checkpoint.every_steps=1")
    kept = sorted((tmp_path / "parts" / "checkpoints").iterdir())
    shutil.rmtree(kept[-1])
    run = ("--out", tmp_path / "parts", "--resume", "--device", "cuda", "--json")
    done = answer("fit", sets[method], *run)
    assert done["loss"] == pytest.approx(found["cpu"]["loss"], rel=1e-5)


@pytest.fixture(scope="module")
def runs(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method, made on the CPU."""
    folder = tmp_path_factory.mktemp("runs")
    for method in METHODS:
        fit(sets[method], folder / method, method, "cpu")
    return {method: folder / method for method in METHODS}


@pytest.mark.parametrize("tasks", TASKS)
def test_a_task_has_the_numbers_of_the_cpu(
    tasks: str,
    runs: dict[str, Path],
    sets: dict[str, Path],
    tmp_path: Path,
    pretended_cuda: PretendCuda,
) -> None:
    method, settings = TASKS[tasks]
    words = [word for task in tasks.split() for word in ("--task", task)]
    words += [word for text in settings for word in ("--set", text)]
    if tasks == "localization":
        boxes = tmp_path / "boxes.csv"
        rows = [f"clip-{i:03d},0.1,0.1,0.6,0.7" for i in range(24)]
        boxes.write_text("\n".join(["key,x0,y0,x1,y1", *rows]))
        words += ["--boxes", str(boxes)]
    common = ("eval", runs[method], sets[method], "--no-cache", "--json", *words)
    both = [answers(*common, "--device", device) for device in ("cpu", "cuda")]
    assert pretended_cuda.storages
    assert [one["task"] for one in both[0]] == tasks.split()
    for one, other in zip(*both, strict=True):
        near = pytest.approx(
            other["metrics"], rel=1e-3, abs=NEARLY.get(one["task"], 1e-3), nan_ok=True
        )
        assert one["metrics"] == near


def test_embeddings_and_galleries(
    runs: dict[str, Path], sets: dict[str, Path], tmp_path: Path, pretended_cuda: PretendCuda
) -> None:
    tables = []
    for device in ("cpu", "cuda"):
        out = tmp_path / f"{device}.parquet"
        answer("embed", runs["avid"], sets["avid"], "-o", out, "--device", device, "--json")
        tables.append(parquet.read_table(out).to_pylist())
    assert pretended_cuda.storages
    for one, other in zip(*tables, strict=True):
        assert one["key"] == other["key"]
        vectors = [name for name, value in one.items() if isinstance(value, list) and value]
        assert vectors
        for name in vectors:
            if isinstance(one[name][0], float):
                assert one[name] == pytest.approx(other[name], abs=1e-3)
    for method in ("avid", "sync"):
        page = ("--out", tmp_path / f"{method}.html", "--per-class", 1, "--device", "cuda")
        made = answer("gallery", runs[method], sets[method], *page, "--json")
        assert made["num_videos"] == 8
