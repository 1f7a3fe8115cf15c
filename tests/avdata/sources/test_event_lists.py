"""Lists with several lines a clip: AudioSet strong labels, AVE, AudioCaps."""

from pathlib import Path

import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import detect, read_listing

STRONG = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_strong_labels_are_one_row_a_segment(tmp_path: Path) -> None:
    path = write(
        tmp_path / "strong.tsv",
        STRONG,
        "b0RFKhbpFJA_30000\t0.000\t10.000\t/m/03m9d0z",
        "b0RFKhbpFJA_30000\t4.753\t5.720\t/m/05zppz",
        "-a_b_0\t1.0\t1.0\t/m/unheard_of",
        "b0RFKhbpFJA_30000\t6.0\t7.5\t/m/05zppz",
        "b0RFKhbpFJA_30\t6.0\t7.5\tSpeech",
    )
    assert detect(path) == "audioset-strong"
    assert list(read_listing(path)) == [
        ListedClip(
            line_number=2,
            source_id="b0RFKhbpFJA",
            listed_start_s=30.0,
            listed_end_s=40.0,
            labels=("Wind", "Male speech, man speaking"),
        ),
        ListedClip(
            line_number=4,
            source_id="-a_b",
            listed_start_s=0.0,
            listed_end_s=10.0,
            labels=("/m/unheard_of",),
        ),
        ListedClip(
            line_number=6,
            source_id="b0RFKhbpFJA",
            listed_start_s=0.03,
            listed_end_s=10.03,
            labels=("Speech",),
        ),
    ]


def test_strong_labels_that_are_not_present_give_no_label(tmp_path: Path) -> None:
    path = write(
        tmp_path / "framed.tsv",
        f"{STRONG}\tpresent",
        "abc_0\t0.0\t0.96\t/m/09x0r\tNOT_PRESENT",
        "abc_0\t0.96\t1.92\t/m/05zppz\tPRESENT",
        "def_0\t0.0\t0.96\t/m/09x0r\tNOT_PRESENT",
        "abc_0\t0.0\t0.96\t/m/09x0r\tperhaps",
    )
    rows = list(read_listing(path))
    assert [row.labels for row in rows if isinstance(row, ListedClip)] == [
        ("Male speech, man speaking",),
        (),
    ]
    assert getattr(rows[-1], "message", "").startswith("present is 'perhaps'; it must be PRESENT")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("abc_0\t0\t1", "3 columns; the header has 4, separated by tabs"),
        ("abc\t0\t1\t/m/1", "segment_id is 'abc'; it must be an id"),
        ("#NAME?\t0\t1\t/m/1", "segment_id is '#NAME?': a spreadsheet replaced it"),
        ("abc_0\tx\t1\t/m/1", "start_time_seconds is 'x'"),
        ("abc_0\t2\t1\t/m/1", "event from 2.0 s to 1.0 s; its end must not precede it"),
        ("abc_0\t0\t1\t", "label is empty"),
    ],
)
def test_strong_label_malformed(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "strong.tsv", STRONG, "ok_0\t0\t1\t/m/1", line, "ok_0\t1\t2\t/m/2")
    good, bad = read_listing(path)
    assert isinstance(bad, MalformedLine)
    assert bad.line_number == 3
    assert bad.message.startswith(message)
    assert isinstance(good, ListedClip)
    assert good.labels == ("/m/1", "/m/2")


def test_strong_labels_without_their_header(tmp_path: Path) -> None:
    path = write(tmp_path / "strong.tsv", "abc_0\t0\t1\t/m/1")
    with pytest.raises(ListingError, match="strong labels start with segment_id, start_time"):
        read_listing(path, "audioset-strong")


def test_ave_row_is_the_whole_clip(tmp_path: Path) -> None:
    path = write(
        tmp_path / "trainSet.txt",
        "Category&VideoID&Quality&StartTime&EndTime",
        "Ukulele&-1qyr-IzqKY&good&0&10",
        "Church bell&MH3m4AwEcRY&good&6&8",
        "Accordion&-1qyr-IzqKY&good&0&10",
    )
    assert detect(path) == "ave"
    assert list(read_listing(path)) == [
        ListedClip(
            line_number=2,
            source_id="-1qyr-IzqKY",
            listed_start_s=0.0,
            listed_end_s=10.0,
            labels=("Ukulele", "Accordion"),
            split="train",
        ),
        ListedClip(
            line_number=3,
            source_id="MH3m4AwEcRY",
            listed_start_s=0.0,
            listed_end_s=10.0,
            labels=("Church bell",),
            split="train",
        ),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Bark&abc&good&0", "4 fields; an AVE row has 5, Category&VideoID"),
        ("&abc&good&0&10", "category is empty"),
        ("Bark&a b&good&0&10", "id is 'a b'"),
        ("Bark&abc&good&0&11", "event from 0.0 s to 11.0 s; it must lie in the 10 s of the clip"),
        ("Bark&abc&good&x&10", "StartTime is 'x'"),
    ],
)
def test_ave_malformed(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "Annotations.txt", "Bark&abc&good&0&0", line, "Bark&abd&good&1&2")
    rows = list(read_listing(path))
    assert [isinstance(row, MalformedLine) for row in rows] == [False, True, False]
    assert getattr(rows[1], "message", "").startswith(message)


def test_every_line_of_ave_counts_for_one_row(shared_data: Path) -> None:
    path = shared_data / "lists/ave/Annotations.txt"
    rows = list(read_listing(path))
    lines = path.read_text().splitlines()
    labels = {(line.split("&")[1], line.split("&")[0]) for line in lines}
    assert labels == {
        (row.source_id, label)
        for row in rows
        if isinstance(row, ListedClip)
        for label in row.labels
    }


def test_captions_of_a_clip(tmp_path: Path) -> None:
    path = write(
        tmp_path / "val.csv",
        "audiocap_id,youtube_id,start_time,caption",
        '1,abc,130,"Ducks quack, water splashes"',
        "2,def,60,A man yells",
        "3,abc,130,Birds",
    )
    assert detect(path) == "audiocaps"
    assert [
        (row.source_id, row.listed_start_s, row.listed_end_s, row.labels)
        for row in read_listing(path)
        if isinstance(row, ListedClip)
    ] == [
        ("abc", 130.0, 140.0, ("Ducks quack, water splashes", "Birds")),
        ("def", 60.0, 70.0, ("A man yells",)),
    ]
    with pytest.raises(ListingError, match="an AudioCaps header has youtube_id, start_time and"):
        read_listing(write(tmp_path / "other.csv", "a,b", "1,2"), "audiocaps")
