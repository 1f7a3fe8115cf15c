"""Columns of a listing that are used, kept and passed over, and the hints for the latter."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources import ListingColumns, detect, listing_columns, read_listing


def columns_of(tmp_path: Path, header: str, row: str) -> ListingColumns:
    path = tmp_path / "list.csv"
    path.write_text(f"{header}\n{row}\n")
    columns = listing_columns(path, detect(path))
    assert columns is not None
    return columns


@pytest.mark.parametrize(
    ("header", "row", "used", "passed_over", "hints"),
    [
        (
            "path,start,end,class",
            "a.mp4,1,2,x",
            ("path",),
            ("start", "end", "class"),
            ("times are start_s and end_s", "did you mean label for class?"),
        ),
        ("file;LABEL", "a.mp4;x", ("file (as path)", "LABEL"), (), ()),
        ("path\tcategory\tlabel", "a.mp4\tx\ty", ("path", "label"), ("category",), ()),
        (
            "path,lable,subset",
            "a.mp4,x,train",
            ("path",),
            ("lable", "subset"),
            ("did you mean label for lable?", "did you mean split for subset?"),
        ),
        ("path,start_s,end_s,start", "a.mp4,1,2,3", ("path", "start_s", "end_s"), ("start",), ()),
        (
            "label,youtube_id,time_start,time_end,split,is_cc",
            "x,abcdefghijk,1,2,val,0",
            (
                "label",
                "youtube_id (as id)",
                "time_start (as start)",
                "time_end (as end)",
                "split",
            ),
            ("is_cc",),
            (),
        ),
        (
            "filename,fold,target,category,esc10,src_file",
            "a.wav,1,0,dog,True,1",
            ("filename", "fold", "category"),
            ("target", "esc10", "src_file"),
            (),
        ),
    ],
)
def test_columns(
    tmp_path: Path,
    header: str,
    row: str,
    used: tuple[str, ...],
    passed_over: tuple[str, ...],
    hints: tuple[str, ...],
) -> None:
    columns = columns_of(tmp_path, header, row)
    assert columns.used_texts == used
    assert columns.passed_over() == passed_over
    assert columns.hints() == hints


def test_kept_columns_are_not_passed_over(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, "path,class,Take No,class2", "a.mp4,x,1,y")
    kept = columns.find_kept(["CLASS", "take no", "class"])
    assert kept == ("class", "Take No")
    assert columns.passed_over(kept) == ("class2",)
    assert columns.hints() == ("did you mean label for class?",)
    assert columns.hints(kept) == ()
    rows = list(read_listing(tmp_path / "list.csv", keep=kept))
    assert [row.kept for row in rows if isinstance(row, ListedClip)] == [
        {"class": "x", "Take No": "1"}
    ]


def test_columns_that_cannot_be_kept(tmp_path: Path) -> None:
    columns = columns_of(tmp_path, "path,note,note,Caption", "a.mp4,x,y,z")
    with pytest.raises(ListingError, match=r"has columns path, note.*did you mean Caption"):
        columns.find_kept(["Captions"])
    with pytest.raises(ListingError, match="'note': the listing has 2 columns of that name"):
        columns.find_kept(["note"])
    path = tmp_path / "bare.txt"
    path.write_text("a.mp4 1\n")
    with pytest.raises(
        ListingError, match=r"\(path-label\) has no header .* are kinetics, vggsound"
    ):
        read_listing(path, keep=("note",))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path,note", "a.mp4,hello"),
        ("path;note", "a.mp4;hello"),
        ("youtube_id,start_time,end_time,note", "abcdefghijk,1,2,hello"),
        ("youtube_id,start_time,label,note", "abcdefghijk,1,x,hello"),
        ("audiocap_id,youtube_id,start_time,caption,note", "1,abcdefghijk,1,Ducks,hello"),
        ("filename,fold,target,category,note", "a.wav,1,0,dog,hello"),
    ],
)
def test_every_format_with_a_header_keeps_cells(tmp_path: Path, header: str, row: str) -> None:
    path = tmp_path / "list.csv"
    empty = row.replace("hello", "").replace("a.", "b.").replace("abcdefghijk", "bcdefghijkl")
    path.write_text(f"{header}\n{row}\n{empty}\n")
    rows = list(read_listing(path, keep=("note",)))
    assert [row.kept for row in rows if isinstance(row, ListedClip)] == [{"note": "hello"}, {}]
    plain = list(read_listing(path))
    assert [row.kept for row in plain if isinstance(row, ListedClip)] == [{}, {}]


def test_parquet_keeps_cells_as_text(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    table = {"n": [1, None], "path": ["a.mp4", "b.mp4"], "tags": [["x", "y"], []]}
    pq.write_table(pa.table(table), path)
    columns = listing_columns(path, "table")
    assert columns is not None
    assert columns.passed_over(("n",)) == ("tags",)
    rows = list(read_listing(path, keep=("n", "tags")))
    assert [row.kept for row in rows if isinstance(row, ListedClip)] == [
        {"n": "1", "tags": "x|y"},
        {},
    ]
