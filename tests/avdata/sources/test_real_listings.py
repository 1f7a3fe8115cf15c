"""The published lists parse with the row counts that the README of the data states."""

from pathlib import Path

import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import detect, read_listing


@pytest.mark.parametrize(
    ("name", "format", "num_rows"),
    [
        ("audioset/balanced_train_segments.csv", "audioset", 22155),
        ("audioset/eval_segments.csv", "audioset", 20371),
        ("kinetics/kinetics-400_val.csv", "kinetics", 19906),
        ("kinetics/tiny-kinetics-400_train.csv", "kinetics", 400),
        ("kinetics/tiny-kinetics-400_val.csv", "kinetics", 400),
        ("vggsound/test.csv", "vggsound", 15446),
        ("esc50/esc50.csv", "esc50", 2000),
        ("ucf101", "ucf101", 9537 + 3783),
        ("ucf101/trainlist01.txt", "ucf101", 9537),
        ("ucf101/testlist01.txt", "ucf101", 3783),
        ("hmdb51_split1", "hmdb51", 6766),
        ("hmdb51_split1/dive_test_split1.txt", "hmdb51", 127),
        ("ave/Annotations.txt", "ave", 4143 - 46),  # 44 videos stand on two lines, one on three
        ("audiocaps/val.csv", "audiocaps", 2475 // 5),  # five captions a clip
        ("music/MUSIC_solo_videos.json", "music", 536),
    ],
)
def test_published_list_is_read_whole(
    shared_data: Path, name: str, format: str, num_rows: int
) -> None:
    path = shared_data / "lists" / name
    assert detect(path) == format
    rows = list(read_listing(path))
    assert [row for row in rows if isinstance(row, MalformedLine)] == []
    assert len(rows) == num_rows


def test_first_rows_of_each_format(shared_data: Path) -> None:
    lists = shared_data / "lists"
    assert next(read_listing(lists / "audioset/eval_segments.csv")) == ListedClip(
        line_number=4,
        source_id="--4gqARaEJE",
        listed_start_s=0.0,
        listed_end_s=10.0,
        labels=("Domestic animals, pets", "Squeak", "Dog", "Animal"),
    )
    assert next(read_listing(lists / "kinetics/kinetics-400_val.csv")) == ListedClip(
        line_number=2,
        source_id="0wR5jVB-WPk",
        listed_start_s=417.0,
        listed_end_s=427.0,
        labels=("abseiling",),
        split="val",
    )
    assert next(read_listing(lists / "vggsound/test.csv")) == ListedClip(
        line_number=1,
        source_id="glLQrEijrKg",
        listed_start_s=300.0,
        listed_end_s=310.0,
        labels=("playing hammond organ",),
    )


def test_spreadsheet_damaged_audioset_is_accounted_for(shared_data: Path) -> None:
    path = shared_data / "lists/odd/balanced_train_segments_spreadsheet_damaged.csv"
    assert detect(path) == "audioset"
    rows = list(read_listing(path))
    bad = [row for row in rows if isinstance(row, MalformedLine)]
    assert len(rows) == 22160
    assert [row.line_number for row in rows] == list(range(3, 22163))
    assert len(bad) == 371
    assert all("a spreadsheet replaced it" in row.message for row in bad)
    assert list(read_listing(path, "audioset")) == rows


@pytest.mark.parametrize(
    "name",
    [
        "vggsound/stat.csv",
        "audioset/class_labels_indices.csv",
        "audioset/ontology.json",
        "ucf101/classInd.txt",
    ],
)
def test_lists_of_other_formats_are_refused(shared_data: Path, name: str) -> None:
    with pytest.raises(ListingError, match=r"fits no known format: it starts with .*--format NAME"):
        detect(shared_data / "lists" / name)


@pytest.mark.parametrize(
    ("name", "num_files"),
    [("av_events", 6), ("esc10", 50), ("grid_s1", 32), ("grid_s1_train", 768)],
)
def test_labelled_sets_read_as_table_and_as_folder(
    shared_data: Path, name: str, num_files: int
) -> None:
    folder = shared_data / "sets" / name
    table_rows = list(read_listing(folder / "labels.csv"))
    folder_rows = list(read_listing(folder))
    assert detect(folder / "labels.csv") == "table"
    assert detect(folder) == "folder"
    assert {r.source_id for r in table_rows if isinstance(r, ListedClip)} == {
        r.source_id for r in folder_rows if isinstance(r, ListedClip)
    }
    assert len(table_rows) == len(folder_rows) == num_files


def test_a_start_beside_a_trimmed_file_is_no_span_of_it(shared_data: Path) -> None:
    row = next(read_listing(shared_data / "sets/av_events/labels.csv"))
    assert isinstance(row, ListedClip)
    assert (row.path, row.listed_start_s) == ("vggsound/0nib7bMm8BA_15000_25000.mp4", None)
    assert row.labels == ("canary calling",)
