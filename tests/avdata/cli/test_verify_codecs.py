"""`avdata verify` of sets whose frames are H.264, the medium's own packets, or of native rate."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avdata.shards.codec import decode_array, encode_array
from avdata.shards.sidecar import read_sidecar, write_sidecar
from avdata.shards.tar_contents import read_contents
from avdata.shards.verify import verify_set

SHARD = "shard-000000.tar"


@pytest.fixture(scope="module", params=["h264", "copy"])
def coded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, build: Callable
) -> Path:
    """A set of that codec."""
    out: Path = build(
        tmp_path_factory.mktemp(request.param) / request.param, f"frames.codec={request.param}"
    )
    return out


def problems(folder: Path) -> list[str]:
    """What is wrong, once the sidecar agrees with the bytes."""
    report = read_sidecar(folder, SHARD)
    assert report is not None
    sha256 = hashlib.sha256((folder / SHARD).read_bytes()).hexdigest()
    write_sidecar(folder, replace(report, sha256=sha256))
    return [str(problem) for problem in verify_set(folder).problems]


def member(folder: Path, suffix: str) -> tuple[int, bytes]:
    where = read_contents(folder / SHARD).samples[1].members[suffix]
    return where.offset, (folder / SHARD).read_bytes()[where.offset : where.offset + where.size]


def overwrite(folder: Path, at: int, data: bytes) -> None:
    with (folder / SHARD).open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.fixture
def damaged(coded: Path, tmp_path: Path) -> Path:
    """A copy of the set to damage."""
    return Path(shutil.copytree(coded, tmp_path / coded.name))


def test_sound_sets(coded: Path, run: Callable) -> None:
    done = run("verify", coded)
    assert done.exit_code == 0, done.output
    assert "ok, every sample decodes (7 clips in 3 shards)" in done.stdout


def test_native_rate(build: Callable, tmp_path: Path, run: Callable) -> None:
    assert run("verify", build(tmp_path / "native", "video.fps=native")).exit_code == 0


def test_zeros_in_the_pictures(damaged: Path) -> None:
    suffix = "frames.mp4" if damaged.name == "h264" else "frames.mkv"
    at, data = member(damaged, suffix)
    start, stop = len(data) // 3, 2 * len(data) // 3
    overwrite(damaged, at + start, bytes(stop - start))
    found = problems(damaged)
    assert found
    assert all(suffix in line for line in found), found
    assert any("decode" in line for line in found), found


def test_a_container_that_is_none(damaged: Path) -> None:
    suffix = "frames.mp4" if damaged.name == "h264" else "frames.mkv"
    at, _ = member(damaged, suffix)
    overwrite(damaged, at, b"\xff" * 200)
    (line,) = problems(damaged)
    assert f"{suffix}: does not decode" in line
    assert "expected whole, undamaged data" in line


def test_an_index_of_another_kind(damaged: Path) -> None:
    at, data = member(damaged, "frames.npy")
    index = decode_array(data)
    overwrite(damaged, at, encode_array(index.view(np.int32 if index.itemsize == 4 else np.int64)))
    (line,) = [line for line in problems(damaged) if "frames.npy" in line]
    assert "array of shape" in line
    assert "expected uint32" in line or "expected float64" in line


def test_an_index_of_other_values(damaged: Path) -> None:
    at, data = member(damaged, "frames.npy")
    index = decode_array(data).copy()
    index[3] += 1
    overwrite(damaged, at, encode_array(index))
    found = [line for line in problems(damaged) if "frames.npy" in line]
    if damaged.name == "h264":
        assert "other offsets than the manifest's" in found[0]
    else:
        assert "times that do not rise" in found[0]


def test_frames_that_show_no_picture_of_the_index(build: Callable, tmp_path: Path) -> None:
    folder = build(tmp_path / "copy", "frames.codec=copy")
    at, data = member(folder, "frames.npy")
    overwrite(folder, at, encode_array(decode_array(data) + 0.01))
    found = [line for line in problems(folder) if "frames" in line]
    assert any("frame_times_s of the manifest are no picture's time" in line for line in found)
    assert any("pictures do not decode, the first at" in line for line in found)


def test_the_members_of_another_codec(coded: Path, damaged: Path) -> None:
    path = damaged / "dataset.json"
    path.write_text(path.read_text().replace(f'"codec": "{coded.name}"', '"codec": "jpeg"'))
    found = [str(problem) for problem in verify_set(damaged, decode=False).problems]
    assert any("expected members ['audio.flac', 'frames.mjpg'" in line for line in found)
