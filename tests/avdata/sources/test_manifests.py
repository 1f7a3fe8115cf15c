"""The packaged facts are those that their README says, and hang together."""

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest

import manifests
from avdata.sources import read_listing
from avdata.sources.packaged import audioset_label, audioset_names, read_subset, subset_names

FOLDER = Path(str(files(manifests)))
ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| (?P<rows>\d+) \| `(?P<sha256>[0-9a-f]{64})` \|", re.M)
NUM_FILES = 10


def readme() -> dict[str, tuple[int, str]]:
    text = (FOLDER / "README.md").read_text()
    return {m["file"]: (int(m["rows"]), m["sha256"]) for m in ROW.finditer(text)}


def test_readme_has_rows_and_checksum_of_every_file() -> None:
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".txt", ".csv", ".tsv"))
    assert len(paths) == NUM_FILES
    found = {}
    for path in paths:
        data = path.read_bytes()
        assert b"\r" not in data
        assert data.endswith(b"\n")
        num_headers = data.startswith(b"index,")
        num_rows = data.count(b"\n") - num_headers
        name = path.relative_to(FOLDER).as_posix()
        found[name] = (num_rows, hashlib.sha256(data).hexdigest())
    assert readme() == found
    assert sum(path.stat().st_size for path in paths) < 300_000


def labels_of(name: str) -> list[str]:
    return (FOLDER / "labels" / name).read_text().splitlines()


@pytest.mark.parametrize(
    ("listing", "name", "num_labels"),
    [
        ("kinetics/kinetics-400_val.csv", "kinetics400.txt", 400),
        ("vggsound/test.csv", "vggsound.txt", 309),
        ("ucf101", "ucf101.txt", 101),
        ("hmdb51_split1", "hmdb51.txt", 51),
        ("esc50/esc50.csv", "esc50.txt", 50),
        ("ave/Annotations.txt", "ave.txt", 28),
    ],
)
def test_labels_are_those_of_the_published_list(
    shared_data: Path, listing: str, name: str, num_labels: int
) -> None:
    rows = read_listing(shared_data / "lists" / listing)
    labels = labels_of(name)
    assert len(set(labels)) == len(labels) == num_labels
    assert labels_in(rows) == set(labels)


def labels_in(rows: object) -> set[str]:
    return {label for row in list(rows) for label in getattr(row, "labels", ())}  # type: ignore[call-overload]


def test_audioset_names(shared_data: Path) -> None:
    names = audioset_names()
    assert len(names) == 527 + 456 - 382  # 382 ids stand in both lists
    assert names["/m/09x0r"] == "Speech"
    assert names["/m/05zppz"] == "Male speech, man speaking"
    assert names["/g/122z_qxw"] == "Firecracker"  # only strong labels have it
    assert names["/m/09ddx"] == "Duck"  # the strong labels call it "Ducks, geese, waterfowl"
    assert audioset_label("/m/unknown") == "/m/unknown"
    rows = read_listing(shared_data / "lists/audioset/eval_segments.csv")
    seen = labels_in(rows)
    assert len(seen) == 527
    assert not any(label.startswith("/") for label in seen)


def test_subsets() -> None:
    assert subset_names() == ["esc10", "kinetics-sounds"]
    sounds = read_subset("kinetics-sounds")
    assert len(set(sounds)) == len(sounds) == 32
    assert set(sounds) < set(labels_of("kinetics400.txt"))
    esc10 = read_subset("esc10")
    assert len(esc10) == 10
    assert set(esc10) < set(labels_of("esc50.txt"))


def test_esc10_is_what_esc50_marks(shared_data: Path) -> None:
    import csv

    with (shared_data / "lists/esc50/esc50.csv").open(newline="") as file:
        marked = {row["category"] for row in csv.DictReader(file) if row["esc10"] == "TRUE"}
    assert marked == set(read_subset("esc10"))
