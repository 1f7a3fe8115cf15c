"""Files that come later or change: the shards built again equal those of a fresh build."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from avdata import ShardSet
from avdata.build.rebuild import OF_THE_LISTING, RETRY_WHEN, retry_hints
from avdata.cli import main
from avdata.errors import FailureReason
from avdata.synthetic.movie import write_movie

REPOSITORY = Path(__file__).resolve().parents[3]
NAMES = [f"fault_slow-{i}.mp4" for i in range(8)]
"""With tests/faults in PYTHONPATH, decoders take a tenth of a second to open these."""


def movie(path: Path, seed: int, *, duration_s: float = 1.0) -> None:
    pictures = np.random.default_rng(seed).integers(0, 255, (round(25 * duration_s), 4, 6, 3))
    n = np.arange(round(16000 * duration_s))
    write_movie(
        path,
        frames=(np.kron(p.astype(np.uint8), np.ones((16, 16, 1), np.uint8)) for p in pictures),
        frame_times_s=None,
        fps=Fraction(25),
        sound=(0.2 * np.sin(n * 0.05 * (seed % 50 + 1))).astype(np.float32)[:, None],
        sample_rate_hz=16000,
    )


@pytest.fixture(scope="session")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("movies")
    for i, name in enumerate(NAMES):
        movie(folder / name, i)
    return folder


@pytest.fixture
def media(movies: Path, tmp_path: Path) -> Path:
    """Eight movies and their listing, with a line that cannot be read and one repeated."""
    folder = Path(shutil.copytree(movies, tmp_path / "media"))
    lines = ["path,start_s", *(f"{name},0" for name in NAMES), "x.mp4,soon", f"{NAMES[0]},0"]
    (folder / "list.csv").write_text("\n".join(lines))
    return folder


def arguments(media: Path, out: object, *more: object) -> list[str]:
    """A build of five shards of two rows."""
    common = ("--source", media / "list.csv", "--out", out, "--workers", 0)
    sets = ("--set", "shards.clips_per_shard=2", "--set", "video.short_side_px=64")
    return [str(a) for a in ("build", *common, *sets, *more)]


def build(media: Path, out: object, *more: object) -> Result:
    return CliRunner().invoke(main, arguments(media, out, *more))


def facts(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout.strip().splitlines()[-1])
    assert isinstance(value, dict)
    return value


def fault(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("main: error:")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def digests(out: Path) -> dict[str, str]:
    """Of all files of a set; there is nothing else in the folder but locks."""
    names = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}


def reasons(out: Path) -> list[str]:
    return pq.read_table(out / "rejects.parquet")["reason"].to_pylist()


def take_away(media: Path, *numbers: int) -> Path:
    """Move movies out of the folder; returns where they wait."""
    away = media.parent / "away"
    away.mkdir()
    for number in numbers:
        (media / NAMES[number]).rename(away / NAMES[number])
    return away


def bring_back(away: Path, media: Path) -> None:
    for path in away.iterdir():
        path.rename(media / path.name)


# --retry


def test_retried_after_files_came_is_a_fresh_build(media: Path, tmp_path: Path) -> None:
    away = take_away(media, 1, 4, 5)
    first = build(media, tmp_path / "set")
    assert first.exit_code == 0
    assert "3 missing_file: when they are there, --retry missing_file\n" in first.stdout
    before = digests(tmp_path / "set")
    bring_back(away, media)

    untouched = facts(build(media, tmp_path / "set", "--json"))
    assert (untouched["built_shards"], untouched["ok"]) == (0, 5)
    assert digests(tmp_path / "set") == before

    result = build(media, tmp_path / "set", "--retry", "missing_file", "--json")
    retried = facts(result)
    assert (retried["built_shards"], retried["rebuilt_shards"]) == (2, 2)
    assert retried["reasons"] == {"malformed_line": 1, "duplicate": 1}
    assert retried["hints"] == []
    assert "--retry missing_file: 3 rejects built again\n" in result.stderr
    assert facts(build(media, tmp_path / "fresh", "--json"))["rebuilt_shards"] == 0
    assert digests(tmp_path / "set") == digests(tmp_path / "fresh")
    assert len(digests(tmp_path / "set")) == 14  # 5 tars, 5 sidecars, 2 tables, 2 json files
    assert len(ShardSet(tmp_path / "set")) == 8


@pytest.mark.ray
@pytest.mark.slow
def test_retried_by_workers_is_a_fresh_build(media: Path, tmp_path: Path) -> None:
    away = take_away(media, 0, 7)
    facts(build(media, tmp_path / "set", "--json"))
    bring_back(away, media)
    command = arguments(media, tmp_path / "set", "--retry", "missing_file", "--json")
    code = "from avdata.cli import main; main()"
    command[command.index("--workers") + 1] = "2"
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rebuilt_shards"] == 2
    facts(build(media, tmp_path / "fresh", "--json"))
    assert digests(tmp_path / "set") == digests(tmp_path / "fresh")


def test_shards_whose_files_are_still_missing_stay(media: Path, tmp_path: Path) -> None:
    away = take_away(media, 1, 4, 5)
    facts(build(media, tmp_path / "set", "--json"))
    result = build(media, tmp_path / "set", "--retry", "missing_file", "--json")
    assert facts(result)["built_shards"] == 0
    assert "--retry missing_file: nothing is built again, 3 files still missing\n" in result.stderr
    (away / NAMES[4]).rename(media / NAMES[4])
    result = build(media, tmp_path / "set", "--retry", "missing_file", "--json")
    assert facts(result)["built_shards"] == 1
    assert "--retry missing_file: 1 reject built again, 2 files still missing\n" in result.stderr
    assert facts(result)["hints"] == ["2 missing_file: when they are there, --retry missing_file"]


def test_other_reasons_are_built_again_whatever_comes_of_it(media: Path, tmp_path: Path) -> None:
    whole = (media / NAMES[3]).read_bytes()
    (media / NAMES[3]).write_bytes(b"<html>not found</html>" * 99)
    first = build(media, tmp_path / "set", "--json")
    assert facts(first)["hints"] == [
        "1 not_media: when whole files are in their place, --retry not_media"
    ]
    again = facts(build(media, tmp_path / "set", "--retry", "truncated,not_media", "--json"))
    assert (again["rebuilt_shards"], again["ok"]) == (1, 7)
    (media / NAMES[3]).write_bytes(whole)
    again = facts(build(media, tmp_path / "set", "--retry", "truncated,not_media", "--json"))
    assert (again["rebuilt_shards"], again["ok"]) == (1, 8)
    facts(build(media, tmp_path / "fresh", "--json"))
    assert digests(tmp_path / "set") == digests(tmp_path / "fresh")


def test_nothing_to_retry_changes_nothing(media: Path, tmp_path: Path) -> None:
    facts(build(media, tmp_path / "set", "--json"))
    before = digests(tmp_path / "set")
    result = build(media, tmp_path / "set", "--retry", "timeout", "--json")
    assert facts(result)["built_shards"] == 0
    assert "--retry timeout: nothing is built again, no shard holds such rejects\n" in result.stderr
    assert digests(tmp_path / "set") == before


def test_a_first_build_may_name_what_to_retry(media: Path, tmp_path: Path) -> None:
    result = build(media, tmp_path / "set", "--retry", "missing_file", "--json")
    assert (facts(result)["built_shards"], facts(result)["rebuilt_shards"]) == (5, 0)
    assert "--retry" not in result.stderr


@pytest.mark.parametrize("command", ["derive", "noise"])
def test_a_set_made_of_one_that_has_more_clips_now(
    command: str, media: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    away = take_away(media, 1)
    facts(build(media, out, "--json"))
    more = {
        "derive": ["--set", "logmel.num_mels=64"],
        "noise": ["--swap-audio", "0.5", "--all-splits"],
    }
    words = [command, str(out), "--out", str(tmp_path / "made"), *more[command]]
    for _ in range(2):
        assert CliRunner().invoke(main, words).exit_code == 0
    bring_back(away, media)
    facts(build(media, out, "--retry", "missing_file", "--json"))
    message = fault(CliRunner().invoke(main, words))
    assert "holds another set" in message
    assert "one with other clips than now" in message
    assert "give another --out" in message


@pytest.mark.slow
def test_a_killed_retry_is_resumed_by_the_plain_command(media: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    away = take_away(media, 0, 2, 4, 6)
    facts(build(media, out, "--json"))
    bring_back(away, media)
    code = "from avdata.cli import main; main()"
    retry = arguments(media, out, "--retry", "missing_file")
    slow = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests" / "faults")}
    old = (out / "shard-000000.json").read_bytes()
    with subprocess.Popen([sys.executable, "-c", code, *retry], env=slow) as process:
        deadline = time.monotonic() + 60

        def first_is_rebuilt() -> bool:
            sidecar = out / "shard-000000.json"
            return sidecar.exists() and sidecar.read_bytes() != old

        while not first_is_rebuilt() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (out / "dataset.json").exists()
    num_left = len(list(out.glob("shard-*.json")))
    assert num_left < 5
    resumed = facts(build(media, out, "--json"))
    assert (resumed["built_shards"], resumed["rebuilt_shards"]) == (5 - num_left, 0)
    assert resumed["ok"] == 8
    facts(build(media, tmp_path / "fresh", "--json"))
    assert digests(out) == digests(tmp_path / "fresh")


@pytest.mark.parametrize("num_removed", [0, 1, 2])
def test_a_retry_killed_while_it_removes_shards(
    num_removed: int, media: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    away = take_away(media, 1, 4)
    facts(build(media, out, "--json"))
    bring_back(away, media)
    record = json.loads((out / "build.json").read_text())
    assert record["being_removed"] == []
    (out / "build.json").write_text(json.dumps({**record, "being_removed": [0, 2]}))
    (out / "dataset.json").unlink()
    if num_removed:
        (out / "shard-000000.json").unlink()
    if num_removed == 2:
        (out / "shard-000000.tar").unlink()
    resumed = facts(build(media, out, "--json"))
    assert (resumed["built_shards"], resumed["ok"]) == (2, 8)
    facts(build(media, tmp_path / "fresh", "--json"))
    assert digests(out) == digests(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("missing-file", ["'missing-file': no such reason", "did you mean missing_file"]),
        ("missing_file,time_out", ["'time_out': no such reason", "did you mean timeout?"]),
        ("everything", ["no such reason; there are missing_file, not_media, ", "unexpected"]),
        ("", ["'': no such reason; there are missing_file"]),
        ("duplicate", ["the listing itself is at fault", "build it into another --out"]),
    ],
)
def test_reasons_that_cannot_be_retried(
    text: str, texts: list[str], media: Path, tmp_path: Path
) -> None:
    message = fault(build(media, tmp_path / "set", "--retry", text))
    for part in texts:
        assert part in message
    assert not (tmp_path / "set").exists()


def test_hints_are_of_known_reasons() -> None:
    assert not RETRY_WHEN.keys() & OF_THE_LISTING
    hints = retry_hints({"too_short": 3, **dict.fromkeys(RETRY_WHEN, 2)})
    assert len(hints) == len(RETRY_WHEN)
    assert all(
        hint.endswith(f"--retry {FailureReason(reason)}")
        for hint, reason in zip(hints, RETRY_WHEN, strict=True)
    )


# --changed-sources


def test_size_and_time_of_each_source_are_kept(media: Path, tmp_path: Path) -> None:
    facts(build(media, tmp_path / "set", "--json"))
    rows = pq.read_table(tmp_path / "set" / "manifest.parquet").to_pylist()
    assert len(rows) == 8
    for row in rows:
        found = (media / row["media"]).stat()
        assert row["media_bytes"] == found.st_size
        assert row["media_modified_s"] == pytest.approx(found.st_mtime, abs=1e-6)


def change_two(media: Path) -> None:
    """Another movie under the name of two."""
    movie(media / NAMES[2], 100, duration_s=1.4)
    movie(media / NAMES[7], 101, duration_s=1.4)


@pytest.mark.parametrize("finished", [True, False])
def test_another_file_of_the_same_name_is_refused(
    finished: bool, media: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    facts(build(media, out, "--json"))
    if not finished:
        for name in ("dataset.json", "manifest.parquet", "rejects.parquet", "shard-000002.json"):
            (out / name).unlink()
    before = digests(out)
    was = (media / NAMES[2]).stat().st_size
    change_two(media)
    message = fault(build(media, out))
    assert "2 source files changed since the clips were stored" in message
    now = (media / NAMES[2]).stat().st_size
    assert f"(first: {NAMES[2]}, {was} bytes then, {now} now)" in message
    assert f", in 2 of {5 if finished else 4} shards" in message
    assert "--changed-sources rebuild" in message
    assert "--changed-sources keep" in message
    assert digests(out) == before


def test_changed_sources_are_rebuilt(media: Path, tmp_path: Path) -> None:
    facts(build(media, tmp_path / "set", "--json"))
    change_two(media)
    result = build(media, tmp_path / "set", "--changed-sources", "rebuild", "--json")
    assert (facts(result)["rebuilt_shards"], facts(result)["changed_sources"]) == (2, 2)
    assert "2 source files changed" in result.stderr
    assert "in 2 of 5 shards: built again\n" in result.stderr
    facts(build(media, tmp_path / "fresh", "--json"))
    assert digests(tmp_path / "set") == digests(tmp_path / "fresh")
    assert facts(build(media, tmp_path / "set", "--json"))["changed_sources"] == 0


def test_rejects_of_changed_sources_are_built_again_too(media: Path, tmp_path: Path) -> None:
    """A shard away, a span is outside the file until a longer one is in its place."""
    lines = ["path,start_s,end_s", *(f"{name},0,1" for name in NAMES), f"{NAMES[2]},1.5,2.5"]
    (media / "list.csv").write_text("\n".join(lines))
    first = facts(build(media, tmp_path / "set", "--json"))
    assert first["reasons"] == {"outside_media": 1}
    movie(media / NAMES[2], 100, duration_s=3)
    again = facts(build(media, tmp_path / "set", "--changed-sources", "rebuild", "--json"))
    assert (again["rebuilt_shards"], again["ok"]) == (2, 9)
    facts(build(media, tmp_path / "fresh", "--json"))
    assert digests(tmp_path / "set") == digests(tmp_path / "fresh")


def test_changed_sources_are_kept(media: Path, tmp_path: Path) -> None:
    facts(build(media, tmp_path / "set", "--json"))
    before = digests(tmp_path / "set")
    change_two(media)
    result = build(media, tmp_path / "set", "--changed-sources", "keep", "--json")
    assert (facts(result)["built_shards"], facts(result)["changed_sources"]) == (0, 2)
    assert "in 2 of 5 shards: kept as stored\n" in result.stderr
    assert digests(tmp_path / "set") == before


def test_copies_with_other_times_are_told_apart(media: Path, tmp_path: Path) -> None:
    facts(build(media, tmp_path / "set", "--json"))
    os.utime(media / NAMES[5], (1e9, 1e9))
    message = fault(build(media, tmp_path / "set"))
    assert f"1 source file changed since the clips were stored (first: {NAMES[5]}" in message
    assert "of the same size, modified at another time" in message
    assert "Sizes are as they were: were the files copied?" in message


def test_sources_that_have_gone_are_not_changed(media: Path, tmp_path: Path) -> None:
    facts(build(media, tmp_path / "set", "--json"))
    take_away(media, *range(8))
    assert facts(build(media, tmp_path / "set", "--json"))["changed_sources"] == 0


def test_changed_sources_are_found_by_every_way_to_name_them(
    movies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the listing, in the folder of the media, by an absolute path, and from elsewhere."""
    media, lists = tmp_path / "media", tmp_path / "lists"
    (media / "sub").mkdir(parents=True)
    lists.mkdir()
    places = [media / "sub" / "a.mp4", lists / "b.mp4", tmp_path / "c.mp4"]
    for source, place in zip(NAMES, places, strict=False):
        shutil.copy(movies / source, place)
    (lists / "list.csv").write_text(f"path\nsub/a.mp4\nb.mp4\n{places[2]}\n")
    monkeypatch.chdir(tmp_path)
    more = ("--media", "media", "--changed-sources", "keep", "--json")
    for number, place in enumerate([None, *places]):
        if place is not None:
            place.touch()
        assert facts(build(lists, "set", *more))["changed_sources"] == number
