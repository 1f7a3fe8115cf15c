"""`avdata derive`: the same set as a build with these settings would have made, without media."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.signal import resample_poly

from avdata import ShardSet
from avdata.errors import AvdataError, BuildError
from avdata.features.logmel import stored_log_mel
from avdata.locking import folder_lock
from avdata.schema import DatasetSpec
from avdata.shards.foreign_set import INDEX_SOFTWARE
from avdata.shards.set_tables import write_tables
from avdata.shards.sidecar import read_sidecar

SETTINGS = ("shards.clips_per_shard=3", "video.short_side_px=32", "video.fps=8")
"""Of the set that the fixture `built` gives."""

OTHER_LOGMEL = (
    "logmel.num_mels=40",
    "logmel.mel_scale=slaney",
    "logmel.hop_samples=320",
    "logmel.n_fft=512",
    "logmel.win_samples=400",
)


def derive(run: Callable, source: Path, out: Path, *settings: str, workers: int = 1) -> Path:
    words = [w for s in settings for w in ("--set", s)]
    done = run("derive", source, "--out", out, "--workers", workers, *words, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["out"] == str(out)
    assert run("verify", out).exit_code == 0
    return out


def sums(folder: Path) -> list[str]:
    return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*.tar"))]


def rows(folder: Path, table: str = "manifest") -> list[dict]:
    found: list[dict] = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return found


def spec(folder: Path) -> dict:
    return ShardSet(folder).spec.model_dump(exclude={"build_hash"})


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ((), OTHER_LOGMEL),
        ((), ("logmel.preset=avid",)),
        (("frames.codec=h264",), OTHER_LOGMEL),
        (("audio.layout=stereo",), OTHER_LOGMEL),
        (('fields=["frames","audio"]',), ("logmel.num_mels=80",)),
        ((), ('fields=["frames","audio"]',)),
    ],
    ids=["logmel", "preset", "h264", "stereo", "logmel is new", "logmel is left out"],
)
def test_bytes_and_rows_are_those_of_a_direct_build(
    base: tuple[str, ...], settings: tuple[str, ...], build: Callable, run: Callable, tmp_path: Path
) -> None:
    source = build(tmp_path / "source", *base)
    derived = derive(run, source, tmp_path / "derived", *settings)
    kept = [text for text in base if not text.startswith("fields=")]
    direct = build(tmp_path / "direct", *kept, *settings)
    assert len(sums(direct)) == 3
    assert sums(derived) == sums(direct)
    assert rows(derived) == rows(direct)
    assert rows(derived, "rejects") == rows(direct, "rejects") != []
    assert spec(derived) == spec(direct)
    assert run("diff", direct, derived).exit_code == 0


def test_workers_do_not_change_a_byte_and_the_second_run_makes_nothing(
    built: Path, run: Callable, tmp_path: Path
) -> None:
    one = derive(run, built, tmp_path / "one", *OTHER_LOGMEL)
    two = derive(run, built, tmp_path / "two", *OTHER_LOGMEL, workers=2)
    assert sums(one) == sums(two)
    words = [w for s in OTHER_LOGMEL for w in ("--set", s)]
    again = run("derive", built, "--out", two, *words)
    assert "3 shards (0 made now)" in again.stdout
    assert "8/8" in again.stderr  # the bar counts shards that were there


def test_it_goes_on_after_it_was_stopped(built: Path, run: Callable, tmp_path: Path) -> None:
    out = derive(run, built, tmp_path / "out", *OTHER_LOGMEL)
    before, tables = sums(out), rows(out)
    (out / "dataset.json").unlink()
    (out / "manifest.parquet").unlink()
    (out / "shard-000001.json").unlink()
    (out / "shard-000002.tar").unlink()
    (out / "shard-000000.tar.partial-00000000").write_bytes(b"x")
    times = (out / "shard-000000.tar").stat().st_mtime_ns
    derive(run, built, out, *OTHER_LOGMEL)
    assert sums(out) == before
    assert rows(out) == tables
    assert (out / "shard-000000.tar").stat().st_mtime_ns == times
    assert not list(out.glob("*.partial*"))


def test_log_mel_of_a_lower_rate(built: Path, run: Callable, tmp_path: Path) -> None:
    """Against another resampler; the sound itself stays."""
    out = derive(
        run, built, tmp_path / "out", "logmel.sample_rate_hz=16000", "logmel.fmax_hz=8000",
        "logmel.hop_samples=160", "logmel.log_floor=1e-6", "logmel.num_mels=40",
    )  # fmt: skip
    old, new = ShardSet(built), ShardSet(out)
    assert new.spec.logmel is not None
    for sample in range(len(new)):
        sound = old.read_audio(sample)
        assert new.read_bytes(sample, "audio") == old.read_bytes(sample, "audio")
        there = resample_poly(sound.astype(np.float64), 2, 3, axis=1)
        reference = stored_log_mel(np.clip(there, -32768, 32767).astype(np.int16), new.spec.logmel)
        got = new.read_logmel(sample)
        assert got.shape == reference.shape
        # the two resamplers differ at the edges and near half the rate
        inner = np.abs(got.astype(float) - reference)[:, 4:-4, :36]
        assert np.median(inner) < 0.01
        assert np.quantile(inner, 0.99) < 0.5


def test_sound_of_a_lower_rate(built: Path, run: Callable, tmp_path: Path) -> None:
    out = derive(run, built, tmp_path / "out", "audio.sample_rate_hz=16000", "logmel.preset=ast")
    old, new = ShardSet(built), ShardSet(out)
    assert new.spec.audio is not None and new.spec.logmel is not None
    assert (new.spec.audio.sample_rate_hz, new.spec.logmel.hop_samples) == (16000, 160)
    for sample in range(len(new)):
        sound, before = new.read_audio(sample), old.read_audio(sample)
        assert sound.shape[1] == round(before.shape[1] * 2 / 3)
        assert np.array_equal(new.read_logmel(sample), stored_log_mel(sound, new.spec.logmel))
        # another resampler keeps the same below 6.5 kHz; above, their filters end differently
        reference = np.fft.rfft(resample_poly(before.astype(np.float64), 2, 3, axis=1))
        below = slice(0, int(6500 / 8000 * reference.shape[1]))
        error = (np.fft.rfft(sound) - reference)[:, below]
        assert np.linalg.norm(error) < 0.01 * np.linalg.norm(reference[:, below])
        assert new.read_meta(sample)["sample_rate_hz"] == 16000
        assert new.read_bytes(sample, "frames") == old.read_bytes(sample, "frames")
    unchanged = [c for c in rows(out)[0] if "bytes" not in c and "num_" not in c]
    assert [[row[c] for c in unchanged] for row in rows(out)] == [
        [row[c] for c in unchanged] for row in rows(built)
    ]


def test_fields_can_be_left_out(built: Path, run: Callable, tmp_path: Path) -> None:
    out = derive(run, built, tmp_path / "out", 'fields=["audio"]')
    new = ShardSet(out)
    assert new.spec.fields == ("audio",)
    assert (new.spec.video, new.spec.logmel, new.spec.logmel_statistics) == (None, None, None)
    assert new.read_meta(0)["frame_times_s"] is None
    assert new.read_bytes(0, "audio") == ShardSet(built).read_bytes(0, "audio")
    back = derive(run, out, tmp_path / "back", "logmel.num_mels=128")
    assert [ShardSet(back).read_bytes(i, "logmel") for i in range(7)] == [
        ShardSet(built).read_bytes(i, "logmel") for i in range(7)
    ]


def test_clips_that_are_too_short_are_rejected(
    tiny_set: Path, run: Callable, tmp_path: Path
) -> None:
    out = derive(run, tiny_set, tmp_path / "out", "logmel.n_fft=10000")  # of 4, 6 and 8 thousand
    assert [row["key"] for row in rows(out)] == ["clip_1", "clip_2"]
    (found,) = [row for row in rows(out, "rejects") if row["row_index"] == 0]
    assert found["message"] == "4000 audio samples; log-mel with n_fft=10000 needs more than 5000"
    assert (found["reason"], found["labels"], found["split"]) == ("too_short", ["cat"], "train")
    assert ShardSet(out).spec.num_rejected == 4


def test_a_set_may_come_out_empty_as_a_build_does(
    built: Path, listing: Path, run: Callable, tmp_path: Path
) -> None:
    derived = derive(run, built, tmp_path / "derived", "logmel.n_fft=131072")
    words = [w for s in (*SETTINGS, "logmel.n_fft=131072") for w in ("--set", s)]
    direct = tmp_path / "direct"
    done = run("build", "--source", listing, "--out", direct, "--workers", 0, *words)
    assert done.exit_code == 3
    assert sums(derived) == sums(direct)
    assert rows(derived) == []
    without_path = [{**row, "path": None} for row in rows(direct, "rejects")[:7]]
    assert rows(derived, "rejects")[:7] == without_path
    assert spec(derived) == spec(direct)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ((), "nothing would change"),
        (("logmel.num_mels=128",), "nothing would change"),
        (("video.fps=8",), "video: unknown setting; allowed here: fields, audio, logmel"),
        (
            ("logmel.num_mels=256", "logmel.n_fft=512", "logmel.win_samples=512"),
            "38 of 256 mel bands hold no bin",
        ),
        (("logmel.num_mels=0",), "logmel.num_mels: Input should be greater"),
        (("logmel.preset=none",), "logmel.preset='none' is unknown"),
        (('fields=["frames","frames"]',), "must name each field once"),
        (("audio.sample_rate_hz=48000",), "is above the 24000 Hz that are stored"),
        (("audio.layout=stereo",), "only sample_rate_hz can be derived"),
        (("audio.sample_rate_hz=16000",), "logmel.sample_rate_hz=24000 is above the rate"),
        (("logmel.sample_rate_hz=48000",), "logmel.sample_rate_hz=48000 is above the rate"),
        (("num_mels",), "must have the form a.b=value"),
    ],
)
def test_settings_that_cannot_be(
    settings: tuple[str, ...], text: str, built: Path, run: Callable, tmp_path: Path
) -> None:
    words = [w for s in settings for w in ("--set", s)]
    done = run("derive", built, "--out", tmp_path / "out", *words)
    assert done.exit_code == 2
    assert text in done.stderr
    assert not (tmp_path / "out").exists()


def test_fields_that_are_not_stored(
    tmp_path: Path, make_tiny_set: Callable[..., Path], run: Callable
) -> None:
    pictures = make_tiny_set(tmp_path / "pictures", ("frames",))
    done = run("derive", pictures, "--out", tmp_path / "out", "--set", "logmel.num_mels=64")
    assert "log-mel is made of stored sound, and the set has only ['frames']" in done.stderr
    done = run("derive", pictures, "--out", tmp_path / "out", "--set", 'fields=["audio"]')
    assert "fields: audio are not in the set, which has ['frames']" in done.stderr


def test_damaged_sources_make_nothing(built: Path, run: Callable, tmp_path: Path) -> None:
    out, words = tmp_path / "out", ("--set", "logmel.num_mels=64", "--workers", 1)
    path = built / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = run("derive", built, "--out", out, *words)
    assert done.exit_code == 2
    assert "shard-000001.tar: its bytes are not those that its sidecar states" in done.stderr
    assert f"avdata verify --repair {built}" in done.stderr
    assert (out / "shard-000000.json").exists()
    assert not (out / "shard-000001.tar").exists()
    assert not (out / "dataset.json").exists()
    path.unlink()
    assert "No such file or directory" in run("derive", built, "--out", out, *words).stderr
    (built / "shard-000001.json").unlink()
    assert "it has no sidecar" in run("derive", built, "--out", out, *words).stderr


def test_places_that_cannot_be(built: Path, run: Callable, tmp_path: Path) -> None:
    words = ("--set", "logmel.num_mels=64")
    assert "is the set itself" in run("derive", built, "--out", built, *words).stderr
    other = Path(shutil.copytree(built, tmp_path / "other"))
    assert "holds another set" in run("derive", built, "--out", other, *words).stderr
    (other / "build.json").unlink()
    assert "no readable build.json" in run("derive", built, "--out", other, *words).stderr
    assert "s3://b/x is a URL" in run("derive", "s3://b/x", "--out", other, *words).stderr
    (built / "dataset.json").unlink()
    assert "build is not finished" in run("derive", built, "--out", tmp_path / "x", *words).stderr


def test_other_software_is_recorded(built: Path, run: Callable, tmp_path: Path) -> None:
    path = built / "dataset.json"
    facts = json.loads(path.read_text())
    facts["software"]["numpy"] = "1.0"
    path.write_text(DatasetSpec.model_validate(facts).model_dump_json())
    out = derive(run, built, tmp_path / "out", "logmel.num_mels=64")
    software = ShardSet(out).spec.software
    assert software["numpy"] == "1.0"
    assert software["derive: numpy"] == np.__version__


def test_an_index_of_tars_is_refused(built: Path, run: Callable, tmp_path: Path) -> None:
    path = built / "dataset.json"
    facts = json.loads(path.read_text())
    facts["software"][INDEX_SOFTWARE] = "1"
    path.write_text(json.dumps(facts))
    done = run("derive", built, "--out", tmp_path / "out", "--set", "logmel.num_mels=64")
    assert done.exit_code == 2
    assert "is an index of tars that others made; derive takes sets" in done.stderr


def test_one_run_at_a_time(built: Path, run: Callable, tmp_path: Path) -> None:
    with folder_lock(tmp_path / "out", busy=AvdataError("free when the test starts")):
        done = run("derive", built, "--out", tmp_path / "out", "--set", "logmel.num_mels=64")
    assert "another run is at work in" in done.stderr


def start_with(code: str, source: Path, out: Path, tmp_path: Path) -> "subprocess.Popen[str]":
    """A derive with two workers, each of which first runs `code`."""
    is_worker = "'multiprocessing.spawn' in ' '.join(sys.orig_argv)"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys, time\n"
        # a shell that runs the tests in the background has them ignore interrupts
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"if {is_worker}:\n    {code}\n"
    )
    command = [sys.executable, "-c", "from avdata.cli import main; main()", "derive", str(source)]
    command += ["--out", str(out), "--set", "logmel.num_mels=64", "--workers", "2"]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    )


def test_a_worker_that_dies(built: Path, tmp_path: Path, run: Callable) -> None:
    process = start_with("os._exit(9)", built, tmp_path / "out", tmp_path)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "a worker process died, perhaps for lack of memory; run the same command" in said
    assert not (tmp_path / "out" / "dataset.json").exists()
    derive(run, built, tmp_path / "out", "logmel.num_mels=64")


def test_an_interrupt_is_no_loss(built: Path, tmp_path: Path, run: Callable) -> None:
    process = start_with("time.sleep(4)", built, tmp_path / "out", tmp_path)
    assert process.stderr is not None
    assert "derive" in process.stderr.read(7)  # the bar is there: workers are being started
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on where this one stopped" in said
    derive(run, built, tmp_path / "out", "logmel.num_mels=64")


def test_tables_need_every_shard(built: Path, run: Callable, tmp_path: Path) -> None:
    out = derive(run, built, tmp_path / "out", "logmel.num_mels=64")
    (out / "shard-000002.json").unlink()
    names = [f"shard-{i:06d}.tar" for i in range(3)]
    with pytest.raises(BuildError, match=r"shard-000002.tar was not built; run the same command"):
        write_tables(out, [(name, None) for name in names], [read_sidecar(out, n) for n in names])


def test_a_few_bands_without_a_bin_are_said(built: Path, run: Callable, tmp_path: Path) -> None:
    words = ("--set", "logmel.num_mels=160", "--set", "logmel.n_fft=512")
    words = (*words, "--set", "logmel.win_samples=512", "--workers", 1)
    done = run("derive", built, "--out", tmp_path / "out", *words)
    assert done.exit_code == 0, done.output
    assert "note: 9 of 160 mel bands hold no bin of the FFT" in done.stderr
    words = ("--set", "audio.sample_rate_hz=22050", "--set", 'fields=["frames","audio"]')
    done = run("derive", tmp_path / "out", "--out", tmp_path / "sound", *words, "--workers", 1)
    assert done.exit_code == 0, done.output  # no log-mel is made
    assert "mel bands" not in done.stderr
