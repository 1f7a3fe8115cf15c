"""Folders of media as listings."""

import os
from pathlib import Path

import pytest

from avdata.errors import ListingError
from avdata.schema import ListedClip, MalformedLine
from avdata.sources import detect, read_listing


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_class_and_split_folders(tmp_path: Path) -> None:
    make(
        tmp_path,
        "dog/b.MP4",
        "dog/a.wav",
        "dog/sub/c.mkv",
        "train/cat/d.webm",
        "Validation/e.avi",
        "top.mp4",
        "notes.txt",
        "mp4",
        "dog/._a.mp4",
        ".cache/x.mp4",
    )
    assert detect(tmp_path) == "folder"

    def clip(line_number: int, name: str, label: str | None, split: str | None) -> ListedClip:
        labels = () if label is None else (label,)
        return ListedClip(
            line_number=line_number, source_id=name, path=name, labels=labels, split=split
        )

    assert list(read_listing(tmp_path)) == [
        clip(1, "Validation/e.avi", None, "Validation"),
        clip(2, "dog/a.wav", "dog", None),
        clip(3, "dog/b.MP4", "dog", None),
        clip(4, "dog/sub/c.mkv", "dog", None),
        clip(5, "top.mp4", None, None),
        clip(6, "train/cat/d.webm", "cat", "train"),
    ]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "a.mp4")
    folder = make(tmp_path / "set", "dog/b.mp4")
    (folder / "cat").symlink_to(tmp_path / "elsewhere")
    (folder / "dog" / "up").symlink_to(folder)
    (folder / "dog" / "self.mp4").symlink_to("self.mp4")
    (folder / "dog" / "gone.mp4").symlink_to("nowhere.mp4")
    assert [row.path for row in read_listing(folder) if isinstance(row, ListedClip)] == [
        "cat/a.mp4",
        "dog/b.mp4",
        "dog/gone.mp4",
        "dog/self.mp4",
    ]


def test_name_that_is_not_utf8_is_malformed(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).touch()
    except OSError:
        pytest.skip("file names: this file system takes only UTF-8")
    (row,) = read_listing(tmp_path)
    assert isinstance(row, MalformedLine)
    assert row.message == "file name 'caf\\\\udce9.mp4' is not UTF-8; rename the file"


def test_folder_without_media(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match="is empty: no media files in it or below"):
        detect(tmp_path)
    make(tmp_path, "readme.txt")
    with pytest.raises(ListingError, match=r"holds \['readme.txt'\]: no media files"):
        detect(tmp_path)
    with pytest.raises(ListingError, match="no media files"):
        read_listing(tmp_path, "folder")


def test_folder_and_file_formats_do_not_mix(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    for format in ("audioset", "kinetics", "vggsound", "table"):
        with pytest.raises(ListingError, match=f"is a folder and format {format} is a file"):
            read_listing(tmp_path, format)
    (tmp_path / "a.mp4").write_text("x")
    with pytest.raises(ListingError, match="is a file and format folder is a folder"):
        read_listing(tmp_path / "a.mp4", "folder")
