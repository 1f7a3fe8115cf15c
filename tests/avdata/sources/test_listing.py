"""What detection refuses, in which words; and that nothing but ListingError comes out."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import SOURCES, detect, read_listing


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b" \n\r\n", "has only blank lines"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\xff" * 99, r"it is not text, its first bytes are 89 50 4e 47"),
        (b"PK\x03\x04" + b"\0" * 99, "it is a zip or spreadsheet file; save the sheet as CSV"),
        (b"\x1f\x8b\x08" + b"\0" * 99, "it is a gzip file; unpack it first"),
        ("path\na.mp4\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"path\ra.mp4\r", "carriage returns alone"),
        (b"hello\nworld\n", r"it starts with 'hello', 'world'\. `avdata build --formats` sh"),
        (b"x" * 100_000, r"it starts with 'x{60}'\. `avdata build --formats` shows"),
        (
            b"path,youtube_id,time_start,time_end\na.mp4,abc,1,2\n",
            "fits several formats, kinetics and table: .*choose one with --format NAME",
        ),
        (b"clip_000001.mp4,dog\n", "fits no known format"),
        (b"PAR1 is not parquet", "parquet table .* cannot be read"),
    ],
)
def test_refused_content(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "listing"
    path.write_bytes(content)
    with pytest.raises(ListingError, match=message):
        detect(path)


def test_refused_paths(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match=r"cannot be opened: No such file .*check the path"):
        detect(tmp_path / "absent.csv")
    with pytest.raises(ListingError, match="cannot be opened"):
        detect(Path("a\0b"))
    for format in SOURCES:
        with pytest.raises(ListingError, match="cannot be opened"):
            read_listing(tmp_path / "absent.csv", format)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ListingError, match=r"is a pipe or device; .*save it to a file"):
        detect(tmp_path / "pipe")
    with pytest.raises(ListingError, match="'csv' is unknown; --format is auto or one of audioset"):
        read_listing(tmp_path, "csv")


def test_name_does_not_decide(tmp_path: Path) -> None:
    path = tmp_path / "vggsound.parquet"
    path.write_text("path\na.mp4\n")
    assert detect(path) == "table"


def test_a_few_damaged_lines_do_not_hide_a_format(tmp_path: Path) -> None:
    path = tmp_path / "listing"
    path.write_bytes(b"abc\xff\n" + b'abc, 0, 10, "/m/1"\n' * 3 + b"x\0\n")
    assert detect(path) == "audioset"
    assert len(list(read_listing(path))) == 5


SEEDS = (
    b'abc, 0, 10, "/m/1"\n',
    b"abcdefghijk_000030.mp4,dog\n",
    b"label,youtube_id,time_start,time_end\n",
    b"path,start_s,end_s\n",
    b"a.mp4,1,2\n",
    b"\xef\xbb\xbf",
    b"PAR1",
    b'"',
    b",",
    b"\t",
    b"\r",
    b"\n",
    b"#NAME?",
)


@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.lists(st.one_of(st.sampled_from(SEEDS), st.binary(max_size=6)), max_size=12).map(
            b"".join
        ),
    )
)
def test_arbitrary_bytes_raise_nothing_but_listing_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "listing"
        path.write_bytes(content)
        num_lines = content.count(b"\n") + 1
        for format in ("auto", *SOURCES):
            try:
                rows = list(read_listing(path, format))
            except ListingError:
                continue
            assert all(isinstance(row, ListedClip | MalformedLine) for row in rows)
            numbers = [row.line_number for row in rows]
            assert numbers == sorted(set(numbers))
            assert all(1 <= number <= num_lines for number in numbers)


@given(cuts=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=5))
def test_damaged_parquet_raises_nothing_but_listing_error(cuts: list[tuple[int, int]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "listing"
        pq.write_table(pa.table({"path": ["a.mp4", "bé.mp4"], "start_s": [0.0, 1.0]}), path)
        content = bytearray(path.read_bytes())
        for position, value in cuts:
            content[position % len(content)] = value
        path.write_bytes(content)
        try:
            rows = list(read_listing(path, "table"))
        except ListingError:
            return
        assert all(isinstance(row, ListedClip | MalformedLine) for row in rows)
