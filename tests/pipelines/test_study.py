"""The learning study: its table by known numbers, its runs by their settings, all of it once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from claim_table import ClaimRow, Comparison, Threshold, claim_rows, markdown_table, verdict
from claims import CLAIMS
from planned_runs import PLANNED_RUNS, recipe_settings, runs_of_parts
from run import SCENES

from avdata import build_settings
from avdata.synthetic.config import SceneConfig
from avtrain.engine.config import FitConfig

STUDY = Path(__file__).resolve().parents[2] / "pipelines" / "study"


def numbers(video: float, audio: float = 0.5) -> dict[str, float]:
    return {"probe/video": video, "probe/audio": audio}


@pytest.mark.parametrize(
    ("gains", "text"),
    [
        ([0.1, 0.2, 0.3], "yes (3 of 3 seeds)"),
        ([0.5, -0.1, 0.1], "on average (2 of 3 seeds)"),
        ([0.1, -0.5, 0.1], "no (2 of 3 seeds)"),
        ([0.0], "no (0 of 1 seeds)"),
        ([-0.1, -0.2], "no (0 of 2 seeds)"),
    ],
)
def test_a_claim_holds_where_all_seeds_say_so(gains: list[float], text: str) -> None:
    assert verdict(gains) == text


def test_rows_pair_runs_by_seed_and_show_mean_and_deviation() -> None:
    results = {
        ("cross", 0): numbers(0.6),
        ("cross", 1): numbers(0.8),
        ("joint", 0): numbers(0.5, 0.7),
        ("joint", 1): numbers(0.4, 0.7),
        ("joint", 2): numbers(0.0),  # its pair is not there yet
    }
    rows = claim_rows(results, CLAIMS, "a")
    assert [row.measure for row in rows] == ["probe/video", "probe/audio"]
    assert rows[0].numbers == ("cross 70.0 % ± 14.1 %, joint 45.0 % ± 7.1 %; gain +25.0 ± 21.2")
    assert rows[0].holds == "yes (2 of 2 seeds)"
    assert rows[1].holds == "no (0 of 2 seeds)"
    assert claim_rows(results, CLAIMS, "b") == []


def test_thresholds_are_values_or_other_numbers_of_the_run() -> None:
    results = {
        ("weighted-swapped", 0): {
            "detection/similarity_auc": 0.9,
            "detection/weight_auc": 0.7,
            **numbers(0.5),
        },
        ("soft-twins", 0): {"twins/share": 0.2, "twins/chance_share": 0.001, **numbers(0.5)},
    }
    rows = {row.measure: row for row in claim_rows(results, CLAIMS, "cd")}
    assert rows["detection/similarity_auc"].numbers == "0.900, wanted above 0.8"
    assert rows["detection/similarity_auc"].holds == "yes (1 of 1 seeds)"
    assert rows["detection/weight_auc"].holds == "no (0 of 1 seeds)"
    assert rows["twins/share"].numbers == "0.200, chance 0.00100"


def test_the_table_names_each_claim_once() -> None:
    row = {"part": "a", "claim": "C", "paper": "P", "numbers": "1", "holds": "yes"}
    table = markdown_table(
        [ClaimRow(measure="m1", **row), ClaimRow(measure="m2|chance", **row)]
    ).splitlines()
    assert table[2:] == ["| a | C (P) | m1 | 1 | yes |", "|  |  | m2\\|chance | 1 | yes |"]


def test_claims_compare_runs_that_are_planned_and_differ_in_one_thing() -> None:
    runs = {run.name: run for run in PLANNED_RUNS}
    for claim in CLAIMS:
        names = [claim.run] if isinstance(claim, Threshold) else [claim.better, claim.worse]
        assert all(claim.part in runs[name].part for name in names)
        if isinstance(claim, Comparison):
            better, worse = (runs[name] for name in names)
            assert (better.shards, better.init) == (worse.shards, worse.init)


@pytest.mark.parametrize("planned", PLANNED_RUNS, ids=lambda planned: planned.name)
def test_settings_of_every_run_are_valid_and_all_methods_see_the_same(planned) -> None:
    settings = (*recipe_settings(planned.method), f'method="{planned.method}"', *planned.settings)
    config = build_settings(FitConfig, {}, settings)
    method = config.method_config
    reference = build_settings(FitConfig, {}, recipe_settings("avid")).avid
    assert (method.model, method.video, method.audio) == (
        reference.model,
        reference.video,
        reference.audio,
    )
    assert method.criterion.momentum == reference.criterion.momentum
    assert method.criterion.num_negatives == reference.criterion.num_negatives
    assert planned.init is None or planned.init in {run.name for run in PLANNED_RUNS}


def test_runs_come_after_those_that_they_start_from() -> None:
    for parts in ("b", "abcde"):
        names = [run.name for run in runs_of_parts(parts)]
        for run in runs_of_parts(parts):
            assert run.init is None or names.index(run.init) < names.index(run.name)
    assert {run.name for run in runs_of_parts("c")} == {"xid-swapped", "weighted-swapped"}


def test_scenes_are_valid() -> None:
    scene = build_settings(SceneConfig, {"duration_s": 3, "size_px": 64}, SCENES)
    assert (scene.num_classes, scene.max_objects) == (12, 1)


def study(out: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(STUDY / "run.py"), "--out", str(out), *words],
        env={**os.environ, "PYTHONPATH": str(STUDY.parents[1])},
        capture_output=True,
        text=True,
        timeout=170,
    )


def test_the_study_from_nothing_to_its_table_and_again(tmp_path: Path) -> None:
    words = ["--clips", "48", "--seeds", "1", "--jobs", "1", "--device", "cpu"]
    first = study(tmp_path, *words, "--steps", "2", "--parts", "c")
    assert first.returncode == 0, first.stderr
    assert "2/2 weighted-swapped, seed 0" in first.stderr
    table = (tmp_path / "study.md").read_text()
    assert "48 clips, 2 steps a run" in table
    assert "| c | weights tell swapped sounds (AUC of 1 - w) (Robust-xID) |" in table
    report = json.loads((tmp_path / "study.json").read_text())
    assert report["runs"].keys() == {"xid-swapped-0", "weighted-swapped-0"}
    assert 0 <= report["runs"]["weighted-swapped-0"]["numbers"]["detection/weight_auc"] <= 1
    assert (tmp_path / "runs" / "xid-swapped-0" / "run.json").exists()
    before = (tmp_path / "results" / "xid-swapped-0.json").stat().st_mtime_ns
    again = study(tmp_path, *words, "--parts", "c")
    assert again.returncode == 0, again.stderr
    assert "seed 0" not in again.stderr  # nothing was trained
    assert (tmp_path / "study.md").read_text() == table
    assert (tmp_path / "results" / "xid-swapped-0.json").stat().st_mtime_ns == before
    other = study(tmp_path, *words, "--steps", "3")
    assert other.returncode == 2
    assert "holds a study of 48 clips and 2 steps a run" in other.stderr


def test_wrong_letters(tmp_path: Path) -> None:
    done = study(tmp_path, "--parts", "ax")
    assert done.returncode == 2
    assert "there is no x, but abcde" in done.stderr
