"""GRID: mouths, their listing and word probes, on real sentences."""

import csv
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from grid_words import main

from avdata.cli import main as avdata
from avtrain.cli import main as avtrain

RECIPE = Path(__file__).resolve().parents[2] / "pipelines" / "grid.toml"
DIGITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero")
"""By the last but one character of a sentence's name: 1 to 9, z."""
SMALL = ("avid.video.crop_px=16", "avid.video.clip_frames=2", "data.batch_size=4")


def invoke(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_mouths_and_probes(shared_data: Path, tmp_path: Path) -> None:
    sets, media = shared_data / "sets", tmp_path / "media"
    invoke("prepare", sets / "grid_s1_train", sets / "grid_s1", "--out", media, "--limit", 20)
    rows = list(csv.reader((media / "listing.csv").open()))
    assert len(rows) == 1 + 20 + 20
    assert rows[1][1:] == [
        "s1_bbaf2n",
        "0.4",
        "2.6",
        "command=bin|colour=blue|preposition=at|letter=f|digit=two|adverb=now",
        "train",
    ]
    assert rows[-1][5] == "test"
    # a few sentences, and of each only the first of two words
    few = [r for c in ("bin", "lay") for r in [r for r in rows if f"command={c}" in r[4]][:6]]
    small = media / "small.csv"
    with small.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        for number, (path, name, start_s, end_s, labels, _) in enumerate(few):
            split = "test" if number % 6 < 2 else "train"
            writer.writerow([path, name, start_s, end_s, labels.split("|")[0], split])
    shards, run = tmp_path / "shards", tmp_path / "run"
    build = ["build", "--source", small, "--out", shards, "--recipe", RECIPE, "--workers", "0"]
    avdata([str(word) for word in build], standalone_mode=False)
    fit = ["fit", shards, "--recipe", RECIPE, "--out", run, "--set", "schedule.max_steps=2"]
    fit += [word for text in SMALL for word in ("--set", text)]
    avtrain([str(word) for word in fit], standalone_mode=False)
    said = invoke("probe", shards, run, "--out", tmp_path / "words.json", "--windows", 1)
    assert "video: command" in said
    results = json.loads((tmp_path / "words.json").read_text())
    assert [(r["modality"], r["position"]) for r in results] == [
        ("video", "command"),
        ("audio", "command"),
    ]
    assert all(r["words"] == 2 and r["num_held_out"] == 4 and r["num_folds"] == 12 for r in results)
    assert all(0 <= r["held_out"] <= 1 and r["chance"] == 0.5 for r in results)


def test_sentences_held_out_by_chance(shared_data: Path, tmp_path: Path) -> None:
    sets = shared_data / "sets"
    words = ("prepare", sets / "grid_s1_train", sets / "grid_s1", "--out", tmp_path, "--limit", 12)
    words += ("--whole", "--label", "digit", "--tested", 4)
    invoke(*words)
    listing = (tmp_path / "listing.csv").read_text()
    rows = list(csv.DictReader(listing.splitlines()))
    assert [row["split"] for row in rows] == ["train"] * 8 + ["test"] * (4 + 12)
    names = [row["id"] for row in rows]
    assert len(set(names)) == 24
    assert names[:12] != sorted(names[:12]) and names[12:] == sorted(names[12:])
    digits = dict(zip("123456789z", DIGITS, strict=True))
    assert all(row["labels"] == digits[row["id"][-2]] and row["start_s"] == "" for row in rows)
    invoke(*words)
    assert (tmp_path / "listing.csv").read_text() == listing
    done = CliRunner().invoke(main, [str(word) for word in (*words[:-1], 12)])
    assert done.exit_code == 2
    assert "leaves none of 12 to train on" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "has no labels.csv"), ("file,speaker\na,b\n", "columns .* are needed")],
)
def test_a_folder_that_is_not_of_grid(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    done = CliRunner().invoke(
        main, ["prepare", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "media")]
    )
    assert done.exit_code == 2
    assert re.search(said, done.output)
