"""Files that downloaders cut to the listed span, under the whole video's name or their own."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from click.testing import CliRunner

from avdata.cli import main


def build(listing: Path, media: Path, out: Path) -> dict[str, dict]:
    """Manifest rows by source."""
    arguments = ["build", "--source", listing, "--media", media, "--out", out, "--workers", 0]
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["rejected"] == 0
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    return {row["source_id"]: row for row in rows}


def test_lines_of_kinetics_with_cut_clips(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "lists/kinetics/kinetics-400_val.csv").read_text().splitlines()
    ids = ("SOX5yA1l24A", "WUzgd7C1pWA")
    chosen = [lines[0], *(line for line in lines if any(name in line for name in ids))]
    assert len(chosen) == 3
    (tmp_path / "list.csv").write_text("\n".join(chosen))
    rows = build(tmp_path / "list.csv", shared_data / "clips", tmp_path / "out")
    assert set(rows) == set(ids)
    for row in rows.values():
        # listed at 299 and 101 s of the whole videos; the files hold 10 s, and a little more
        assert row["trimmed"]
        assert row["labels"] == ["using segway"]
        assert (row["decoded_start_s"], row["decoded_end_s"]) == (0, 10)


def test_vggsound_names_with_milliseconds(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "0nib7bMm8BA,15,canary calling,train\n-Qowmc0P9ic,34,playing bass drum,test\n"
    )
    rows = build(tmp_path / "list.csv", shared_data / "sets/av_events", tmp_path / "out")
    assert {row["key"] for row in rows.values()} == {
        "0nib7bMm8BA_15000_25000",
        "-Qowmc0P9ic_34000_44000",
    }
    assert all(row["trimmed"] and row["duration_s"] == 10 for row in rows.values())


def test_a_span_of_a_whole_video_is_cut_out(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "label,youtube_id,time_start,time_end,split\nx,SOX5yA1l24A,4,9,val\n"
    )
    row = build(tmp_path / "list.csv", shared_data / "clips", tmp_path / "out")["SOX5yA1l24A"]
    assert not row["trimmed"]
    assert (row["decoded_start_s"], row["decoded_end_s"]) == (4, 9)
