"""However a listing is damaged: every line is one row, and nothing but ListingError comes out.

The line count is taken from the bytes, without the reader: lines that are neither blank nor, in an
AudioSet list, comments.
"""

import re
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import ListedRow, detect, read_listing
from avdata.sources.rows import LINE_ENDS_REPAIRED

ID = b"-bc_efghijk"
LISTS = {
    "audioset": (
        b"# Segments csv created Sun Mar  5 10:54:31 2017\n"
        b"# YTID, start_seconds, end_seconds, positive_labels\n"
        b'--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
        b'--ZhevVpy1s, 50.000, 60.000, "/m/012xff"\n'
    ),
    "kinetics": (
        b"label,youtube_id,time_start,time_end,split,is_cc\n"
        b'"air drumming",_axE99QAhe8,26,36,train,0\nabseiling,-3B32lodo2M,59,69,train,1\n'
    ),
    "vggsound": b'---g-f_I2yQ,1,"people, marching",test\n' + ID + b",30,dog barking,train\n",
    "esc50": b"filename,fold,target,category\r\n1-1-A-0.wav,1,0,dog\r\n5-2-A-1.wav,5,1,hen\r\n",
    "table": b"path,label,start_s,end_s,id\na.mp4,dog,,,x\nb.mp4,cat,1,2,y\n",
    "ucf101": b"YoYo/v_YoYo_g08_c01.avi 1\r\nYoYo/v_YoYo_g08_c02.avi 1\r\n",
    "hmdb51": b"a_dive_f_cm_np1_ri_bad_32.avi 1 \nb.avi 2 \nc.avi 0 \n",
    "audioset-strong": (
        b"segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
        b"b0RFKhbpFJA_30000\t0.000\t10.000\t/m/03m9d0z\nabc_0\t4.753\t5.720\t/m/05zppz\n"
    ),
    "ave": b"Church bell&RUhOCu3LNXM&good&0&10\nBark&MH3m4AwEcRY&good&6&8\n",
    "audiocaps": b'audiocap_id,youtube_id,start_time,caption\n1,abc,130,"Ducks"\n2,def,60,Birds\n',
    "yt360": b"yJtIK922yxg 54,68\nfd3WWAyb1W8 15\ntaARyMZcFJM 104,124\n",
    "music": b'{"videos": {"flute": ["jW_AuF6dQYY", "3wPouBFa9U0"], "tuba": ["abc"]}}\n',
}
NAMES = {"ucf101": "trainlist01.txt", "hmdb51": "dive_test_split1.txt"}

ONE_ROW_A_LINE = ("audioset", "kinetics", "vggsound", "esc50", "table", "ucf101", "hmdb51")
HEADERS = ("kinetics", "esc50", "table")

mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut", "double"]),
        st.integers(0, 400),
        st.one_of(st.sampled_from(b'\0\r\n",#\t\xff\xe9\xc3=&- '), st.integers(0, 255)),
    ),
    min_size=1,
    max_size=4,
)


def mutated(content: bytes, steps: list[tuple[str, int, int]]) -> bytes:
    data = bytearray(content)
    for action, position, value in steps:
        at = position % (len(data) + 1)
        if action == "set" and at < len(data):
            data[at] = value
        elif action == "insert":
            data.insert(at, value)
        elif action == "delete":
            del data[at : at + 1]
        elif action == "cut":
            del data[at:]
        else:
            data[at:at] = data[max(0, at - 20) : at]
    return bytes(data)


def num_listed(content: bytes, format: str) -> int:
    """Lines that must be rows, counted from the bytes."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    lines = [line for line in lines if line.strip(b" \t\r\v\f")]
    if format in HEADERS:
        return len(lines) - 1
    if format == "audioset":
        lines = [line for line in lines if not is_comment(line.rstrip(b"\r\n"))]
    elif format == "vggsound" and lines and b"id" in lines[0].lower() and b"start" in lines[0]:
        return len(lines) - 1
    return len(lines)


def lines_of_repaired(rows: list[ListedRow], content: bytes) -> list[list[bytes]]:
    """The lines of each row that goes over several: up to that of the next row."""
    lines = content.split(b"\n")
    ends = [row.line_number - 1 for row in rows[1:]] + [len(lines)]
    return [
        [line for line in lines[row.line_number - 1 : end] if line.strip(b" \t\r\v\f")]
        for row, end in zip(rows, ends, strict=False)
        if isinstance(row, ListedClip) and row.repair == LINE_ENDS_REPAIRED
    ]


def is_comment(line: bytes) -> bool:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return False  # a line that is not text is a rejected one
    if "\0" in text or "\r" in text:
        return False
    damaged = re.match(r"#(NAME\?|REF!|VALUE!|DIV/0!|NUM!|N/A|NULL!)", text)
    header = text.startswith("YTID") and "start_seconds" in text
    return header or (text.startswith("#") and not damaged)


def rows_of(content: bytes, format: str) -> list[ListedRow]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAMES.get(format, "listing")
        path.write_bytes(content)
        detected: str | None = None
        with suppress(ListingError):
            detected = detect(path)
        rows = list(read_listing(path, format))
        if detected == format:
            assert list(read_listing(path)) == rows
        return rows


@pytest.mark.parametrize("format", LISTS)
def test_the_lists_are_good_before_they_are_damaged(format: str) -> None:
    rows = rows_of(LISTS[format], format)
    assert rows
    assert all(isinstance(row, ListedClip) for row in rows)
    if format in ONE_ROW_A_LINE:
        assert len(rows) == num_listed(LISTS[format], format)


@pytest.mark.parametrize("format", ONE_ROW_A_LINE)
@settings(deadline=None, max_examples=150)
@given(steps=mutations)
def test_every_line_is_one_row(format: str, steps: list[tuple[str, int, int]]) -> None:
    content = mutated(LISTS[format], steps)
    try:
        rows = rows_of(content, format)
    except ListingError:
        return
    num_joined = sum(len(lines) - 1 for lines in lines_of_repaired(rows, content))
    assert len(rows) + num_joined == num_listed(content, format)
    numbers = [row.line_number for row in rows]
    assert numbers == sorted(set(numbers))
    for row in rows:
        if isinstance(row, MalformedLine):
            assert row.message
            assert not row.message.startswith("line ")
            row.text.encode("utf-8")


@pytest.mark.parametrize("format", [name for name in LISTS if name not in ONE_ROW_A_LINE])
@settings(deadline=None, max_examples=100)
@given(steps=mutations)
def test_nothing_but_listing_error(format: str, steps: list[tuple[str, int, int]]) -> None:
    try:
        rows = rows_of(mutated(LISTS[format], steps), format)
    except ListingError:
        return
    assert all(isinstance(row, ListedClip | MalformedLine) for row in rows)


@pytest.mark.parametrize("format", ONE_ROW_A_LINE)
def test_latin_1_and_nul_cost_their_line(format: str) -> None:
    lines = LISTS[format].splitlines(keepends=True)
    for inserted, message in ((b"\xe9", "is not UTF-8; save"), (b"\0", "NUL byte at position")):
        content = b"".join([*lines[:-1], inserted + lines[-1], lines[-1]])
        rows = rows_of(content, format)
        bad = [row for row in rows if isinstance(row, MalformedLine)]
        assert [row.line_number for row in bad] == [len(lines)]
        assert message in bad[0].message
        assert rows[-1].line_number == len(lines) + 1


@pytest.mark.parametrize("format", LISTS)
def test_utf_16_is_refused_by_name(tmp_path: Path, format: str) -> None:
    path = tmp_path / NAMES.get(format, "listing")
    path.write_bytes(LISTS[format].decode().encode("utf-16"))
    with pytest.raises(ListingError, match="is UTF-16 text; save it as UTF-8"):
        detect(path)
    with pytest.raises(ListingError, match="is UTF-16 text; save it as UTF-8"):
        read_listing(path, format)


@pytest.mark.parametrize("format", ["audioset", "kinetics", "esc50", "ucf101", "hmdb51"])
def test_last_line_cut_at_every_byte(format: str) -> None:
    content = LISTS[format].rstrip(b"\r\n")
    whole = rows_of(content, format)
    start = content.rindex(b"\n") + 1
    for end in range(start + 1, len(content)):
        rows = rows_of(content[:end], format)
        assert rows[:-1] == whole[:-1]
        assert len(rows) == len(whole)


def test_real_list_damaged_by_a_spreadsheet(shared_data: Path) -> None:
    path = shared_data / "lists/odd/balanced_train_segments_spreadsheet_damaged.csv"
    content = path.read_bytes()
    rows = list(read_listing(path))
    bad = [row for row in rows if isinstance(row, MalformedLine)]
    assert len(rows) == num_listed(content, "audioset") == 22160
    assert len(bad) == content.count(b"#NAME?") == 371
    lost_quotes = content.replace(b'"', b"", 2000)
    assert num_listed(lost_quotes, "audioset") == len(rows_of(lost_quotes, "audioset")) == 22160
