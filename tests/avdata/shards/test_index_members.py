"""Each member of a third-party tar is in a sample or named in a row, with the true reason."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from click.testing import CliRunner, Result
from foreign_tars import Media, members_of, write_seeded_tar

from avdata import ShardSet
from avdata.cli import main
from avdata.shards.index_names import TarNaming, ending_of
from avdata.synthetic.movie import write_movie

Write = Callable[[Mapping[str, bytes | tarfile.TarInfo]], Path]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["index", *map(str, arguments)], prog_name="avdata")


def verify(directory: Path, *options: str) -> list[str]:
    done = CliRunner().invoke(main, ["verify", str(directory), "--json", *options])
    facts = json.loads(done.stdout.splitlines()[-1])
    return [f"{p['where']}: {p['seen']}; expected {p['expected']}" for p in facts["problems"]]


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of picture and sound."""
    path = tmp_path_factory.mktemp("movie") / "m.mp4"
    write_movie(
        path,
        frames=(np.full((16, 16, 3), 10 * k, np.uint8) for k in range(8)),
        frame_times_s=None,
        fps=Fraction(8),
        sound=np.zeros((8000, 1), np.float32),
        sample_rate_hz=8000,
    )
    return path.read_bytes()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a tar of members, or of headers, in order; the folder that it is in."""

    def tar_of(members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
        folder = tmp_path / "tars"
        folder.mkdir(exist_ok=True)
        with tarfile.open(folder / "a.tar", "w") as tar:
            for name, data in members.items():
                entry = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
                if isinstance(data, bytes):
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
                else:
                    entry.name = name
                    tar.addfile(entry)
        return folder

    return tar_of


def link(target: str, *, hard: bool = False) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type, entry.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, target
    return entry


def indexed(folder: Path, *options: str) -> tuple[ShardSet, Result]:
    done = invoke(folder, "--json", *options)
    assert done.exit_code in (0, 3), done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["members"] == facts["members_in_samples"] + facts["members_in_rows"]
    return ShardSet(folder), done


def labels(shards: ShardSet) -> dict[str, list[str]]:
    return dict(zip(shards.keys, shards.manifest["labels"].to_pylist(), strict=True))


def left_out(shards: ShardSet) -> list[tuple[str | None, str, list[str]]]:
    return [(r["key"], r["reason"], r["members"]) for r in shards.rejects.to_pylist()]


# names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("ID_40.000.mp4", "ID_40.000.json"), (("ID_40.000", "mp4"), ("ID_40.000", "json"))),
        (("T 2.0 (C).mp4", "T 2.1 (D).mp4"), (("T 2.0 (C)", "mp4"), ("T 2.1 (D)", "mp4"))),
        (("X.mp4", "X.info.json"), (("X", "mp4"), ("X", "info.json"))),
        (("X.MP4", "X.JSON"), (("X", "MP4"), ("X", "JSON"))),
        (("x.seg1.mp4", "x.seg1.json"), (("x.seg1", "mp4"), ("x.seg1", "json"))),
        (("i.5.mp4", "i.5.en.vtt"), (("i.5", "mp4"), ("i.5", "en.vtt"))),
        (("k.frames.mkv", "k.audio.flac"), (("k", "frames.mkv"), ("k", "audio.flac"))),
        (("k.mp4", "k.left.wav"), (("k", "mp4"), ("k", "left.wav"))),
        (
            ("v.0001.jpg", "v.0002.jpg", "v.flac"),
            (("v", "0001.jpg"), ("v", "0002.jpg"), ("v", "flac")),
        ),
        (("s.000.jpg", "s.000.wav"), (("s.000", "jpg"), ("s.000", "wav"))),
        (("d.1/k.pyd", "d.1/k.seg.pth"), (("d.1/k", "pyd"), ("d.1/k", "seg.pth"))),
        (("a.wav", "a.x.json"), (("a", "wav"), ("a", "x.json"))),
        (("README", ".x.mp4", "k.", "d/"), (None, None, None, None)),
    ],
)
def test_names(names: tuple[str, ...], expected: tuple[tuple[str, str] | None, ...]) -> None:
    naming = TarNaming(names)
    found = [naming.split(name) for name in names]
    assert tuple(name and (name.key, name.suffix) for name in found) == expected


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.b.JSON", "json"), ("a.info.json", "info.json"), ("d.1/README", ""), ("a.en.vtt", "vtt")],
)
def test_endings_as_they_are_counted(name: str, ending: str) -> None:
    assert ending_of(name) == ending


# cases


def case(shared_data: Path, tmp_path: Path, name: str) -> tuple[ShardSet, Result]:
    done = invoke(shared_data / "cases" / name, "--out", tmp_path / "set", "--json")
    assert done.exit_code == 0, done.output
    assert verify(tmp_path / "set") == []
    return ShardSet(tmp_path / "set"), done


def test_dotted_names(shared_data: Path, tmp_path: Path) -> None:
    shards, done = case(shared_data, tmp_path, "index_dotted_names")
    assert labels(shards) == {
        "Track 2.0 (Clean)": ["clean"],
        "Track 2.1 (Dirty)": ["dirty"],
        "abcdefghijk_40.000": ["dog"],
        "bbcdefghijk_41.000": ["7"],
    }
    assert left_out(shards) == []
    assert "members: 8 = 8 in samples + 0 in rows" in done.stderr
    assert [shards.read_frames(i, [0]).shape[0] for i in range(4)] == [1] * 4


def test_a_dotted_sample_is_inspected_by_its_key(movie: bytes, write: Write) -> None:
    folder = write({"a.5.mp4": movie, "b_4.0.mp4": movie, "b_4.0.json": b'{"x": "y z"}'})
    (folder / "b.tar").write_bytes((folder / "a.tar").read_bytes())
    indexed(folder)
    for key in ("b_4.0", "b/b_4.0"):
        done = CliRunner().invoke(main, ["inspect", str(folder), key])
        assert done.exit_code == 0, done.output
        assert "b_4.0.mp4" in done.stdout
        assert "json" in done.stdout.split("members")[1]


def test_lost_labels(shared_data: Path, tmp_path: Path) -> None:
    shards, _ = case(shared_data, tmp_path, "index_lost_labels")
    assert labels(shards) == {"XX": ["run"], "YY": ["sit"], "ZZ": ["7"], "WW": ["1.5"]}
    assert left_out(shards) == []


def test_not_adjoining(shared_data: Path, tmp_path: Path) -> None:
    shards, done = case(shared_data, tmp_path, "index_not_adjoining")
    assert labels(shards) == {"k1": [], "k2": []}
    assert left_out(shards) == [
        ("k1", "not_adjoining", ["k1.cls"]),
        ("k2", "not_adjoining", ["k2.cls"]),
    ]
    message = shards.rejects["message"][0].as_py()
    assert message == (
        "1 member not read (k1.cls): it does not adjoin the rest of its sample: members of other "
        "samples are in between; write the tar with sorted names (tar --sort=name)"
    )
    assert "members not read (not_adjoining): 2 cls; samples without label: 2 of 2\n" in done.stderr


# what is left out


def test_members_that_no_sample_is_made_of(movie: bytes, write: Write) -> None:
    folder = write(
        {
            "a.mp4": movie,
            "a.json": b'{"label": 1}',
            "a.info.json": b"{}",
            "a.en.vtt": b"",
            "a.jpg": b"",
            "b.mp4": movie,
            "b.json": b"{}",
            "b.info.json": b"{}",
            "README": b"",
            "._b.mp4": b"",
        }
    )
    shards, done = indexed(folder)
    assert labels(shards) == {"a": ["1"], "b": []}
    assert shards.manifest["num_members"].to_pylist() == [2, 2]
    assert left_out(shards) == [
        (None, "not_read", ["README"]),
        (None, "not_read", ["._b.mp4"]),
        (None, "not_read", ["a.info.json", "b.info.json"]),
        (None, "not_read", ["a.en.vtt"]),
        (None, "not_read", ["a.jpg"]),
    ]
    texts = shards.rejects["message"].to_pylist()
    assert "(README): its name has no ending, or begins with a dot; name members KEY." in texts[0]
    assert "2 members not read (a.info.json, b.info.json): its sample is made of other" in texts[2]
    assert "no sample is made of members with that ending; mp4, mkv" in texts[3]
    assert (
        "members not read: 2 info.json, 1 without ending, 1 mp4, 1 vtt, 1 jpg; "
        "samples without label: 1 of 2\n" in done.stderr
    )
    assert verify(folder) == []


def test_links_stand_for_members_of_the_tar(movie: bytes, write: Write) -> None:
    folder = write(
        {
            "m/a.mp4": movie,
            "m/a.cls": b"3",
            "n/hard.mp4": link("m/a.mp4", hard=True),
            "n/hard.cls": link("m/a.cls", hard=True),
            "n/soft.mp4": link("../m/a.mp4"),
            "n/soft.cls": link("hard.cls"),
            "n/outside.mp4": link("/data/x.mp4"),
            "n/outside.cls": b"4",
            "n/unlabeled.mp4": link("hard.mp4"),
            "n/unlabeled.cls": link("../none.cls"),
            "n/circle.mp4": link("circle.mp4"),
        }
    )
    shards, _ = indexed(folder)
    assert labels(shards) == {"m/a": ["3"], "n/hard": ["3"], "n/soft": ["3"], "n/unlabeled": []}
    assert len(set(shards.manifest["frames_offset_bytes"].to_pylist())) == 1
    assert shards.read_frames(2, [3]).shape == (1, 256, 256, 3)
    assert sorted(left_out(shards), key=str) == [
        ("n/circle", "missing_file", ["n/circle.mp4"]),
        ("n/outside", "missing_file", ["n/outside.cls"]),
        ("n/outside", "missing_file", ["n/outside.mp4"]),
        ("n/unlabeled", "missing_file", ["n/unlabeled.cls"]),
    ]
    texts = {tuple(r["members"]): r["message"] for r in shards.rejects.to_pylist()}
    outside = (
        "it is a link that leads to /data/x.mp4, not to a member of this tar; write the tar with "
        "the files themselves (tar --dereference)"
    )
    assert outside in texts["n/outside.mp4",]
    assert texts["n/outside.cls",] == f"its member n/outside.mp4: {outside}"
    assert "a link that leads in a circle" in texts["n/circle.mp4",]
    assert verify(folder) == []


def test_repeated_members(movie: bytes, tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    names = ["a.mp4", "a.cls", "a.MP4", "a.cls", "b.mp4", "a.mp4", "a.cls", "a.txt"]
    data = {"mp4": movie, "txt": b"x"}
    with tarfile.open(tmp_path / "tars" / "a.tar", "w") as tar:
        for i, name in enumerate(names):
            content = data.get(name.lower()[2:], str(i).encode())
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    shards, _ = indexed(tmp_path / "tars")
    assert labels(shards) == {"a": ["1"], "b": []}
    assert left_out(shards) == [
        ("a", "duplicate", ["a.MP4", "a.cls", "a.mp4", "a.cls"]),
        ("a", "not_adjoining", ["a.txt"]),
    ]
    assert "has a member of that name already, which is read" in str(shards.rejects["message"][0])


def test_media_apart_are_no_half_sample(movie: bytes, write: Write) -> None:
    """Pictures of two samples in turns, and sound apart from its video."""
    picture = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    folder = write({f"{k}.{n}.jpg": picture for n in (1, 2) for k in "vw"})
    shards, done = indexed(folder, "--fields", "frames", "--fps", "8")
    assert done.exit_code == 3
    assert left_out(shards) == [
        ("v", "not_adjoining", ["v.1.jpg"]),
        ("w", "not_adjoining", ["w.1.jpg"]),
        ("v", "not_adjoining", ["v.2.jpg"]),
        ("w", "not_adjoining", ["w.2.jpg"]),
    ]
    assert "its member v.2.jpg: it does not adjoin the rest" in str(shards.rejects["message"][0])
    shards, _ = indexed(write({"a.mp4": movie, "b.mp4": movie, "a.wav": b"", "a.jpg": b""}))
    assert shards.keys == ["b"]
    assert [row[1] for row in left_out(shards)] == ["not_adjoining"] * 2


def test_names_that_are_not_utf_8(movie: bytes, write: Write) -> None:
    folder = write({"caf\udce9.mp4": movie, "caf\udce9.cls": b"1", "\udcff": b""})
    shards, _ = indexed(folder)
    assert labels(shards) == {r"caf\xe9": ["1"]}
    assert left_out(shards) == [(None, "not_read", [r"\xff"])]


def test_texts_that_tables_cannot_hold(movie: bytes, write: Write) -> None:
    folder = write({"a.mp4": movie, "a.json": b'{"label": "\\ud800"}', "b.mp4": movie})
    shards, _ = indexed(folder)
    assert shards.keys == ["b"]
    assert left_out(shards) == [("a", "malformed_line", ["a.mp4", "a.json"])]
    assert "its label '\\ud800' holds half of a character" in str(shards.rejects["message"][0])


def test_labels_of_several_json_members(movie: bytes, write: Write) -> None:
    """The plain one counts; of two that are not, neither."""
    folder = write(
        {
            "a.mp4": movie,
            "a.info.json": b'{"label": "x"}',
            "a.JSON": b'{"label": "y"}',
            "b.mp4": movie,
            "b.info.json": b'{"label": "x"}',
            "b.meta.json": b'{"label": "y"}',
        }
    )
    shards, _ = indexed(folder)
    assert labels(shards) == {"a": ["y"], "b": []}
    assert left_out(shards) == [
        (None, "not_read", ["a.info.json", "b.info.json"]),
        (None, "not_read", ["b.meta.json"]),
    ]


# damage


def test_a_damaged_tar_is_a_row(movie: bytes, write: Write, tmp_path: Path) -> None:
    folder = write({"a.mp4": movie, "b.mp4": movie, "c.mp4": movie})
    whole = (folder / "a.tar").read_bytes()
    size = len(movie) + -len(movie) % 512 + 512
    damages = {
        "cut in a header": (whole[: 2 * size + 100], 2, "without an end mark: it was cut or is"),
        "cut in a member": (whole[: 2 * size + 700], 2, "without an end mark: it was cut or is"),
        "no end mark": (whole[: 3 * size], 3, f"the tar ends after {3 * size} bytes without an"),
        "a header": (
            whole[:size] + bytes(100) + whole[size + 100 :],
            1,
            f"the tar is damaged at byte {size}: the {len(whole) - size} bytes from there on are",
        ),
        "joined": (whole * 2, 3, f"more behind the end mark of the tar at byte {3 * size}, which"),
        "compressed": (b"\x1f\x8b" + bytes(600), 0, "it is not a tar ("),
        "empty": (b"", 0, "it is not a tar (empty file"),
    }
    for name, (data, num_samples, text) in damages.items():
        (folder / "a.tar").write_bytes(data)
        shards, done = indexed(folder)
        assert len(shards) == num_samples, name
        assert done.exit_code == (0 if num_samples else 3), name
        row = shards.rejects.to_pylist()[-1]
        assert (row["key"], row["path"], row["reason"]) == (None, "a.tar", "damaged_tar"), name
        assert text in row["message"], name
        assert "damaged: 1 of 1 tars" in done.stderr
        assert verify(folder) == []
        if name == "cut in a member":
            assert left_out(shards)[0] == ("c", "truncated", ["c.mp4"])


def test_a_tar_that_cannot_be_opened(movie: bytes, write: Write) -> None:
    folder = write({"a.mp4": movie})
    (folder / "gone.tar").symlink_to("nowhere")
    shards, _ = indexed(folder)
    assert shards.keys == ["a"]
    row = shards.rejects.to_pylist()[0]
    assert (row["path"], row["reason"]) == ("gone.tar", "damaged_tar")
    assert row["message"] == "the tar cannot be read (No such file or directory)"


# times of frames


def test_packed_b_frames_have_their_play_order(shared_data: Path, tmp_path: Path) -> None:
    """Their presentation times run backwards; each decoded frame is there once, in order."""
    name = "v_ApplyEyeMakeup_g01_c01.avi"
    path = shared_data / "sets" / "ucf101_subset" / "ApplyEyeMakeup" / name
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "a.tar", "w") as tar:
        tar.add(path, name)
    options = ("--fps", "native", "--short-side", "240", "--fields", "frames")
    shards, _ = indexed(tmp_path / "tars", *options)
    row = shards.manifest.slice(0, 1).to_pylist()[0]
    assert (row["num_frames"], row["frame_clock"]) == (164, "sorted")
    assert np.diff(row["frame_times_s"]) == pytest.approx([0.04] * 163, abs=1e-4)
    frames = shards.read_frames(0, range(164)).astype(int)
    with av.open(str(path)) as container:
        decoded = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(decoded) == 164
    assert max(np.abs(f - d).mean() for f, d in zip(frames, decoded, strict=True)) < 2


def test_frames_that_no_trainer_would_get(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "odd" / "edit_list_empty_5s.mov"
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "a.tar", "w") as tar:
        tar.add(path, "a.mov")
    shards, done = indexed(tmp_path / "tars", "--fields", "frames")
    assert done.exit_code == 3
    assert left_out(shards) == [("a", "corrupt", ["a.mov"])]
    message = str(shards.rejects["message"][0])
    assert message == ("the decoder flags frames of the clip as damaged: 1, the first at 5.000 s")


# verify


def test_verify_counts_members(movie: bytes, write: Write) -> None:
    folder = write({"a.mp4": movie, "a.srt": b"1", "b.mp4": movie})
    indexed(folder)
    assert verify(folder, "--quick") == []
    data = bytearray((folder / "a.tar").read_bytes())
    at = data.index(b"a.srt")
    data[at : at + 5] = b"a.vtt"
    data[at + 148 : at + 156] = b"%06o\0 " % (
        sum(data[at : at + 148]) + 8 * 32 + sum(data[at + 156 : at + 512])
    )
    (folder / "a.tar").write_bytes(data)
    assert verify(folder, "--quick") == [
        "rejects.parquet members: 'a.srt'; expected members that a.tar holds; run `avdata index` "
        "again"
    ]
    record = json.loads((folder / "build.json").read_text())
    record["config"]["tars"]["a.tar"]["members_in_samples"] = 3
    (folder / "build.json").write_text(json.dumps(record))
    assert verify(folder, "--quick") == [
        "a.tar members: 2 in manifest.parquet, 1 in rejects.parquet; expected 3 and 1 of 3; run "
        "`avdata index` again"
    ]
    data[at : at + 512] = bytes(512)
    (folder / "a.tar").write_bytes(data)
    indexed(folder)
    data[at : at + 512] = b"x" * 512
    record = json.loads((folder / "build.json").read_text())
    record["config"]["tars"]["a.tar"] = len(data)  # as versions before wrote it
    (folder / "build.json").write_text(json.dumps(record))
    assert verify(folder) == []


# many


@pytest.mark.parametrize("group", range(10))
def test_the_members_of_seeded_tars_add_up(group: int, movie: bytes, tmp_path: Path) -> None:
    """30 tars a group: mixed names, links, repeats and damage."""
    folder = tmp_path / "tars"
    folder.mkdir()
    (tmp_path / "m.mp4").write_bytes(movie)
    media = Media.of(tmp_path / "m.mp4")
    seeds = range(30 * group, 30 * group + 30)
    for seed in seeds:
        write_seeded_tar(folder / f"{seed:03d}.tar", seed, media)
    shards, done = indexed(folder, "--min-duration", "0.2")
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["tars"] == len(seeds) == 30
    tars = json.loads((folder / "build.json").read_text())["config"]["tars"]
    manifest = shards.manifest.select(["key", "shard", "num_members"]).to_pylist()
    rejects = shards.rejects.to_pylist()
    assert not [row for row in rejects if row["reason"] in ("unexpected", "crashed", "timeout")]
    for name, record in tars.items():
        members = members_of(folder / name)
        samples = [row for row in manifest if row["shard"] == name]
        named = Counter(n for row in rejects if row["path"] == name for n in row["members"])
        assert record["members"] == members.total(), name
        assert members.total() == sum(r["num_members"] for r in samples) + named.total(), name
        assert not named - members, name
        keys = tuple(r["key"].removeprefix(f"{name[:-4]}/") + "." for r in samples)
        assert all(member.startswith(keys) for member in members - named), name
    assert verify(folder, "--quick") == []
