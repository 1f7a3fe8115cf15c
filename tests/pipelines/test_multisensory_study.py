"""The study of the multisensory network: its runs by their settings, a small one to its table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from claim_table import Comparison
from multisensory_claims import CLAIMS
from multisensory_runs import PLANNED_RUNS, runs_of_parts
from multisensory_sets import SCENES, SPEECH_BUILDS, GivenData, make_set

from avdata import ShardSet, build_settings, read_recipe
from avtrain.engine.config import FitConfig

STUDY = Path(__file__).resolve().parents[2] / "pipelines" / "study"


def test_claims_are_of_runs_that_are_planned_and_measured() -> None:
    runs = {run.name: run for run in PLANNED_RUNS}
    for claim in CLAIMS:
        if isinstance(claim, Comparison):
            names, measures = (claim.better, claim.worse), claim.measures
        else:
            names, measures = (claim.run,), (claim.measure,)
        for name in names:
            assert claim.part in runs[name].part
            tasks = {measured.task for measured in runs[name].measured}
            assert {measure.partition("/")[0] for measure in measures} <= tasks


@pytest.mark.parametrize("planned", PLANNED_RUNS, ids=lambda planned: planned.name)
def test_settings_of_every_run_are_valid(planned) -> None:
    config = build_settings(FitConfig, read_recipe(planned.recipe, "fit"), planned.settings)
    assert config.method in ("sync", "separation")
    names = [run.name for run in runs_of_parts(planned.part)]
    assert planned.run_of is None or names.index(planned.run_of) < names.index(planned.name)
    assert planned.shards in {**SPEECH_BUILDS, **SCENES}


def study(out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(STUDY / "multisensory.py"), "--out", str(out), *words],
        env={**os.environ, "PYTHONPATH": str(STUDY.parents[1])},
        capture_output=True,
        text=True,
        timeout=170,
    )


def test_sounds_are_split_by_their_folds(tmp_path: Path) -> None:
    given = GivenData(grid=None, sounds=tmp_path)
    with pytest.raises(click.UsageError, match=r"has no labels\.csv"):
        make_set(tmp_path / "out", "sounds", given, clips=None)
    tone = np.sin(np.arange(8000) / 3).astype(np.float32)
    rows = ["file,fold,category"]
    for index in range(4):
        soundfile.write(tmp_path / f"{index}.wav", tone * (index + 1) / 5, 8000)
        rows.append(f"{index}.wav,{index // 2 + 1},tone")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    make_set(tmp_path / "out", "sounds", given, clips=None)
    shards = ShardSet(tmp_path / "out" / "sets" / "sounds")
    assert shards.manifest["split"].to_pylist() == ["test", "test", "train", "train"]
    assert set(shards.spec.fields) == {"audio"}


def test_the_study_from_nothing_to_its_table_and_again(tmp_path: Path) -> None:
    words = ["--clips", "24", "--steps", "1", "--seeds", "1", "--jobs", "1", "--device", "cpu"]
    first = study(tmp_path, *words, "--parts", "a")
    assert first.returncode == 0, first.stderr
    assert "1/1 sync, seed 0" in first.stderr
    table = (tmp_path / "study.md").read_text()
    assert "| a | the map's peak lies on the object that strikes (goal) |" in table
    numbers = json.loads((tmp_path / "study.json").read_text())["runs"]["sync-0"]["numbers"]
    assert 0 <= numbers["sync/accuracy"] <= 1
    assert 0 < numbers["localization/pointing/silent|chance"] < 1
    again = study(tmp_path, *words, "--parts", "a")
    assert again.returncode == 0, again.stderr
    assert "seed 0" not in again.stderr  # nothing was trained
    assert (tmp_path / "study.md").read_text() == table
    other = study(tmp_path, "--clips", "30", "--parts", "a")
    assert other.returncode == 2
    assert "holds a study of {'steps': 1, 'clips': 24}" in other.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--parts", "ax"), "no x, but abcdef"),
        (("--parts", "b"), "needs --grid TRAIN TEST"),
        (("--parts", "f", "--grid", ".", "."), "need --sounds FOLDER"),
    ],
)
def test_wrong_parts(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = study(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
