"""`avdata noise`: the set that comes out is whole, and noise.parquet tells the truth about it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds

from avdata import ShardSet
from avdata.errors import AvdataError
from avdata.locking import folder_lock
from avdata.shards.foreign_set import INDEX_SOFTWARE

WORDS = ("--swap-audio", 0.6, "--duplicate", 0.4, "--seed", 1, "--all-splits")
"""Of 7 clips: 4 sounds change places, 3 clips are twice."""


def noisy(run: Callable, source: Path, out: Path, *words: object) -> dict:
    done = run("noise", source, "--out", out, *(words or WORDS), "--json")
    assert done.exit_code == 0, done.output
    facts: dict = json.loads(done.stdout.splitlines()[-1])
    checked = run("verify", out)
    assert checked.exit_code == 0, checked.output
    return facts


def truth(folder: Path) -> list[dict]:
    rows: list[dict] = pq.read_table(folder / "noise.parquet").to_pylist()
    return rows


def test_sounds_and_pictures_are_those_that_the_truth_names(
    built: Path, run: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "noisy"
    facts = noisy(run, built, out)
    assert (facts["clips"], facts["swapped"], facts["duplicated"]) == (10, 4, 3)
    assert (facts["shards"], facts["out"]) == (4, str(out))
    old, new = ShardSet(built), ShardSet(out)
    assert (new.spec.num_clips, new.spec.num_listed, new.spec.num_rejected) == (10, 11, 1)
    assert new.spec.num_sources == old.spec.num_sources + 3
    assert new.spec.build_hash != old.spec.build_hash
    assert new.keys[:7] == old.keys
    told = truth(out)
    assert [row["key"] for row in told] == new.keys
    assert sum(row["swapped"] for row in told[:7]) == 4
    for sample, row in enumerate(told):
        sound = old.keys.index(row["sound_of"])
        picture = sample if sample < 7 else old.keys.index(row["twin"])
        assert row["swapped"] == (sound != picture)
        assert new.read_bytes(sample, "frames") == old.read_bytes(picture, "frames")
        assert new.read_bytes(sample, "audio") == old.read_bytes(sound, "audio")
        assert new.read_bytes(sample, "logmel") == old.read_bytes(sound, "logmel")
        for name in ("silence_fraction", "native_sample_rate_hz"):  # go with the sound
            assert new.manifest[name][sample] == old.manifest[name][sound]
        for name in ("labels", "split", "still_fraction", "num_frames"):  # stay
            assert new.manifest[name][sample] == old.manifest[name][picture]
        if row["twin"] is not None:
            other = new.keys.index(row["twin"])
            assert told[other]["twin"] == row["key"]
            assert new.manifest["source_index"][sample] != new.manifest["source_index"][other]
            assert new.read_bytes(sample, "audio") == new.read_bytes(other, "audio")
    assert new.manifest["source_index"].to_pylist()[7:] == list(range(8, 11))


def test_a_reader_that_knows_nothing_of_avdata_sees_the_noise(
    built: Path, run: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "noisy"
    noisy(run, built, out)
    new = ShardSet(out)
    tars = sorted(str(path) for path in out.glob("*.tar"))
    seen = {s["__key__"]: s for s in wds.WebDataset(tars, shardshuffle=False)}
    assert list(seen) == new.keys
    for sample, key in enumerate(new.keys):
        assert seen[key]["audio.flac"] == new.read_bytes(sample, "audio")
        assert json.loads(seen[key]["meta.json"])["key"] == key


def test_statistics_are_those_of_the_sounds_that_are_there(
    built: Path, run: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "noisy"
    noisy(run, built, out)
    new = ShardSet(out)
    columns = np.concatenate([new.read_logmel(i)[0].astype(np.float64) for i in range(len(new))])
    assert new.spec.logmel_statistics is not None
    np.testing.assert_allclose(new.spec.logmel_statistics.mean, columns.mean(0))
    np.testing.assert_allclose(new.spec.logmel_statistics.std, columns.std(0))


def test_it_goes_on_after_it_was_stopped(built: Path, run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "noisy"
    noisy(run, built, out)
    before = {path.name: path.read_bytes() for path in out.glob("shard-*")}
    times = (out / "shard-000000.tar").stat().st_mtime_ns
    (out / "dataset.json").unlink()
    (out / "shard-000001.json").unlink()
    (out / "shard-000003.tar").unlink()
    (out / "shard-000002.tar.partial-00000000").write_bytes(b"x")
    noisy(run, built, out)
    assert {path.name: path.read_bytes() for path in out.glob("shard-*")} == before
    assert (out / "shard-000000.tar").stat().st_mtime_ns == times


def test_twins_of_a_noisy_set_get_other_names(built: Path, run: Callable, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    noisy(run, built, once, "--duplicate", 1, "--all-splits")
    noisy(run, once, twice, "--duplicate", 1, "--all-splits")
    keys = ShardSet(twice).keys
    assert len(set(keys)) == len(keys) == 28
    assert keys[14] == f"{keys[0]}-twin1"


def test_a_set_without_log_mel(
    make_tiny_set: Callable[..., Path], run: Callable, tmp_path: Path
) -> None:
    source = make_tiny_set(tmp_path / "source", ("frames", "audio"))
    noisy(run, source, tmp_path / "out", "--duplicate", 0.5, "--all-splits")
    assert ShardSet(tmp_path / "out").spec.logmel_statistics is None


def test_wrong_input(
    built: Path, make_tiny_set: Callable[..., Path], run: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def said(*words: object) -> str:
        done = run("noise", *words)
        assert done.exit_code == 2
        assert not (out / "dataset.json").exists()
        text: str = done.stderr
        return text

    assert "swap_audio and duplicate are both 0" in said(built, "--out", out)
    assert "no clips of split 'val'" in said(built, "--out", out, "--duplicate", 1, "--split=val")
    assert "1.5 is not in the range" in said(built, "--out", out, "--swap-audio", 1.5)
    assert "is the set itself" in said(built, "--out", built, "--duplicate", 1)
    assert "s3://b/x is a URL" in said("s3://b/x", "--out", out, "--duplicate", 1)
    pictures = make_tiny_set(tmp_path / "pictures", ("frames",))
    assert "noise needs frames and audio" in said(pictures, "--out", out, "--duplicate", 1)
    other = Path(shutil.copytree(built, tmp_path / "other"))
    assert "holds another set" in said(built, "--out", other, "--duplicate", 1)
    with folder_lock(out, busy=AvdataError("free when the test starts")):
        assert "another run is at work" in said(built, "--out", out, "--duplicate", 1)
    path = other / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    text = said(other, "--out", out, "--duplicate", 1)
    assert "shard-000001.tar: its bytes are not those that its sidecar states" in text
    shutil.rmtree(out)
    facts = json.loads((other / "dataset.json").read_text())
    facts["software"][INDEX_SOFTWARE] = "1"
    (other / "dataset.json").write_text(json.dumps(facts))
    assert "is an index of tars that others made" in said(other, "--out", out, "--duplicate", 1)


@pytest.mark.parametrize("name", ["shard-000001.tar", "shard-000001.json"])
def test_missing_parts_of_the_source(name: str, built: Path, run: Callable, tmp_path: Path) -> None:
    (built / name).unlink()
    done = run("noise", built, "--out", tmp_path / "out", "--duplicate", 1)
    assert done.exit_code == 2
    assert "run `avdata verify --repair" in done.stderr
