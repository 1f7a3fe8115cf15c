"""The column habits of public lists of hosted videos, and MUSIC, ESC-50, YT-360."""

import json
from pathlib import Path

import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import detect, read_listing


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def clips(path: Path, format: str = "auto") -> list[ListedClip]:
    rows = list(read_listing(path, format))
    assert all(isinstance(row, ListedClip) for row in rows)
    return [row for row in rows if isinstance(row, ListedClip)]


ID = "-bc_efghijk"
K = "label,youtube_id,time_start,time_end"
V = "YouTube ID,start seconds,label,train/test split"


@pytest.mark.parametrize(
    ("format", "text", "label", "split"),
    [
        ("kinetics", f"{K},split\ndog,{ID},7,17,val\n", "dog", "val"),
        ("kinetics", f"{K},split,is_cc\ndog,{ID},7,17,val,0\n", "dog", "val"),
        ("kinetics", f"youtube_id,time_start,time_end,split\n{ID},7,17,test\n", None, "test"),
        ("kinetics", f"index,video_id,start_time,end_time,label\n0,{ID},7,17,dog\n", "dog", None),
        ("kinetics", f'Label\tVideo ID\tStart\tEnd\n"a, b"\t{ID}\t7\t17\n', "a, b", None),
        ("vggsound", f"{ID},7,dog,test\n", "dog", "test"),
        ("vggsound", f"{ID},7,dog\n", "dog", None),
        ("vggsound", f'{ID}_000007.mp4,"dog, cat"\n', "dog, cat", None),
        ("vggsound", f"{ID}_000007,dog\n", "dog", None),
        ("vggsound", f"{V}\n{ID},7,dog,train\n", "dog", "train"),
        ("vggsound", f"split,label,start,video_id\ntest,dog,7,{ID}\n", "dog", "test"),
    ],
)  # fmt: skip
def test_column_habits(
    tmp_path: Path, format: str, text: str, label: str | None, split: str | None
) -> None:
    path = write(tmp_path / "list", text)
    assert detect(path) == format
    (row,) = clips(path)
    assert row == ListedClip(
        line_number=2 if text.count("\n") == 2 else 1,
        source_id=ID,
        listed_start_s=7.0,
        listed_end_s=17.0,
        labels=() if label is None else (label,),
        split=split,
    )


def test_three_numbers_are_no_vggsound(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match="fits no known format"):
        detect(write(tmp_path / "list", f"{ID},30,40\n"))


def test_index_video_label(tmp_path: Path) -> None:
    path = write(tmp_path / "list", "d3mIndex,video,label\n0,a_1.avi,0\n")
    assert detect(path) == "table"
    assert [(row.path, row.labels) for row in clips(path)] == [("a_1.avi", ("0",))]


def test_esc50_folds_are_splits(tmp_path: Path) -> None:
    header = "filename,fold,target,category,esc10,src_file,take\n"
    path = write(
        tmp_path / "esc50.csv",
        header
        + "1-1-A-0.wav,1,0,dog,TRUE,1,A\n"
        + "5-2-A-1.wav,5,1,rooster,False,2,A\n"
        + "6-2-A-1.wav,6,1,rooster,False,2,A\n"
        + ",5,1,rooster,False,2,A\n"
        + "5-2-A-1.wav,5,1\n",
    )
    assert detect(path) == "esc50"
    rows = list(read_listing(path))
    assert rows[:2] == [
        ListedClip(
            line_number=2,
            source_id="1-1-A-0.wav",
            path="1-1-A-0.wav",
            labels=("dog",),
            split="fold1",
        ),
        ListedClip(
            line_number=3,
            source_id="5-2-A-1.wav",
            path="5-2-A-1.wav",
            labels=("rooster",),
            split="fold5",
        ),
    ]
    assert [getattr(row, "message", "")[:30] for row in rows[2:]] == [
        "fold is '6'; it must be one of",
        "filename is empty; every row m",
        "3 columns; the header has 7 (f",
    ]
    with pytest.raises(ListingError, match=r"an ESC-50 header has each of .* has not fold, target"):
        read_listing(write(tmp_path / "x.csv", "filename,category\n"), "esc50")


def test_music_instruments(tmp_path: Path) -> None:
    videos = {"flute": [ID, "a b", 3], "cello violin": ["abc"], "\ud800": ["abd"]}
    path = write(tmp_path / "music.json", json.dumps({"version": 1.0, "videos": videos}))
    assert detect(path) == "music"
    rows = list(read_listing(path))
    assert [row.line_number for row in rows] == [1, 2, 3, 4, 5]
    assert [row for row in rows if isinstance(row, ListedClip)] == [
        ListedClip(line_number=1, source_id=ID, labels=("flute",)),
        ListedClip(line_number=4, source_id="abc", labels=("cello", "violin")),
    ]
    bad = [row for row in rows if isinstance(row, MalformedLine)]
    assert [row.text for row in bad] == [
        '{"flute": "a b"}',
        '{"flute": 3}',
        '{"\\ud800": "abd"}',
    ]
    assert bad[1].message == "an id must be a text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"videos": ', "is not JSON: .*take it anew"),
        ("[" * 100_000, "is not JSON"),
        ('{"videos": ["a"]}', "is JSON without .*choose another --format"),
        ("3", "is JSON without"),
    ],
)
def test_music_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ListingError, match=message):
        read_listing(write(tmp_path / "music.json", text), "music")


def yt360(folder: Path) -> Path:
    write(folder / "segments.txt", f"{ID} 10,29\nfd3WWAyb1W8 15\ntaARyMZcFJM 104,124\n")
    write(folder / "train.txt", f"fd3WWAyb1W8\n{ID}")
    write(folder / "test.txt", "xxxxxxxxxxx\n")
    return folder


def spans(path: Path) -> list[tuple[int, str, float | None, str | None]]:
    return [(r.line_number, r.source_id, r.listed_start_s, r.split) for r in clips(path)]


def test_yt360_segments(tmp_path: Path) -> None:
    path = yt360(tmp_path) / "segments.txt"
    assert detect(path) == "yt360"
    assert spans(path) == [
        (1, ID, 10.0, "train"),
        (1, ID, 29.0, "train"),
        (2, "fd3WWAyb1W8", 15.0, "train"),
        (3, "taARyMZcFJM", 104.0, None),
        (3, "taARyMZcFJM", 124.0, None),
    ]
    assert clips(path)[0].listed_end_s == 20.0


def test_yt360_ids(tmp_path: Path) -> None:
    folder = yt360(tmp_path)
    assert detect(folder) == detect(folder / "train.txt") == "yt360"
    assert spans(folder / "train.txt") == [
        (1, "fd3WWAyb1W8", 15.0, "train"),
        (2, ID, 10.0, "train"),
        (2, ID, 29.0, "train"),
    ]
    rows = list(read_listing(folder))
    assert [row.line_number for row in rows] == [1, 2, 3, 4]
    bad = rows[-1]
    assert isinstance(bad, MalformedLine)
    assert bad.message == "id xxxxxxxxxxx has no line in segments.txt; add its clips there"


def test_yt360_parts_that_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", f"{ID}\n")
    with pytest.raises(ListingError, match="fits no known format"):
        detect(path)
    for listing in (path, tmp_path):
        with pytest.raises(ListingError, match=r"the clips stand in segments.txt: put it beside"):
            read_listing(listing, "yt360")
    path.unlink()
    with pytest.raises(ListingError, match=r"has neither of train.txt, test.txt; name a folder"):
        read_listing(tmp_path, "yt360")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (ID, "1 fields; a row is an id, a space, and start seconds 10,29"),
        (f"{ID} 10,x", "start is 'x'; it must be seconds"),
        (f"{ID} 10,29,10", "a start is listed twice"),
        ("#NAME? 10", "id is '#NAME?': a spreadsheet replaced it"),
        ("\u3000", "id is empty"),
    ],
)
def test_yt360_malformed(tmp_path: Path, line: str, message: str) -> None:
    good = "fd3WWAyb1W8 15"
    rows = list(read_listing(write(tmp_path / "s", f"{good}\n{line}\n{good}\n"), "yt360"))
    assert [isinstance(row, MalformedLine) for row in rows] == [False, True, False]
    assert getattr(rows[1], "message", "").startswith(message)
