"""Every file-name habit, the order among them, and what is said when there is no file."""

import os
import pickle
from pathlib import Path

import pytest

from avdata.errors import FailureReason, MediaError
from avdata.schema import ClipRef
from avdata.sources import MediaResolver, ResolvedMedia


def ref(
    *,
    path: str | None = None,
    source_id: str = "-b_9",
    start_s: float | None = 30.0,
    end_s: float | None = 40.0,
    labels: tuple[str, ...] = (),
    split: str | None = None,
) -> ClipRef:
    return ClipRef(
        row_index=0,
        line_number=1,
        key="key",
        source_id=source_id,
        source_index=0,
        clip_index=0,
        path=path,
        listed_start_s=start_s,
        listed_end_s=end_s,
        labels=labels,
        split=split,
    )


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def resolve(folder: Path, clip: ClipRef) -> ResolvedMedia:
    return MediaResolver(folder, folder.parent).resolve(clip)


# Best first; the last is the whole upload.
STEMS = [
    "-b_9_000030_000040",
    "-b_9_30000_40000",
    "-b_9_000030",
    "-b_9_30_40",
    "-b_9_30",
    "-b_9_30.000",
    "-b_9_30.000_40.000",
    "-b_9_30000",
    "-b_9-30",
    "v_-b_9_000030_000040",
    "-b_9",
    "v_-b_9",
]


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("extension", ["mp4", "MP4", "mkv", "3gp", "wav", "MP3"])
def test_file_name_habits(tmp_path: Path, stem: str, extension: str) -> None:
    path = touch(tmp_path / f"{stem}.{extension}")
    touch(tmp_path / "-b_9_31.mp4")
    trimmed = stem not in ("-b_9", "v_-b_9")
    assert resolve(tmp_path, ref()) == ResolvedMedia(path=path, trimmed=trimmed)


def test_better_names_come_first(tmp_path: Path) -> None:
    for stem in reversed(STEMS):
        path = touch(tmp_path / f"{stem}.wav")
        assert resolve(tmp_path, ref()).path == path
    assert resolve(tmp_path, ref()).path != touch(tmp_path / f"{STEMS[1]}.mp4")
    assert resolve(tmp_path, ref()).path != touch(tmp_path / f"{STEMS[0]}.m4a")
    best = touch(tmp_path / f"{STEMS[0]}.mp4")
    assert resolve(tmp_path, ref()).path == best


@pytest.mark.parametrize("name", ["-b_9_30500_40250.mp4", "-b_9_30.500.mp4"])
def test_fractions_of_seconds(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "-b_9_000030.mp4")
    touch(tmp_path / "-b_9_30_40.mp4")
    path = touch(tmp_path / name)
    clip = ref(start_s=30.5, end_s=40.25)
    assert resolve(tmp_path, clip) == ResolvedMedia(path=path, trimmed=True)


def test_span_without_end_or_start(tmp_path: Path) -> None:
    whole = touch(tmp_path / "-b_9.mp4")
    assert resolve(tmp_path, ref(start_s=None, end_s=None)).path == whole
    path = touch(tmp_path / "-b_9_000030.mp4")
    assert resolve(tmp_path, ref(end_s=None)) == ResolvedMedia(path=path, trimmed=True)


@pytest.mark.parametrize(
    "folder",
    ["", "air drumming", "air_drumming", "val", "val/air drumming", "val/air_drumming", "part07"],
)
def test_folders_that_are_searched(tmp_path: Path, folder: str) -> None:
    path = touch(tmp_path / folder / "-b_9_000030_000040.mp4")
    clip = ref(labels=("/m/0", "..", "air drumming"), split="val")
    assert resolve(tmp_path, clip) == ResolvedMedia(path=path, trimmed=True)


def test_media_beside_the_listing(tmp_path: Path) -> None:
    path = touch(tmp_path / "-b_9.mp4")
    assert MediaResolver(None, tmp_path).resolve(ref()).path == path


def test_only_so_many_sub_folders_are_searched(tmp_path: Path) -> None:
    for index in range(1030):
        (tmp_path / f"class{index:04d}").mkdir()
    touch(tmp_path / "class1023" / "-b_8.mp4")
    touch(tmp_path / "class1029" / "-b_9.mp4")
    assert resolve(tmp_path, ref(source_id="-b_8")).path.parent.name == "class1023"
    with pytest.raises(MediaError, match="and 1024 of its 1030 sub-folders"):
        resolve(tmp_path, ref())
    assert resolve(tmp_path, ref(labels=("class1029",))).path.parent.name == "class1029"


def test_listed_paths(tmp_path: Path) -> None:
    media, listing = tmp_path / "media", tmp_path / "lists"
    beside = touch(listing / "x/a.mp4")
    media.mkdir()
    resolver = MediaResolver(media, listing)
    assert resolver.resolve(ref(path="x/a.mp4")) == ResolvedMedia(path=beside, trimmed=False)
    first = touch(media / "x/a.mp4")
    assert resolver.resolve(ref(path="x/a.mp4")).path == first
    assert resolver.resolve(ref(path=str(beside))).path == beside
    assert resolver.resolve(ref(path="../lists/x/a.mp4")).path.samefile(beside)
    assert MediaResolver(None, listing).resolve(ref(path="x/a.mp4")).path == beside


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.mp4", r"no file for path 'gone.mp4'; looked for .*/media/gone.mp4: No such file"),
        ("folder.mp4", r"folder.mp4: is a folder, not a regular file"),
        ("pipe.mp4", r"pipe.mp4: is a pipe, socket or device, not a regular file"),
        ("/dev/null", r"/dev/null: is a pipe, socket or device"),
        ("loop.mp4", r"Too many levels of symbolic links"),
        ("x" * 300, r"File name too long"),
        ("a\0b.mp4", r"holds NUL"),
        ("\ud800.mp4", r"no file for path '\\ud800.mp4'"),
    ],
)
def test_listed_path_without_file(tmp_path: Path, path: str, message: str) -> None:
    media = tmp_path / "media"
    (media / "folder.mp4").mkdir(parents=True)
    (media / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(media / "pipe.mp4")
    with pytest.raises(MediaError, match=message) as caught:
        resolve(media, ref(path=path))
    assert caught.value.reason is FailureReason.MISSING_FILE
    caught.value.message.encode("utf-8")


def test_id_without_file(tmp_path: Path) -> None:
    (tmp_path / "-b_9.mp4").mkdir()
    message = (
        r"no file for id '-b_9' \[30.0, 40.0\); looked for -b_9_000030_000040, .*, -b_9 with "
        r"extensions mp4 mkv .*, also after v_, in .*-b_9.mp4 is a folder, not a regular file"
    )
    with pytest.raises(MediaError, match=message) as caught:
        resolve(tmp_path, ref())
    assert caught.value.reason is FailureReason.MISSING_FILE
    with pytest.raises(MediaError, match="no file for id"):
        resolve(tmp_path / "absent", ref())
    for source_id in ("../x", "a\0b"):
        with pytest.raises(MediaError, match="holds '/' or NUL"):
            resolve(tmp_path, ref(source_id=source_id))


def test_resolver_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    path = touch(tmp_path / "sub" / "-b_9.mp4")
    resolver = MediaResolver(tmp_path, tmp_path)
    for candidate in (resolver, pickle.loads(pickle.dumps(resolver))):
        assert candidate.resolve(ref()).path == path
    assert pickle.loads(pickle.dumps(resolver)).resolve(ref()).path == path


def test_real_trimmed_files(shared_data: Path) -> None:
    resolver = MediaResolver(shared_data / "sets/av_events", shared_data)
    found = resolver.resolve(ref(source_id="0nib7bMm8BA", start_s=15.0, end_s=25.0))
    assert found.trimmed
    assert found.path.name == "0nib7bMm8BA_15000_25000.mp4"


def test_names_with_a_letter_before_a_hosted_id(tmp_path: Path) -> None:
    whole = touch(tmp_path / "wav" / "Y-abc_efghij.wav")
    clip = ref(source_id="-abc_efghij")
    assert resolve(tmp_path, clip) == ResolvedMedia(path=whole, trimmed=False)
    cut = touch(tmp_path / "wav" / "Y-abc_efghij_30.000_40.000.wav")
    assert resolve(tmp_path, clip) == ResolvedMedia(path=cut, trimmed=True)
    touch(tmp_path / "Y-b_9.mp4")
    with pytest.raises(MediaError, match=r"also after v_, in"):
        resolve(tmp_path, ref())
    with pytest.raises(MediaError, match=r"also after v_ and Y, in"):
        resolve(tmp_path, ref(source_id="-xyz_efghij"))


def test_of_one_name_a_video_comes_before_a_sound(tmp_path: Path) -> None:
    sound = touch(tmp_path / "audio" / "-b_9-30.m4a")
    assert resolve(tmp_path, ref()).path == sound
    video = touch(tmp_path / "video" / "-b_9-30.mp4")
    assert resolve(tmp_path, ref()) == ResolvedMedia(path=video, trimmed=True)


def test_a_file_that_came_after_the_first_clip_is_found(tmp_path: Path) -> None:
    resolver = MediaResolver(tmp_path, tmp_path)
    folder = tmp_path / "sub"
    folder.mkdir()
    for changing in (tmp_path, folder):
        os.utime(changing, (1e9, 1e9))  # long ago, so that what is known of it counts
    with pytest.raises(MediaError, match="no file for id"):
        resolver.resolve(ref())
    path = touch(folder / "-b_9_30.mkv")
    assert resolver.resolve(ref()).path == path
    better = touch(tmp_path / "-b_9_000030_000040.avi")
    assert resolver.resolve(ref()).path == better
    better.unlink()
    assert resolver.resolve(ref()).path == path
