"""Shard sets on S3: built there through faults, read there, trained from there; equal to local."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from avdata import ShardSet, ShardSetError
from avdata.cli import main as avdata_main
from avdata.storage import open_location
from avtrain.cli import main as avtrain_main

SETTINGS = ("shards.clips_per_shard=4", "video.short_side_px=64", "video.fps=8")
FIT = (
    "seed=3",
    "data.batch_size=4",
    "data.loader_threads=3",
    "avid.model=tiny",
    "avid.criterion.num_negatives=8",
    "avid.video.crop_px=32",
    "avid.video.clip_frames=4",
    "avid.video.fps=8",
    "avid.audio.window_s=1.0",
    "avid.audio.frame_rate_hz=50",
    "schedule.max_steps=3",
    "log.every_steps=1",
    "log.tensorboard=false",
)


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments])  # type: ignore[arg-type]


def build_arguments(listing: Path, out: object, *more: object) -> list[str]:
    sets = [part for text in SETTINGS for part in ("--set", text)]
    common = ("build", "--source", listing, "--workers", 0, "--json", *sets)
    return [str(a) for a in (*common, "--out", out, *more)]


@pytest.fixture(scope="session")
def local_set(listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("local") / "set"
    built = run(avdata_main, *build_arguments(listing, out))
    assert built.exit_code == 0, built.output
    return out


def digests(where: Path | str) -> dict[str, str]:
    location = open_location(where)
    names = [name for name in location.sizes() if not name.startswith(".")]
    return {name: hashlib.sha256(location.read(name)).hexdigest() for name in names}


def test_built_and_trained_through_faults_as_locally(
    s3: str,
    local_set: Path,
    listing: Path,
    tmp_path: Path,
    moto_endpoint: str,
    use_store: Callable[[str], None],
    make_faulty: Callable[..., object],
) -> None:
    staging = tmp_path / "staging"
    schedule = make_faulty(rate=0.15, seed=11)
    built = run(avdata_main, *build_arguments(listing, s3, "--staging", staging))
    assert built.exit_code == 0, built.output
    facts = json.loads(built.stdout.splitlines()[-1])
    assert (facts["listed"], facts["ok"], facts["out"]) == (11, 10, s3)
    assert list(staging.iterdir()) == []
    assert sum(schedule.counts.values()) > 3
    sets = [part for text in FIT for part in ("--set", text)]
    far = run(avtrain_main, "fit", s3, "--out", tmp_path / "far", "--device", "cpu", *sets)
    assert far.exit_code == 0, far.output
    assert len(schedule.counts) == 6, schedule.counts

    use_store(moto_endpoint)
    expected = digests(local_set)
    assert len(expected) == 10  # 3 tars with sidecars, 2 tables, build.json, dataset.json
    assert digests(s3) == expected
    near = run(avtrain_main, "fit", local_set, "--out", tmp_path / "near", "--device", "cpu", *sets)
    assert near.exit_code == 0, near.output
    losses = [_losses(tmp_path / name) for name in ("far", "near")]
    assert len(losses[0]) == 3
    assert losses[0] == losses[1]
    record = json.loads((tmp_path / "far" / "run.json").read_text())
    assert record["shards"] == s3


def _losses(run_folder: Path) -> list[float]:
    lines = (run_folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
def test_a_killed_build_goes_on(s3: str, local_set: Path, listing: Path, tmp_path: Path) -> None:
    program = "import sys; from avdata.cli import main; main()"
    command = build_arguments(listing, s3, "--staging", tmp_path)
    location = open_location(s3)
    with subprocess.Popen(
        [sys.executable, "-c", program, *command], stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while "shard-000000.json" not in location.sizes() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    left = location.sizes()
    assert "dataset.json" not in left
    with pytest.raises(ShardSetError, match="its build is not finished; run the same"):
        ShardSet(s3)
    again = run(avdata_main, *command)
    assert again.exit_code == 0, again.output
    facts = json.loads(again.stdout.splitlines()[-1])
    num_there = sum(name.startswith("shard-") and name.endswith(".json") for name in left)
    assert facts["built_shards"] == 3 - num_there < 3
    assert digests(s3) == digests(local_set)
    third = run(avdata_main, *command)
    assert json.loads(third.stdout.splitlines()[-1])["built_shards"] == 0
    assert digests(s3) == digests(local_set)


def test_files_that_came_later_or_changed(s3: str, listing: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(listing.parent, tmp_path / "media"))
    names = [folder / f"clip-{i}.mp4" for i in (0, 5)]
    for name in names:
        name.rename(name.with_suffix(".later"))
    command = build_arguments(folder / listing.name, s3, "--staging", tmp_path / "staging")
    assert json.loads(run(avdata_main, *command).stdout.splitlines()[-1])["ok"] == 8
    for name in names:
        name.with_suffix(".later").rename(name)
    retried = run(avdata_main, *command, "--retry", "missing_file")
    assert retried.exit_code == 0, retried.output
    assert json.loads(retried.stdout.splitlines()[-1])["rebuilt_shards"] == 2
    local = run(avdata_main, *build_arguments(folder / listing.name, tmp_path / "near"))
    assert local.exit_code == 0, local.output
    assert digests(s3) == digests(tmp_path / "near")

    shutil.copy(folder / "clip-1.mp4", folder / "clip-9.mp4")
    refused = run(avdata_main, *command)
    assert refused.exit_code == 2
    assert "1 source file changed" in refused.stderr
    assert digests(s3) == digests(tmp_path / "near")
    rebuilt = run(avdata_main, *command, "--changed-sources", "rebuild")
    assert json.loads(rebuilt.stdout.splitlines()[-1])["rebuilt_shards"] == 1
    assert (
        run(avdata_main, *build_arguments(folder / listing.name, tmp_path / "new")).exit_code == 0
    )
    assert digests(s3) == digests(tmp_path / "new")


def test_another_build_is_not_overwritten(s3: str, listing: Path, tmp_path: Path) -> None:
    command = build_arguments(listing, s3, "--staging", tmp_path, "--limit", 2)
    assert run(avdata_main, *command).exit_code == 0
    other = run(avdata_main, *command, "--set", "video.fps=4")
    assert other.exit_code == 2
    assert f"{s3} holds a build of other settings" in other.stderr
    stray = f"{s3}-stray"
    open_location(stray).write("x.tar", b"1")
    refused = run(avdata_main, *command[:-6], "--out", stray, "--staging", tmp_path)
    assert refused.exit_code == 2
    assert f"{stray} holds tar files and no build.json" in refused.stderr


@pytest.mark.slow
def test_a_store_that_fails_ends_the_build(
    s3: str, listing: Path, tmp_path: Path, make_faulty: Callable[..., object]
) -> None:
    make_faulty(rate=1.0, kinds=("cut",))
    result = run(avdata_main, *build_arguments(listing, s3, "--staging", tmp_path))
    assert result.exit_code == 2
    assert f"{s3}/build.json: 8 attempts failed" in result.stderr
    assert result.stderr.rstrip().endswith("it goes on where this one stopped")


def test_reading_from_afar_is_reading(s3: str, local_set: Path) -> None:
    near, there = ShardSet(local_set), open_location(s3)
    for name in open_location(local_set).sizes():
        if not name.startswith("."):
            there.upload(local_set / name, name)
    far = ShardSet(s3)
    assert far.keys == near.keys
    assert repr(far) == f"ShardSet({s3!r}, 10 clips)"
    for sample in (0, 7, 9):
        assert far.read_jpegs(sample, 3, 6) == near.read_jpegs(sample, 3, 6)
        np.testing.assert_array_equal(
            far.read_frames(sample, [2, 0]), near.read_frames(sample, [2, 0])
        )
        np.testing.assert_array_equal(far.read_audio(sample), near.read_audio(sample))
        np.testing.assert_array_equal(
            far.read_logmel(sample, 9, 30), near.read_logmel(sample)[:, 9:30]
        )
        assert far.read_meta(sample) == near.read_meta(sample)
    assert far.manifest.slice(4, 2).equals(near.manifest.slice(4, 2))
    assert far.manifest.read().equals(near.manifest.read())
    assert far.rejects.equals(near.rejects)
    with pytest.raises(
        ShardSetError, match=r"needs a shard set in a local folder, s3://.* is a URL"
    ):
        _ = far.directory

    there.write(near.shards[0], b"short")
    with pytest.raises(ShardSetError, match=rf"ends before sample .*run `avdata verify {s3}`"):
        far.read_audio(0)
    there.delete(near.shards[0])
    with pytest.raises(ShardSetError, match=rf"shard {s3}/shard-000000.tar: No such file"):
        far.read_audio(0)
    refused = run(avtrain_main, "fit", s3, "--set", "data.batch_size=4")
    assert refused.exit_code == 2
    assert f"shard {s3}/shard-000000.tar is missing" in refused.stderr


def test_inspect_from_afar(s3: str, local_set: Path, tmp_path: Path) -> None:
    there = open_location(s3)
    for name in open_location(local_set).sizes():
        if not name.startswith("."):
            there.upload(local_set / name, name)
    key = ShardSet(local_set).keys[5]

    def both(*arguments: object) -> list[str]:
        results = [run(avdata_main, "inspect", f"{where}", *arguments) for where in (s3, local_set)]
        for result in results:
            assert result.exit_code == 0, result.output
        return [
            r.stdout.replace(str(w), "SET") for r, w in zip(results, (s3, local_set), strict=True)
        ]

    for arguments in ((), ("--json",), (key,), (key, "--json")):
        far, near = both(*arguments)
        assert far == near
    far_tar, near_tar = (
        run(avdata_main, "inspect", f"{where}/shard-000001.tar") for where in (s3, local_set)
    )
    assert far_tar.stdout.splitlines()[1:] == near_tar.stdout.splitlines()[1:]
    png = tmp_path / "far.png"
    assert run(avdata_main, "inspect", s3, key, "--png", png).exit_code == 0
    assert png.read_bytes()[:4] == b"\x89PNG"
    missing = run(avdata_main, "inspect", "s3://clips/nothing")
    assert missing.exit_code == 2
    assert "s3://clips/nothing has no dataset.json: give the URL" in missing.stderr


def test_staging_is_for_urls(listing: Path, tmp_path: Path) -> None:
    result = run(avdata_main, *build_arguments(listing, tmp_path / "set", "--staging", tmp_path))
    assert result.exit_code == 2
    assert "--staging goes with an --out that is a URL" in result.stderr
