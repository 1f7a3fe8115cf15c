"""`--labels` and `--split`: which rows are left, and what is said of names that do not occur."""

import json
import logging
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from avdata.cli import main
from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import LabelChoice, ListedRow, read_label_choice, read_listing, select_rows


def clip(line_number: int, *labels: str, split: str | None = None) -> ListedClip:
    return ListedClip(line_number=line_number, source_id="a", labels=labels, split=split)


BAD = MalformedLine(line_number=5, text="x", message="y")
ROWS: list[ListedRow] = [
    clip(1, "playing guitar", split="train"),
    clip(2, "Playing_Harp", "singing", split="train"),
    clip(3, "dog", split="Test"),
    clip(4),
    BAD,
    clip(6, "dog", split="test"),
]


def lines(*labels: str, splits: tuple[str, ...] = (), limit: int | None = None) -> list[int]:
    choice = read_label_choice(labels) if labels else None
    rows = select_rows(iter(ROWS), labels=choice, splits=splits, limit=limit)
    return [row.line_number for row in rows]


def test_no_choice_is_every_row() -> None:
    assert lines() == [1, 2, 3, 4, 5, 6]
    assert lines(limit=2) == [1, 2]


def test_labels_without_regard_to_case_and_underscores() -> None:
    assert lines("playing_guitar") == [1, 5]
    assert lines("PLAYING HARP") == [2, 5]
    assert lines("Singing", "dog") == [2, 3, 5, 6]


def test_splits_without_regard_to_case() -> None:
    assert lines(splits=("TEST",)) == [3, 5, 6]
    assert lines(splits=("train", "test")) == [1, 2, 3, 5, 6]
    assert lines("dog", "singing", splits=("train",)) == [2, 5]


def test_kept_rows_are_as_listed() -> None:
    choice = LabelChoice(named=("singing",))
    assert list(select_rows(ROWS, labels=choice)) == [ROWS[1], BAD]


def test_limit_counts_what_is_left_and_names_are_checked_past_it() -> None:
    assert lines("dog", limit=1) == [3]
    with pytest.raises(ListingError, match=r"'dgo' is no label of the listing \(near: 'dog'\)"):
        lines("playing guitar", "dgo", limit=1)
    assert lines("playing guitar", "dog", limit=1) == [1]


def test_unknown_labels_name_near_ones() -> None:
    message = (
        r"--labels: 'plying guitar' is no label of the listing \(near: 'playing guitar', .*\); "
        r"'zzz' is no label of the listing; the listing has 4 labels"
    )
    with pytest.raises(ListingError, match=message):
        lines("dog", "plying guitar", "zzz")
    with pytest.raises(ListingError, match=r"; and 3 more; the listing has 4 labels"):
        lines(*"12345678")
    with pytest.raises(ListingError, match="--labels 'dog': no row of the listing has a label"):
        list(select_rows([clip(1)], labels=LabelChoice(named=("dog",))))


def test_unknown_splits_name_those_seen() -> None:
    message = r"--split val: the listing has no such split; it has train \(2\), Test \(1\), test"
    with pytest.raises(ListingError, match=message):
        lines(splits=("train", "val"))
    with pytest.raises(ListingError, match="no such split; it names no split"):
        list(select_rows([clip(1)], splits=("train",)))


def test_label_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(b"\xef\xbb\xbf# mine\r\ndog\r\n\r\n  singing \r\n")
    assert read_label_choice([f"@{path}"]) == LabelChoice(named=("dog", "singing"))
    assert lines(f"@{path}") == [2, 3, 5, 6]
    path.write_text("# nothing\n")
    with pytest.raises(ListingError, match="has no labels; write one a line"):
        read_label_choice([f"@{path}"])
    path.write_bytes(b"\xff")
    with pytest.raises(ListingError, match=r"cannot be read: .*one label a line"):
        read_label_choice([f"@{path}"])
    with pytest.raises(ListingError, match="cannot be read: No such file"):
        read_label_choice([f"@{tmp_path / 'absent'}"])
    with pytest.raises(ListingError, match=r"--labels '' is no label; .*esc10, kinetics-sounds"):
        read_label_choice([" "])


def test_packaged_subset_may_lack_some_labels(caplog: pytest.LogCaptureFixture) -> None:
    choice = read_label_choice(["Kinetics_Sounds"])
    assert len(choice.packaged) == 32
    assert not choice.named
    with caplog.at_level(logging.WARNING):
        assert [row.line_number for row in select_rows(ROWS, labels=choice)] == [1, 2, 5]
    assert "30 of 32 labels of the subset are not in the listing" in caplog.text
    with pytest.raises(ListingError, match="'blowing nose' is no label of the listing"):
        list(select_rows([clip(1, "dog")], labels=choice))


def test_machine_ids_count_as_their_names() -> None:
    rows = [clip(1, "Speech"), clip(2, "Dog"), clip(3, "/m/0bt9lr"), clip(4, "/m/unheard")]
    for label, expected in (("/m/09x0r", [1]), ("/m/0bt9lr", [2, 3]), ("/m/unheard", [4])):
        chosen = select_rows(rows, labels=read_label_choice([label]))
        assert [row.line_number for row in chosen] == expected


def test_kinetics_sounds_of_kinetics_400(shared_data: Path) -> None:
    path = shared_data / "lists/kinetics/kinetics-400_val.csv"
    choice = read_label_choice(["kinetics-sounds"])
    rows = list(select_rows(read_listing(path), labels=choice, splits=("val",)))
    labels = {row.labels for row in rows if isinstance(row, ListedClip)}
    assert len(labels) == 32
    assert len(rows) == sum(
        line.split(",")[0].strip('"') in choice.packaged for line in path.read_text().splitlines()
    )


def test_rows_are_not_held() -> None:
    def rows() -> Iterator[ListedRow]:
        for number in range(1, 50_001):
            yield clip(number, f"label {number % 400}", split="train")

    choice = read_label_choice(["label 7"])
    tracemalloc.start()
    try:
        num_rows = sum(1 for _ in select_rows(rows(), labels=choice, splits=("train",)))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert num_rows == 125
    assert peak_bytes < 1_000_000  # 50,000 rows are more than ten times that


def dry_run(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(main, ["build", "--dry-run", "--json", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    facts: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return facts


def test_command_line(shared_data: Path) -> None:
    lists = shared_data / "lists"
    facts = dry_run("--source", lists / "hmdb51_split1", "--split", "train", "--labels", "dive")
    assert (facts["format"], facts["listed"], facts["labels"]) == ("hmdb51", 70, 1)
    facts = dry_run("--source", lists / "esc50/esc50.csv", "--labels", "esc10", "--limit", 9)
    assert (facts["format"], facts["listed"]) == ("esc50", 9)
    result = CliRunner().invoke(
        main, ["build", "--source", str(lists / "ave/Annotations.txt"), "--labels", "church bel"]
    )
    assert result.exit_code == 2
    assert "'church bel' is no label of the listing (near: 'Church bell')" in result.stderr


def test_format_names_come_from_the_table() -> None:
    result = CliRunner().invoke(main, ["build", "--help"])
    for name in ("auto", "audioset-strong", "ucf101-2", "yt360", "folder"):
        assert name in result.stdout
    result = CliRunner().invoke(main, ["build", "--source", "x", "--format", "csv"])
    assert result.exit_code == 2
    assert "'csv' is not one of auto, audioset, audioset-strong, kinetics" in result.stderr
