"""AudioSet, Kinetics, VGGSound and tables from small listings, and every way a line goes bad."""

import re
from pathlib import Path

import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import detect, read_listing

GOOD = {
    "audioset": '# YTID, start_seconds, end_seconds, positive_labels\nabc, 1.5, 3, "/m/1,/t/2"\n',
    "kinetics": "label,youtube_id,time_start,time_end,split\ndog,abc,1,3,val\n",
    "vggsound": 'abcdefghijk_000030.mp4,dog\nabcdefghij-_000040.mp4,"bird, tweeting"\n',
    "table": "path,label\na.mp4,dog\n",
}


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "listing"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def one_bad(tmp_path: Path, content: str | bytes, format: str) -> MalformedLine:
    """The malformed line of a listing that has one, and at least one good row after it."""
    rows = list(read_listing(write(tmp_path, content), format))
    bad = [row for row in rows if isinstance(row, MalformedLine)]
    assert len(bad) == 1
    assert isinstance(rows[-1], ListedClip)
    return bad[0]


@pytest.mark.parametrize("format", GOOD)
def test_bom_crlf_and_blank_lines_change_nothing(tmp_path: Path, format: str) -> None:
    plain = write(tmp_path, GOOD[format])
    assert detect(plain) == format
    expected = list(read_listing(plain))
    assert all(isinstance(row, ListedClip) for row in expected)
    crlf = write(tmp_path, b"\xef\xbb\xbf" + GOOD[format].replace("\n", "\r\n").encode())
    assert detect(crlf) == format
    assert list(read_listing(crlf)) == expected
    last_line_open = write(tmp_path, GOOD[format].rstrip("\n"))
    assert list(read_listing(last_line_open)) == expected
    blank = write(tmp_path, "\n \r\n" + GOOD[format] + "\n\n")
    assert detect(blank) == format
    assert [row.line_number for row in read_listing(blank)] == [
        row.line_number + 2 for row in expected
    ]


def test_audioset_row(tmp_path: Path) -> None:
    assert list(read_listing(write(tmp_path, GOOD["audioset"]))) == [
        ListedClip(
            line_number=2,
            source_id="abc",
            listed_start_s=1.5,
            listed_end_s=3.0,
            labels=("/m/1", "/t/2"),
        )
    ]


def test_audioset_is_detected_without_its_comments(tmp_path: Path) -> None:
    path = write(tmp_path, 'YTID,start_seconds,end_seconds,positive_labels\nabc,0,9,"/m/1,/m/2"\n')
    assert detect(path) == "audioset"
    assert len(list(read_listing(path))) == 1


def test_kinetics_columns_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, "is_cc,time_end,time_start,youtube_id\n0,20,10,-bc\n")
    assert detect(path) == "kinetics"
    assert list(read_listing(path)) == [
        ListedClip(line_number=2, source_id="-bc", listed_start_s=10.0, listed_end_s=20.0)
    ]


def test_vggsound_with_four_columns(tmp_path: Path) -> None:
    path = write(tmp_path, '---g-f_I2yQ,1,"people, marching",test\n')
    assert detect(path) == "vggsound"
    assert list(read_listing(path)) == [
        ListedClip(
            line_number=1,
            source_id="---g-f_I2yQ",
            listed_start_s=1.0,
            listed_end_s=11.0,
            labels=("people, marching",),
            split="test",
        )
    ]


TAIL = {
    "audioset": 'ok, 0, 10, "/m/1"\n',
    "kinetics": "dog,ok,0,10,val\n",
    "vggsound": "ok_000030.mp4,dog\n",
    "table": "ok.mp4,dog,0,10,id9\n",
}
HEAD = {
    "audioset": "",
    "kinetics": "label,youtube_id,time_start,time_end,split\n",
    "vggsound": "",
    "table": "path,label,start_s,end_s,id\n",
}


@pytest.mark.parametrize(
    ("format", "line", "message"),
    [
        ("audioset", "abc, 0, 10", r"3 columns; an AudioSet row has 4"),
        ("audioset", "abc, 0, 10, /m/1,/m/2", r"5 columns; .*the labels in quotes"),
        ("audioset", 'abc, zero, 10, "/m/1"', r"start_seconds is 'zero'; it must be seconds"),
        ("audioset", 'abc, 0, nan, "/m/1"', r"end_seconds is 'nan'; it must be seconds"),
        ("audioset", 'abc, 0, inf, "/m/1"', r"end_seconds is 'inf'; it must be seconds"),
        ("audioset", 'abc, 1_0, 20, "/m/1"', r"start_seconds is '1_0'"),
        ("audioset", 'abc, 10, 5, "/m/1"', r"^end 5.0 s must be after start 10.0 s"),
        ("audioset", 'abc, 10, 10, "/m/1"', r"must be after start"),
        ("audioset", 'abc, -1, 10, "/m/1"', r"^start -1.0 s must be in"),
        (
            "audioset",
            'abc, 0, 10, "/m/1',
            r"odd number of quotes \(1\): a cell holds a line end, or a quote is lost; write each",
        ),
        ("audioset", 'abc, 0, 10, /m/1"', r"odd number of quotes"),
        ("audioset", 'abc, 0, 10, "/m/1"x""', r"odd number|quotes cannot be understood"),
        ("audioset", 'abc, 0, 10, "/m/1"x"y"', r"quotes cannot be understood .*quote whole cells"),
        ("audioset", ', 0, 10, "/m/1"', r"id is empty"),
        ("audioset", '#NAME?,30,40,"/m/1"', r"id is '#NAME\?': a spreadsheet replaced it"),
        ("audioset", '=-PJHxphWEs,30,40,"/m/1"', r"id is '=-PJHxphWEs': a spreadsheet made it"),
        ("audioset", '-,30,40,"/m/1"', r"id is '-'; it must be up to 64 letters"),
        ("audioset", '1.2E+10,30,40,"/m/1"', r"id is '1.2E\+10'; it must be up to 64"),
        ("audioset", f'{"a" * 65},30,40,"/m/1"', r"it must be up to 64 letters"),
        ("audioset", 'a\rbc,30,40,"/m/1"', r"carriage return inside the line"),
        ("audioset", f"abc,30,40,{'x' * 140_000}", r"longer than 131072 bytes"),
        ("kinetics", "dog,abc,0", r"3 columns; the header has 5 \(label, youtube_id"),
        ("kinetics", "dog, cat,abc,0,10,val", r"6 columns; .*labels with commas stand in quotes"),
        ("kinetics", "dog,abc,0,x,val", r"time_end is 'x'"),
        ("kinetics", "dog,,0,10,val", r"id is empty"),
        ("kinetics", "dog,#NAME?,0,10,val", r"a spreadsheet replaced it"),
        ("kinetics", '"dog,abc,0,10,val', r"odd number of quotes"),
        ("vggsound", "abc_30.mp4,dog", r"file name is 'abc_30.mp4'; it must be an id"),
        ("vggsound", "#NAME?,dog", r"file name is '#NAME\?': a spreadsheet replaced it"),
        ("vggsound", ",dog", r"file name is empty"),
        ("vggsound", "abc,dog,3", r"start_seconds is 'dog'; it must be seconds"),
        ("vggsound", "abc,3,dog,test,0", r"5 columns; a VGGSound row has 2 .* 3 or 4"),
        ("vggsound", "abc,x,dog,test", r"start_seconds is 'x'"),
        ("vggsound", "a b_000030.mp4,dog", r"id is 'a b'; it must be up to 64"),
        ("table", "a.mp4,dog", r"2 columns; the header has 5"),
        ("table", ",dog,,,id", r"path is empty"),
        ("table", "a.mp4,dog,,,", r"id is empty"),
        ("table", "a.mp4,dog,,,#REF!", r"id is '#REF!': a spreadsheet replaced it"),
        ("table", "a.mp4,dog,b,,id", r"start_s is 'b'; it must be seconds"),
        ("table", "a.mp4,dog,5,4,id", r"^end 4.0 s must be after start 5.0 s"),
        ("table", '"a.mp4,dog,5,6,id', r"odd number of quotes"),
    ],
)
def test_malformed_line_costs_one_row(tmp_path: Path, format: str, line: str, message: str) -> None:
    content = f"{HEAD[format]}{line}\n{TAIL[format]}"
    bad = one_bad(tmp_path, content, format)
    assert bad.line_number == 1 + bool(HEAD[format])
    assert bad.text == line[:200]
    assert re.search(message, bad.message)


@pytest.mark.parametrize("format", TAIL)
def test_bytes_that_are_not_text_cost_one_row(tmp_path: Path, format: str) -> None:
    head, tail = HEAD[format].encode(), TAIL[format].encode()
    bad = one_bad(tmp_path, head + b"caf\xe9" + tail + tail, format)
    assert bad.message == "byte 0xe9 at position 3 is not UTF-8; save the listing as UTF-8"
    assert bad.text.startswith("caf\N{REPLACEMENT CHARACTER}")
    bad = one_bad(tmp_path, head + b"ca\0" + tail + tail, format)
    assert bad.message == "NUL byte at position 2; the line must be text"


def test_forced_format_that_does_not_fit_gives_malformed_lines(tmp_path: Path) -> None:
    path = write(tmp_path, bytes(range(256)) * 4)
    for format in ("audioset", "vggsound"):
        rows = list(read_listing(path, format))
        assert rows
        assert all(isinstance(row, MalformedLine) for row in rows)


def test_table_columns_and_synonyms(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "start_s\tLabels\tPath\tend_s\tsplit\n"
        "1.5\tdog| cat\ta/b c.mp4\t\ttrain\n"
        "\t\ta/b c.mp4\t2\t\n",
    )
    assert detect(path) == "table"
    assert list(read_listing(path)) == [
        ListedClip(
            line_number=2,
            source_id="a/b c.mp4",
            path="a/b c.mp4",
            listed_start_s=1.5,
            labels=("dog", "cat"),
            split="train",
        ),
        ListedClip(line_number=3, source_id="a/b c.mp4", path="a/b c.mp4", listed_end_s=2.0),
    ]
    path = write(tmp_path, 'id,filename,category\n#1,../x.wav,"a|b"\n')
    assert list(read_listing(path)) == [
        ListedClip(line_number=2, source_id="#1", path="../x.wav", labels=("a|b",))
    ]


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("kinetics", r"a Kinetics header has each of .*has not youtube_id, time_start"),
        ("table", r"none of them a path; name the column of files 'path'"),
    ],
)
def test_missing_header_is_refused_before_the_first_row(
    tmp_path: Path, format: str, message: str
) -> None:
    with pytest.raises(ListingError, match=message):
        read_listing(write(tmp_path, "a,b\n1,2\n"), format)
    with pytest.raises(ListingError, match="has no readable header, line 1: byte 0xff"):
        read_listing(write(tmp_path, b"\xff\n"), format)
    with pytest.raises(ListingError, match="is UTF-16 text; save it as UTF-8"):
        read_listing(write(tmp_path, "path\n".encode("utf-16")), format)
    with pytest.raises(ListingError, match="has only blank lines"):
        read_listing(write(tmp_path, b"\n\n"), format)


def test_rows_are_made_as_they_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, TAIL["audioset"] * 100_000)
    rows = read_listing(path)
    assert next(rows).line_number == 1
    with path.open("wb") as file:  # what was not read yet is seen as it is now
        file.truncate(0)
    assert sum(1 for _ in rows) < 100_000 - 1
