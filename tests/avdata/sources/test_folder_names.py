"""What is known of a folder never rules out a file that is there."""

import os
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from avdata.sources.folder_names import FolderNames, hash_stems


def settle(folder: Path, *, seconds_ago: float = 60.0) -> None:
    """Make `folder` look as if it had not changed for a while."""
    when_ns = time.time_ns() - int(seconds_ago * 1e9)
    os.utime(folder, ns=(when_ns, when_ns))


def held(names: FolderNames, folder: Path, *stems: str) -> list[str]:
    return [stems[at] for at in names.may_hold(str(folder), hash_stems(stems))]


def test_media_files_are_known_by_stem(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.1.WAV", "c.txt", "d", ".mp4", "-e.Mp4"):
        (tmp_path / name).touch()
    (tmp_path / "f.mkv").mkdir()
    settle(tmp_path)
    asked = ("a", "b.1", "b", "c", "d", "", "-e", "f", "a.mp4")
    assert held(FolderNames(), tmp_path, *asked) == ["a", "b.1", "", "-e", "f"]


def test_changes_are_seen(tmp_path: Path) -> None:
    names = FolderNames()
    (tmp_path / "a.mp4").touch()
    settle(tmp_path, seconds_ago=60)
    assert held(names, tmp_path, "a", "b") == ["a"]
    (tmp_path / "b.mp4").touch()
    assert "b" in held(names, tmp_path, "a", "b")
    settle(tmp_path, seconds_ago=30)
    time.sleep(0.05)  # longer than the pause after so short a listing
    assert held(names, tmp_path, "a", "b", "c") == ["a", "b"]


def test_a_folder_that_changed_a_moment_ago_rules_nothing_out(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    names = FolderNames()
    assert held(names, tmp_path, "a", "b") == ["a", "b"]
    os.utime(tmp_path, ns=(time.time_ns() + 10**12,) * 2)  # a server whose clock is ahead
    assert held(names, tmp_path, "a", "b") == ["a", "b"]


def test_what_is_no_folder_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    names = FolderNames()
    for path in (tmp_path / "absent", tmp_path / "file", tmp_path / ("x" * 300), Path("a\0b")):
        assert held(names, path, "a") == []
        assert names.subfolders(str(path)) == ()


def test_memory_is_bounded(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    for folder, num_files in ((small, 3), (large, 5)):
        folder.mkdir()
        for index in range(num_files):
            (folder / f"{index}.mp4").touch()
        settle(folder)
    names = FolderNames(max_names=7)
    assert held(names, small, "0", "9") == ["0"]
    assert held(names, large, "0", "9") == ["0", "9"]  # 3 + 5 names are too many
    assert held(names, small, "0", "9") == ["0"]


def test_subfolders_are_sorted_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.mp4").touch()
    (tmp_path / "link").symlink_to("a")
    assert FolderNames().subfolders(str(tmp_path)) == ("a", "b", "link")


STEMS = ("a", "b", "c", "d")


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "ask", "settle"]), st.sampled_from(STEMS)),
        max_size=12,
    )
)
def test_no_history_of_a_folder_hides_a_file(steps: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, names, age_s = Path(name), FolderNames(), 100.0
        for action, stem in steps:
            if action == "add":
                (folder / f"{stem}.mp4").touch()
            elif action == "remove":
                (folder / f"{stem}.mp4").unlink(missing_ok=True)
            elif action == "settle":
                age_s -= 3.0
                settle(folder, seconds_ago=age_s)
            there = {path.stem for path in folder.iterdir()}
            assert there <= set(held(names, folder, *STEMS))
