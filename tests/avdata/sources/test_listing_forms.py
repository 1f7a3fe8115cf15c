"""Forms of listings found in the wild: blanks, semicolons, line ends in quotes, spreadsheets."""

from pathlib import Path

import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import ListedRow, detect, read_listing
from avdata.sources.listing import format_lines


def rows_of(tmp_path: Path, text: str, format: str = "auto") -> list[ListedRow]:
    path = tmp_path / "listing"
    path.write_text(text)
    return list(read_listing(path, format))


def clips(rows: list[ListedRow]) -> list[tuple[str | None, tuple[str, ...]]]:
    return [(row.path, row.labels) for row in rows if isinstance(row, ListedClip)]


def faults(rows: list[ListedRow]) -> list[str]:
    return [row.message for row in rows if isinstance(row, MalformedLine)]


def test_path_label_lists(tmp_path: Path) -> None:
    text = (
        "drinking (31).mp4 1\nsome/dir/c.MP4   0\n/abs/a.b.webm\tplaying guitar\n"
        "x,y.mp4 3\n\nu.mp4 two.avi words\n"
    )
    rows = rows_of(tmp_path, text)
    assert detect(tmp_path / "listing") == "path-label"
    assert clips(rows) == [
        ("drinking (31).mp4", ("1",)),
        ("some/dir/c.MP4", ("0",)),
        ("/abs/a.b.webm", ("playing guitar",)),
        ("x,y.mp4", ("3",)),
        ("u.mp4 two.avi", ("words",)),
    ]
    assert [row.line_number for row in rows] == [1, 2, 3, 4, 6]


def test_path_label_lines_that_cannot_be_read(tmp_path: Path) -> None:
    text = "a.mp4 1\nb.mp4 2\nc.mp4 3\nd.mp4\ne.mp4 120 4\nframes/f 163 1\n"
    rows = rows_of(tmp_path, text)
    assert len(clips(rows)) == 3
    bare, several, frames = faults(rows)
    assert bare == "a row is the path of a media file, a blank and a label, as in a.mp4 3"
    assert several.startswith("several numbers, '120 4', are behind the path")
    assert "folders of frames, which are not media" in frames


def test_other_lists_are_not_taken_for_path_label(tmp_path: Path) -> None:
    for name, text, format in (
        ("trainlist01.txt", "YoYo/v_YoYo_g08_c01.avi 1\n", "ucf101"),
        ("dive_test_split1.txt", "a_dive_f_cm_np1_ri_bad_32.avi 1 \n", "hmdb51"),
        ("list.tsv", "path\tlabel\na.mp4\tx\n", "table"),
        ("vgg.csv", "abcdefghijk_000030.mp4,playing a harp\n" * 3, "vggsound"),
    ):
        (tmp_path / name).write_text(text)
        assert detect(tmp_path / name) == format


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dir/a 163 1\ndir/b 20 2\n",
            "PATH NUM_FRAMES LABEL name folders of frames, which are not",
        ),
        ("c.mp4\na,b.mp4\n", "its lines are names of files alone: put a line `path` above them"),
        ("a.mp4;dog\nb.mp4;cat\n", 'it is separated by ";": write a first line that names its'),
        (
            "a.mp4,dog,3\nb.mp4,cat,4\n",
            "it has no header: put a line above its lines that names its",
        ),
        ("hello\nworld\n", "`avdata build --formats` shows all formats; choose one with --format"),
    ],
)
def test_a_listing_that_fits_nothing_gets_a_short_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "listing"
    path.write_text(text)
    with pytest.raises(ListingError, match=message) as caught:
        detect(path)
    assert len(str(caught.value)) - len(str(path)) < 300


def test_format_lines_name_every_format_once() -> None:
    from avdata.sources import SOURCES

    assert [line.split()[0] for line in format_lines()] == list(SOURCES)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_with_and_without_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "listing"
    path.write_bytes("path,label\na.mp4,dog\n".encode(encoding))
    with pytest.raises(ListingError, match=r"is UTF-16 text; save it as UTF-8$"):
        detect(path)
    with pytest.raises(ListingError, match=r"is UTF-16 text; save it as UTF-8$"):
        read_listing(path, "table")


def test_semicolons_separate_where_the_header_has_no_comma(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 'path;label\na.mp4;"Hund; bellt"\nb.mp4;Katze, faucht\n')
    assert clips(rows) == [("a.mp4", ("Hund; bellt",)), ("b.mp4", ("Katze, faucht",))]
    rows = rows_of(tmp_path, "path;start_s\na.mp4;1,5\n")
    assert faults(rows) == ["start_s is '1,5'; it must be seconds, such as 30 or 30.5"]


class TestLineEndsInQuotes:
    def test_they_are_read_as_spaces(self, tmp_path: Path) -> None:
        text = 'path,label\na.mp4,"a dog\nbarks, twice\r\n\n at ""me"""\nb.mp4,cat\n'
        rows = rows_of(tmp_path, text)
        assert clips(rows) == [
            ("a.mp4", ('a dog barks, twice at "me"',)),
            ("b.mp4", ("cat",)),
        ]
        assert [row.line_number for row in rows] == [2, 6]
        repairs = [row.repair for row in rows if isinstance(row, ListedClip)]
        assert repairs == ["line ends inside quotes were read as spaces", ""]

    def test_lost_quotes_never_swallow_a_row(self, tmp_path: Path) -> None:
        text = 'path,label\na.mp4,"dog\nb.mp4,cat\nc.mp4,bird"\nd.mp4,cow\n'
        rows = rows_of(tmp_path, text)
        assert clips(rows) == [("b.mp4", ("cat",)), ("d.mp4", ("cow",))]
        assert len(faults(rows)) == 2
        assert all("a cell holds a line end, or a quote is lost" in f for f in faults(rows))

    def test_two_lost_quotes_side_by_side(self, tmp_path: Path) -> None:
        rows = rows_of(tmp_path, 'path,label\na.mp4,"dog\nb.mp4,cat"\n')
        assert (clips(rows), len(faults(rows))) == ([], 2)

    def test_a_quote_that_never_closes_costs_one_row(self, tmp_path: Path) -> None:
        filler = "".join(f"{i}.mp4,cat\n" for i in range(100))
        rows = rows_of(tmp_path, f'path,label\na.mp4,"dog\n{filler}')
        assert (len(clips(rows)), len(faults(rows))) == (100, 1)
        text = 'path,label\na.mp4,"' + "words\n" * 200
        rows = rows_of(tmp_path, text)
        assert (len(clips(rows)), len(faults(rows))) == (0, 200)


MIDS = '"/m/09x0r,/t/dd00088"'


@pytest.mark.parametrize(
    ("line", "repair"),
    [
        (f"=-0DdlOuIFUI,30,40,{MIDS}", "the id was taken out of a spreadsheet's formula"),
        (f'"=""-0DdlOuIFUI""",30,40,{MIDS}', "the id was taken out of"),
        (f"'-0DdlOuIFUI,30,40,{MIDS}", "the id was taken out of"),
        ('-0DdlOuIFUI,30,40," ""/m/09x0r","/t/dd00088"""', "quotes and separators that a"),
        ("-0DdlOuIFUI,30,40,/m/09x0r,/t/dd00088", "quotes and separators that a spreadsheet"),
        (f"-0DdlOuIFUI,30,40,{MIDS},,", "quotes and separators that a spreadsheet changed"),
        (f"-0DdlOuIFUI;30,000;40,000;{MIDS}", "quotes and separators that a spreadsheet changed"),
        (f"-0DdlOuIFUI;30;40;{MIDS}", "quotes and separators that a spreadsheet changed"),
        (
            '"-0DdlOuIFUI, 30.000, 40.000, ""/m/09x0r,/t/dd00088"""',
            "quotes and separators that a spreadsheet changed were put back",
        ),
        (
            "=-0DdlOuIFUI,30,40,/m/09x0r,/t/dd00088",
            "put back and the id was taken out of a spreadsheet's formula or forced text",
        ),
    ],
)
def test_spreadsheet_damage_that_a_row_undoes_itself(
    tmp_path: Path, line: str, repair: str
) -> None:
    intact = f"# YTID, start_seconds, end_seconds, positive_labels\n-0DdlOuIFUI, 30, 40, {MIDS}\n"
    (clip,) = rows_of(tmp_path, intact)
    assert isinstance(clip, ListedClip)
    assert (clip.source_id, clip.labels, clip.repair) == ("-0DdlOuIFUI", ("Speech", "Gush"), "")
    (row,) = rows_of(tmp_path, intact.splitlines()[0] + f"\n{line}\n")
    assert isinstance(row, ListedClip)
    assert repair in row.repair
    for name in ("source_id", "labels", "listed_start_s", "listed_end_s"):
        assert getattr(row, name) == getattr(clip, name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"#NAME?,30,40,{MIDS}", "a spreadsheet replaced it"),
        (f"1.23457E+10,30,40,{MIDS}", "id is '1.23457E"),
        (f"=SUM(A1:A22),30,40,{MIDS}", "a spreadsheet made it a formula"),
        (f"=A1+B2,30,40,{MIDS}", "a spreadsheet made it a formula"),
        ('-0DdlOuIFUI,30,40,"/m/09x0r,/t/dd0', "odd number of quotes"),  # cut: not a known id
        ('-0DdlOuIFUI,30,40,"/m/09x0r,x"y', "quotes cannot be understood"),
    ],
)
def test_spreadsheet_damage_that_lost_something(tmp_path: Path, line: str, message: str) -> None:
    rows = rows_of(tmp_path, f"# YTID, start_seconds\n{line}\n")
    assert len(rows) == 1
    assert message in faults(rows)[0]


def test_other_lists_of_hosted_videos_undo_formulas(tmp_path: Path) -> None:
    for text in (
        "label,youtube_id,time_start,time_end\ndog,=-0DdlOuIFUI,1,2\n",
        "'-0DdlOuIFUI,30,dog,train\n",
    ):
        format = "kinetics" if "youtube_id" in text else "vggsound"
        (row,) = rows_of(tmp_path, text, format)
        assert isinstance(row, ListedClip)
        assert row.source_id == "-0DdlOuIFUI"
        assert row.repair == "the id was taken out of a spreadsheet's formula or forced text"
