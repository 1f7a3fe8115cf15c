"""UCF-101 and HMDB-51: one list, a folder of lists, several splits in a folder."""

import re
from pathlib import Path

import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import detect, read_listing

UCF_CLASSES = "1 Archery\r\n2 YoYo\r\n"


def ucf(folder: Path, **lists: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in lists.items():
        (folder / f"{name}.txt").write_bytes(text.replace("\n", "\r\n").encode())
    return folder


def ucf_clip(line_number: int, name: str, split: str) -> ListedClip:
    label = name.split("/")[0]
    return ListedClip(
        line_number=line_number, source_id=name, path=name, labels=(label,), split=split
    )


def test_ucf101_list_and_folder(tmp_path: Path) -> None:
    folder = ucf(
        tmp_path,
        classInd="1 Archery\n2 YoYo\n",
        trainlist01="Archery/v_Archery_g08_c01.avi 1\nYoYo/v_YoYo_g08_c01.avi 2\n",
        testlist01="YoYo/v_YoYo_g01_c01.avi\n",
        trainlist02="YoYo/v_YoYo_g01_c01.avi 2\n",
    )
    assert detect(folder) == detect(folder / "trainlist01.txt") == "ucf101"
    assert list(read_listing(folder / "trainlist01.txt")) == [
        ucf_clip(1, "Archery/v_Archery_g08_c01.avi", "train"),
        ucf_clip(2, "YoYo/v_YoYo_g08_c01.avi", "train"),
    ]
    assert list(read_listing(folder)) == [
        ucf_clip(1, "YoYo/v_YoYo_g01_c01.avi", "test"),
        ucf_clip(2, "Archery/v_Archery_g08_c01.avi", "train"),
        ucf_clip(3, "YoYo/v_YoYo_g08_c01.avi", "train"),
    ]
    assert list(read_listing(folder, "ucf101-2")) == [
        ucf_clip(1, "YoYo/v_YoYo_g01_c01.avi", "train")
    ]
    with pytest.raises(ListingError, match="has lists of the splits 1, 2, not of 3; choose"):
        read_listing(folder, "ucf101-3")


def test_a_folder_with_only_a_later_split_needs_no_format(tmp_path: Path) -> None:
    folder = ucf(tmp_path, trainlist03="YoYo/v_YoYo_g01_c01.avi 2\n")
    assert len(list(read_listing(folder))) == 1


def test_lists_come_before_the_media_beside_them(tmp_path: Path) -> None:
    folder = ucf(tmp_path, testlist01="YoYo/v_YoYo_g01_c01.avi\n")
    (folder / "YoYo").mkdir()
    (folder / "YoYo" / "v_YoYo_g01_c01.avi").touch()
    assert detect(folder) == "ucf101"
    assert detect(folder / "YoYo") == "folder"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("YoYo/v_YoYo_g01_c01.avi 1", r"class number is 1; classInd.txt gives YoYo the number 2"),
        ("YoYo/v_YoYo_g01_c01 2", r"a UCF-101 row is Class/v_Class_g01_c01.avi"),
        ("v_YoYo_g01_c01.avi 2", r"a UCF-101 row is"),
        ("../YoYo/v_YoYo_g01_c01.avi 2", r"a UCF-101 row is"),
    ],
)
def test_ucf101_malformed_line_names_its_list(tmp_path: Path, line: str, message: str) -> None:
    good = "Archery/v_Archery_g08_c01.avi 1\n"
    folder = ucf(
        tmp_path,
        classInd="1 Archery\n2 YoYo\n",
        trainlist01=f"{good}{line}\n{good}",
        testlist01="YoYo/v_YoYo_g01_c01.avi\n",
    )
    rows = list(read_listing(folder))
    assert [row.line_number for row in rows] == [1, 2, 3, 4]
    bad = rows[2]
    assert isinstance(bad, MalformedLine)
    assert bad.text == line
    assert bad.message.startswith("trainlist01.txt, line 2: ")
    assert re.search(message, bad.message)


def test_class_numbers_are_not_checked_without_an_index(tmp_path: Path) -> None:
    folder = ucf(tmp_path, trainlist01="YoYo/v_YoYo_g01_c01.avi 77\n")
    assert isinstance(next(read_listing(folder)), ListedClip)
    (folder / "classInd.txt").write_bytes(b"one YoYo\n\xff\n2\n")  # nothing in it can be read
    assert isinstance(next(read_listing(folder)), ListedClip)


def test_hmdb51_parts(tmp_path: Path) -> None:
    (tmp_path / "dive_test_split1.txt").write_text("#a (1).avi 1 \nb.avi 2 \nc.avi 0 \n")
    (tmp_path / "kick_ball_test_split1.txt").write_text("d.avi 2 \ne.avi 3\n")
    (tmp_path / "dive_test_split2.txt").write_text("b.avi 1 \n")
    assert detect(tmp_path) == "hmdb51"
    rows = list(read_listing(tmp_path))
    assert [
        (row.path, row.labels, row.split, row.line_number)
        for row in rows
        if isinstance(row, ListedClip)
    ] == [
        ("dive/#a (1).avi", ("dive",), "train", 1),
        ("dive/b.avi", ("dive",), "test", 2),
        ("dive/c.avi", ("dive",), "unused", 3),
        ("kick_ball/d.avi", ("kick_ball",), "test", 4),
    ]
    bad = rows[-1]
    assert isinstance(bad, MalformedLine)
    assert bad.message == (
        "kick_ball_test_split1.txt, line 2: part of the split is 3; it must be 0 (unused), 1 "
        "(train) or 2 (test)"
    )
    assert len(list(read_listing(tmp_path, "hmdb51-2"))) == 1
    one = list(read_listing(tmp_path / "dive_test_split2.txt"))
    assert [row.split for row in one if isinstance(row, ListedClip)] == ["train"]


def test_hmdb51_line_that_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "dive_test_split1.txt"
    path.write_text("a.avi 1\nb.avi\nc.avi 2\n")
    rows = list(read_listing(path))
    assert [isinstance(row, MalformedLine) for row in rows] == [False, True, False]
    assert getattr(rows[1], "message", "") == "an HMDB-51 row is video.avi and 0, 1 or 2"


def test_a_list_needs_its_published_name(tmp_path: Path) -> None:
    for format, name in (("ucf101", "train.txt"), ("hmdb51", "dive.txt")):
        path = tmp_path / name
        path.write_text("a.avi 1\n")
        with pytest.raises(ListingError, match=f"not named like a list of {format}.*rename it"):
            read_listing(path, format)
        with pytest.raises(ListingError, match=f"has no list of {format}; its files must be"):
            read_listing(tmp_path, format)


def test_official_sizes(shared_data: Path) -> None:
    rows = [r for r in read_listing(shared_data / "lists/hmdb51_split1") if not hasattr(r, "text")]
    by_split = {
        split: sum(getattr(row, "split", None) == split for row in rows)
        for split in ("train", "test", "unused")
    }
    assert by_split == {"train": 51 * 70, "test": 51 * 30, "unused": 1666}


def test_media_of_a_split_list_are_found(shared_data: Path) -> None:
    media = shared_data / "sets/ucf101_subset"
    rows = [*read_listing(shared_data / "lists/ucf101")]
    there = [
        row.path
        for row in rows
        if isinstance(row, ListedClip) and row.path and (media / row.path).is_file()
    ]
    assert len(there) == 6
