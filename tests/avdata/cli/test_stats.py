"""`avdata stats`: text that fits a terminal, JSON, a picture, conditions and faults."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from avdata.cli.entry import main
from avdata.cli.stats_text import bin_lines, bin_names
from avdata.shards.histograms import histogram


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["stats", *map(str, arguments)])


def facts(*arguments: object) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def change_columns(directory: Path, **columns: list) -> None:
    path = directory / "manifest.parquet"
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.column_names.index(name)
        field = table.schema.field(name)
        table = table.set_column(place, field, pa.array(values, field.type))
    pq.write_table(table, path)


def test_text(tiny_set: Path) -> None:
    change_columns(
        tiny_set,
        silence_fraction=[0.95, 0.0, None],
        sound_missing=[True, False, False],
        native_fps=[3.0, 25.0, 30.0],
    )
    result = run(tiny_set)
    assert result.exit_code == 0, result.output
    for text in (
        "3 clips",
        "coverage              all 1",
        "sound_missing         ██████▋               yes 1 (33.3 %), no 2",
        "(1 without)",
        "rejected: 3 of 6 listed",
        "  missing_file        2  ████",
        "1 of 3 clips are silent for 90 % or more",
        "--where 'silence_fraction < 0.9'",
        "(leaves out 1 clips without a value, too)",
        "--where 'not sound_missing'",
        "had fewer pictures a second than the 4 stored",
        "dual_mono             no clip has a value",
    ):
        assert text in result.stdout, text
    prose = [line for line in result.stdout.splitlines() if str(tiny_set) not in line]
    assert max(map(len, prose)) <= 80


def test_columns_in_detail(tiny_set: Path) -> None:
    result = run(tiny_set, "--column", "num_frames", "--column", "truncated")
    assert result.exit_code == 0, result.output
    assert "num_frames: 3 clips; 2 to 4, median 3" in result.stdout
    assert "truncated: 3 clips" in result.stdout
    assert "no  ████████████████████████████████████████  3" in result.stdout
    assert "for training" not in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80


def test_columns_of_text_are_counted(tiny_set: Path, tmp_path: Path) -> None:
    change_columns(
        tiny_set,
        video_codec=["h264", "mpeg4\n", "h264"],
        color_transfer=["smpte2084", None, "bt709"],
        labels=[["cat"], ["cat", "dog"], []],
    )
    words = ("--column", "video_codec", "--column", "labels", "--column", "num_frames")
    result = run(tiny_set, *words)
    assert result.exit_code == 0, result.output
    for text in (
        "num_frames: 3 clips; 2 to 4, median 3",
        "video_codec: 3 clips; 2 different",
        "  h264       ████████████████████████████████  2",
        "  'mpeg4\\n'  ████████████████                  1",
        "labels: 2 clips, 1 clips without; 2 different",
        "  cat  ████████████████████████████████  2",
    ):
        assert text in result.stdout, result.stdout
    seen = facts(tiny_set, *words)
    assert [one["column"] for one in seen["histograms"]] == ["num_frames"]
    codec, labels = seen["counts"]
    assert dict(zip(codec["texts"], codec["counts"], strict=True)) == {"h264": 2, "mpeg4\n": 1}
    assert (labels["num_values"], labels["num_missing"]) == (2, 1)
    overview = run(tiny_set).stdout
    assert "color_transfer        bt709 1, smpte2084 1  (1 without)" in overview
    assert "frame_clock           no clip has a value" in overview
    assert "1 of 3 clips are coded for HDR displays (PQ or HLG)" in overview
    png = tmp_path / "counts.png"
    assert run(tiny_set, *words, "--png", png).exit_code == 0
    with Image.open(png) as picture:
        assert picture.width > 3 * 300


def test_many_texts_are_cut(tiny_set: Path) -> None:
    table = pq.read_table(tiny_set / "manifest.parquet")
    rows = [{**table.to_pylist()[0], "source_id": f"{'long ' * 20}{i}"} for i in range(50)]
    table = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(table, tiny_set / "manifest.parquet")
    spec = json.loads((tiny_set / "dataset.json").read_text())
    (tiny_set / "dataset.json").write_text(json.dumps({**spec, "num_clips": 50}))
    result = run(tiny_set, "--column", "source_id")
    assert result.stdout.splitlines()[-1] == "  and 30 more"
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80


def test_json(tiny_set: Path) -> None:
    seen = facts(tiny_set, "--column", "duration_s")
    (one,) = seen["histograms"]
    assert one["column"] == "duration_s"
    assert (one["min"], one["median"], one["max"]) == (0.5, 0.75, 1.0)
    assert sum(one["counts"]) == 3
    assert seen["num_clips"] == seen["num_chosen"] == 3
    assert [(group["reason"], group["count"]) for group in seen["rejects"]] == [
        ("missing_file", 2),
        ("too_short", 1),
    ]
    assert seen["rejects"][0]["examples"][0] == {"line": 4, "message": "no file for source 3"}


def test_where(tiny_set: Path) -> None:
    seen = facts(tiny_set, "--where", "duration_s > 0.6", "--column", "num_frames")
    assert (seen["num_clips"], seen["num_chosen"]) == (3, 2)
    assert (seen["histograms"][0]["min"], seen["histograms"][0]["max"]) == (3, 4)
    assert (
        "3 clips (2 where duration_s > 0.6)" in run(tiny_set, "--where", "duration_s > 0.6").stdout
    )


def test_picture(tiny_set: Path, tmp_path: Path) -> None:
    png = tmp_path / "histograms.png"
    assert str(png) in run(tiny_set, "--png", png).stdout
    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("{set}", "--column", "silence"), "no column 'silence'; near it are silence_fraction"),
        (("{set}", "--column", "frame_offsets"), "column 'frame_offsets' holds list"),
        (("{set}", "--png", "{set}/x.jpg"), "x.jpg: the picture is a PNG; give a name that ends"),
        (("{set}", "--png", "{set}/x"), "as in {set}/x.png"),
        (("{set}", "--where", "duration_s > 9 and coverage > 0"), "duration_s > 9 keeps 0"),
        (("{set}", "--where", "durations > 9"), "duration_s"),
        (("{set}", "--png", "{set}/no/x.png"), "name a file in a folder that exists"),
        (("{set}/nothing",), "has no dataset.json"),
    ],
)
def test_faults_are_one_message(arguments: tuple[str, ...], text: str, tiny_set: Path) -> None:
    result = run(*(argument.format(set=tiny_set) for argument in arguments))
    assert result.exit_code == 2
    assert text.format(set=tiny_set) in result.stderr
    assert result.stdout == ""
    assert not list(tiny_set.glob("x*"))


def test_end_bins_that_gather_a_tail_say_so() -> None:
    values = [-9e9, *(float(k % 10) for k in range(1000)), 9e9]
    seen = histogram("duration_s", pa.chunked_array([values]))
    names = bin_names(seen)
    assert names[0].startswith("below ")
    assert names[-1].endswith(" on")
    assert max(map(len, bin_lines(seen))) <= 80
