"""`avdata inspect`: sets, shards, samples, pictures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from avdata.cli.entry import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def facts(*arguments: object) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_set_in_text(tiny_set: Path) -> None:
    result = run(tiny_set)
    assert result.exit_code == 0, result.output
    for text in (
        "3 clips, 3 rejected",
        "0.50 to 1.00 s, median 0.75",
        "4 fps, jpeg quality 85, flat, 32x16 (3)",
        "8000 Hz, mono, flac",
        "16 htk mels",
        "missing_file       2  line 4: no file for source 3",
        "cat       2",
    ):
        assert text in result.stdout


def test_set_in_json(tiny_set: Path) -> None:
    seen = facts(tiny_set)
    assert seen["num_clips"] == 3
    assert seen["total_duration_s"] == pytest.approx(2.25)
    assert seen["labels"] == {"cat": 2, "dog": 1}
    assert [(group["reason"], group["count"]) for group in seen["rejects"]] == [
        ("missing_file", 2),
        ("too_short", 1),
    ]
    assert seen["av_offset_s"]["median"] == pytest.approx(0.01)


def test_shard_and_shard_alone(tiny_set: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "some.tar"
    alone.parent.mkdir()
    shutil.copy(tiny_set / "shard-000000.tar", alone)
    for shard in (tiny_set / "shard-000000.tar", alone):
        seen = facts(shard)
        assert [sample["key"] for sample in seen["samples"]] == ["clip_0", "clip_1"]
        assert "clip_1" in run(shard).stdout
        assert facts(shard, "clip_1")["meta"]["source_index"] == 1
    assert facts(tiny_set / "shard-000000.tar", "clip_1")["row"]["line_number"] == 2
    assert facts(alone, "clip_1")["row"] is None
    assert "decoded_start_s  0.5" in run(alone, "clip_1").stdout
    assert facts(tiny_set / "shard-000002.tar")["samples"] == []


def test_sample_in_text(tiny_set: Path) -> None:
    result = run(tiny_set, "clip_2")
    assert result.exit_code == 0
    for text in (
        "[0.5000, the end)",
        "[0.5000, 1.5000) s",
        "+10.00 ms",
        "h264 64x32",
        "logmel.npy",
    ):
        assert text in result.stdout


@pytest.mark.parametrize("fields", [("frames", "audio", "logmel"), ("frames",), ("logmel",)])
@pytest.mark.parametrize("alone", [False, True])
def test_picture(
    fields: tuple[str, ...], alone: bool, tmp_path: Path, make_tiny_set: Callable[..., Path]
) -> None:
    target = make_tiny_set(tmp_path / "set", fields)
    if alone:
        target = Path(shutil.copy(target / "shard-000000.tar", tmp_path / "alone.tar"))
    png = tmp_path / "picture.png"
    assert facts(target, "--png", png)["png"] == str(png)
    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1440


def test_page(tiny_set: Path, tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    result = run(tiny_set, "--html", html, "--samples", 2, "--where", "duration_s > 0.6")
    assert result.exit_code == 0, result.output
    assert "2 of 3 clips (2 where duration_s > 0.6), " in result.stdout
    assert html.read_text().startswith("<!doctype html>")
    seen = facts(tiny_set, "--html", html)
    assert (seen["num_clips"], seen["num_samples"]) == (3, 3)
    assert seen["num_bytes"] == html.stat().st_size
    (tiny_set / "shard-000001.tar").unlink()
    result = run(tiny_set, "--html", html)
    assert result.exit_code == 0
    assert (
        "note: 1 of the 3 samples do not decode, their tiles say why: clip_2; run `avdata verify "
        f"{tiny_set}`" in result.stderr
    )
    assert facts(tiny_set, "--html", html)["damaged"] == ["clip_2"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("{set}", "clip_0", "--html", "{set}/x.html"), "--html shows a whole set"),
        (("{set}", "--where", "coverage > 0"), "--where goes with --html"),
        (("{set}", "--html", "{set}/no/x.html"), "there is no folder"),
        (("{set}", "--html", "{set}/x.html", "--where", "coverage > 2"), "leaves none of 3 clips"),
        (("{set}", "clip_22"), "has no sample 'clip_22' among its 3; the closest keys are clip_2"),
        (("{set}/nothing.tar",), "No such file"),
        (("{set}/dataset.json",), "is no whole tar"),
        (("{set}/shard-000002.tar", "--png", "{set}/x.png"), "holds no samples"),
        (("{set}", "--png", "{set}/no/x.png"), "name a file in a folder that exists"),
    ],
)
def test_faults_are_one_message(arguments: tuple[str, ...], text: str, tiny_set: Path) -> None:
    result = run(*(argument.format(set=tiny_set) for argument in arguments))
    assert result.exit_code == 2
    assert text in result.stderr
    assert result.stdout == ""
