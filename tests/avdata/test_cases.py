"""Inputs that were stored wrongly once, made after public bug reports: each comes out right.

One test per folder of `cases`, each with the command that its README names.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from avdata.cli import main

TESTED = frozenset(
    name.removeprefix("test_")
    for name in (
        "test_antiphase_stereo",
        "test_concealed_damage",
        "test_csv_line_end_in_quotes",
        "test_index_dotted_names",
        "test_index_lost_labels",
        "test_index_not_adjoining",
        "test_listing_forms",
        "test_mel_empty_bands",
        "test_other_matrices",
        "test_out_cannot_be_made",
        "test_sound_changes_format",
        "test_table_unknown_columns",
        "test_trimmed_file_too_long",
        "test_ts_clock_wraps",
        "test_vfr_long_gaps",
    )
)
ELSEWHERE = frozenset({"sync_video_too_short"})
"""Tested where the trainer's applications are."""

Row = dict[str, Any]


@pytest.fixture(scope="session")
def cases(shared_data: Path) -> Path:
    folder = shared_data / "cases"
    if not folder.is_dir():
        pytest.skip(f"shared data: no folder {folder}")
    return folder


def avdata(*words: object, code: int | None = 0) -> Result:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert code is None or done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def build(
    case: Path, out: Path, *words: object, code: int = 0
) -> tuple[dict[str, Row], dict[str, Row], str]:
    """Rows and rejects by key, and what was printed."""
    small = ("--set", "video.short_side_px=64", "--workers", "0")
    listing = ("--source", case / "listing.csv", "--media", case)
    done = avdata("build", *listing, "--out", out, *small, *words, code=code)
    return *rows(out), done.stdout + done.stderr


def rows(out: Path) -> tuple[dict[str, Row], dict[str, Row]]:
    manifest = pq.read_table(out / "manifest.parquet").to_pylist()
    rejects = pq.read_table(out / "rejects.parquet").to_pylist()
    return {row["key"]: row for row in manifest}, {row["key"]: row for row in rejects}


def test_every_case_is_tested(cases: Path) -> None:
    folders = {path.name for path in cases.iterdir() if path.is_dir()}
    assert folders == TESTED | ELSEWHERE
    assert len(folders) == 16
    assert all(f"test_{name}" in globals() for name in TESTED)


def test_antiphase_stereo(cases: Path, tmp_path: Path) -> None:
    mixed, _, _ = build(cases / "antiphase_stereo", tmp_path / "mixed")
    assert mixed["a"]["silence_fraction"] == 1
    assert mixed["a"]["mono_loss_db"] > 60
    louder, _, _ = build(
        cases / "antiphase_stereo", tmp_path / "louder", "--set", "audio.mono=louder"
    )
    assert louder["a"]["silence_fraction"] < 0.1
    advice = avdata("stats", tmp_path / "mixed").stdout
    assert "audio.mono=louder" in advice


def test_concealed_damage(cases: Path, tmp_path: Path) -> None:
    kept, _, _ = build(cases / "concealed_damage", tmp_path / "kept")
    assert kept["f"]["num_corrupt_frames"] == 22
    assert kept["f"]["num_bad_packets"] == 1
    assert kept["f"]["audio_gap_s"] == pytest.approx(0.021, abs=0.002)
    _, rejects, _ = build(
        cases / "concealed_damage",
        tmp_path / "rejected",
        *("--set", "limits.max_bad_packet_fraction=0.1"),
        code=3,
    )
    assert rejects["f"]["reason"] == "corrupt"
    assert "22 decode with damage" in rejects["f"]["message"]


def test_csv_line_end_in_quotes(cases: Path) -> None:
    listing = cases / "csv_line_end_in_quotes" / "listing.csv"
    done = avdata("build", "--source", listing, "--dry-run", "--json")
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["listed"], facts["reasons"]) == (2, {"duplicate": 1}), facts  # c.mp4 twice


@pytest.mark.parametrize("copied", [False, True])
def test_index_dotted_names(cases: Path, tmp_path: Path, copied: bool) -> None:
    source = cases / "index_dotted_names"
    if copied:
        source = Path(shutil.copytree(source, tmp_path / "with spaces"))
    avdata("index", source, "--out", tmp_path / "out")
    stored, rejects = rows(tmp_path / "out")
    assert len(stored) == 4
    assert all(row["labels"] for row in stored.values())
    assert not rejects


def test_index_lost_labels(cases: Path, tmp_path: Path) -> None:
    done = avdata("index", cases / "index_lost_labels", "--out", tmp_path / "out")
    stored, rejects = rows(tmp_path / "out")
    assert len(stored) == 4
    unlabelled = [row for row in stored.values() if not row["labels"]]
    if unlabelled:
        assert "not read" in done.stdout
        assert rejects


def test_index_not_adjoining(cases: Path, tmp_path: Path) -> None:
    avdata("index", cases / "index_not_adjoining", "--out", tmp_path / "out")
    _, rejects = rows(tmp_path / "out")
    assert rejects
    assert all("no sound among" not in row["message"] for row in rejects.values())
    assert any("--sort=name" in row["message"] for row in rejects.values())


@pytest.mark.parametrize(
    ("name", "said"),
    [("mmaction.txt", "path-label"), ("names.txt", "names of files alone"), ("semicolon.csv", ";")],
)
def test_listing_forms(name: str, said: str, cases: Path) -> None:
    done = avdata("build", "--source", cases / "listing_forms" / name, "--dry-run", code=None)
    assert said in done.output
    assert done.exit_code == 0 or len(done.stderr) < 400


def test_mel_empty_bands(cases: Path, tmp_path: Path) -> None:
    words = ("--set", "logmel.num_mels=256", "--set", "logmel.n_fft=512")
    words += ("--set", "logmel.win_samples=512", "--workers", "0")
    listing = ("--source", cases / "mel_empty_bands" / "listing.csv")
    done = avdata("build", *listing, "--out", tmp_path / "out", *words, code=2)
    assert "38 of 256" in done.stderr


def test_other_matrices(cases: Path, tmp_path: Path) -> None:
    stored, _, _ = build(cases / "other_matrices", tmp_path / "out")
    by_media = {row["media"]: row for row in stored.values()}
    assert by_media["bt2020.mp4"]["color_matrix"] == "bt2020nc"
    assert by_media["pq.mp4"]["color_transfer"] == "smpte2084"
    assert "tone_map" in avdata("stats", tmp_path / "out").stdout


@pytest.mark.parametrize("out", ["/sys/x", "FILE"])
def test_out_cannot_be_made(out: str, cases: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    place = tmp_path / "file" if out == "FILE" else Path(out)
    case = cases / "table_unknown_columns"
    listing = ("--source", case / "listing.csv", "--media", case)
    for words in (("build", *listing), ("index", cases / "index_dotted_names")):
        done = avdata(*words, "--out", place, code=2)
        assert len(done.stderr.strip().splitlines()) == 1


def test_sound_changes_format(cases: Path, tmp_path: Path) -> None:
    stored, _, _ = build(cases / "sound_changes_format", tmp_path / "out")
    durations = {key.split("_")[0] + key[-5:]: row["duration_s"] for key, row in stored.items()}
    assert len(stored) == 3
    whole = [row for row in stored.values() if row["listed_start_s"] is None]
    assert [row["duration_s"] for row in whole] == pytest.approx([8, 8], abs=0.1), durations
    assert all(row["num_audio_forms"] == 2 for row in whole)
    # strikes are heard in both halves alike
    assert all(row["silence_fraction"] < 0.9 for row in whole)
    later = next(row for row in stored.values() if row["listed_start_s"] == 5)
    assert later["duration_s"] == 3


def test_table_unknown_columns(cases: Path) -> None:
    listing = cases / "table_unknown_columns" / "listing.csv"
    said = avdata("build", "--source", listing, "--dry-run").stdout
    assert "passed over: start, end" in said


def test_trimmed_file_too_long(cases: Path, tmp_path: Path) -> None:
    case = cases / "trimmed_file_too_long"
    _, rejects, _ = build(case, tmp_path / "rejected", code=3)
    assert {row["reason"] for row in rejects.values()} == {"longer_than_listed"}
    stored, _, _ = build(case, tmp_path / "last", "--set", "clips.longer_than_listed=last")
    (row,) = stored.values()
    assert row["excess_s"] == pytest.approx(10, abs=0.1)
    assert row["decoded_start_s"] == pytest.approx(10, abs=0.1)
    assert row["duration_s"] == pytest.approx(10, abs=0.1)


def test_ts_clock_wraps(cases: Path, tmp_path: Path) -> None:
    stored, _, _ = build(cases / "ts_clock_wraps", tmp_path / "out")
    assert sorted(row["duration_s"] for row in stored.values()) == [4, 8]
    assert {row["coverage"] for row in stored.values()} == {1}


def test_vfr_long_gaps(cases: Path, tmp_path: Path) -> None:
    stored, rejects, _ = build(cases / "vfr_long_gaps", tmp_path / "out")
    assert not rejects
    durations = {row["source_id"]: row["duration_s"] for row in stored.values()}
    assert durations == {
        "s_3_8": 5,
        "s_11_14": 3,
        "s_whole": 20,
        "one_picture": 10,
        "half_fps": 10,
        "pause_2_8": 6,
        "pause_5_9": 4,
    }
    assert {row["frame_gap_s"] for row in stored.values()} == {0}
