"""Files that downloaders cut to the listed span, under the whole video's name or their own."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from click.testing import CliRunner

from avdata.build.span_in_file import SpanInFile, span_in_file
from avdata.cli import main
from avdata.config import BuildConfig, build_settings
from avdata.decode.media import media_duration_s
from avdata.errors import FailureReason, MediaError
from avdata.schema import ClipRef
from avdata.sources import MediaResolver
from avdata.synthetic.movie import write_movie


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


# Files that are longer than their span


CASE = "cases/trimmed_file_too_long"


def build_case(folder: Path, out: Path, choice: str) -> list[dict]:
    """Rows of the manifest, then of the rejects, of the one clip in `folder`."""
    arguments = ["build", "--source", folder / "listing.csv", "--media", folder, "--out", out]
    more = ["--workers", "0", "--set", f"clips.longer_than_listed={choice}"]
    result = CliRunner().invoke(main, [*map(str, arguments), *more])
    assert result.exit_code == (3 if choice == "reject" else 0), result.output
    names = ("manifest.parquet", "rejects.parquet")
    return [row for name in names for row in pq.read_table(out / name).to_pylist()]


def test_a_segment_from_the_key_frame_before_is_no_listed_span(
    shared_data: Path, tmp_path: Path
) -> None:
    (row,) = build_case(shared_data / CASE, tmp_path, "reject")
    assert row["reason"] == "longer_than_listed"
    for part in (
        "abcdefghij1_000030_000040.mp4 holds 20.000 s",
        "its name says that it is cut to [30.0000, 40.0000) s, which is 10.000 s",
        "cut it again with forced key frames",
        "clips.longer_than_listed=last (or first, or accept)",
    ):
        assert part in row["message"]


@pytest.mark.parametrize(
    ("choice", "start_s", "end_s"), [("first", 0, 10), ("last", 10, 20), ("accept", 0, 20)]
)
def test_the_choices_for_a_segment_that_is_too_long(
    choice: str, start_s: float, end_s: float, shared_data: Path, tmp_path: Path
) -> None:
    (row,) = build_case(shared_data / CASE, tmp_path, choice)
    assert row["trimmed"]
    assert row["excess_s"] == pytest.approx(10, abs=0.05)
    assert row["decoded_start_s"] == pytest.approx(start_s, abs=0.05)
    assert row["decoded_end_s"] == pytest.approx(end_s, abs=0.1)
    assert row["coverage"] > 0.99
    assert (row["listed_start_s"], row["listed_end_s"]) == (30, 40)


def test_the_page_of_a_sample_says_how_much_longer(shared_data: Path, tmp_path: Path) -> None:
    (row,) = build_case(shared_data / CASE, tmp_path, "last")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path), row["key"]])
    assert "taken as already cut to the listed span, 10.000 s longer than it" in result.output


def movie(path: Path, *, video_s: float | None, audio_s: float | None) -> Path:
    """Grey frames and a tone, of other lengths."""
    num_frames = round(25 * (video_s or 0))
    n = np.arange(round(16000 * (audio_s or 0)))
    write_movie(
        path,
        frames=(np.full((64, 96, 3), 99, np.uint8) for _ in range(num_frames)),
        frame_times_s=None,
        fps=Fraction(25),
        sound=None if audio_s is None else (0.2 * np.sin(n * 0.05)).astype(np.float32)[:, None],
        sample_rate_hz=16000,
    )
    return path


def ref(start_s: float | None, end_s: float | None, path: str | None = None) -> ClipRef:
    return ClipRef(
        row_index=0,
        line_number=1,
        key="k",
        source_id="abcdefghij1",
        source_index=0,
        clip_index=0,
        path=path,
        listed_start_s=start_s,
        listed_end_s=end_s,
        labels=(),
        split=None,
    )


def span(clip: ClipRef, folder: Path, *assignments: str) -> SpanInFile:
    """The span that a build would take, of the one file in `folder`."""
    config = build_settings(BuildConfig, {}, assignments)
    return span_in_file(clip, MediaResolver(folder, folder).resolve(clip), config)


def is_rejected(clip: ClipRef, folder: Path, *assignments: str) -> bool:
    try:
        span(clip, folder, *assignments)
    except MediaError as error:
        if error.reason != FailureReason.LONGER_THAN_LISTED:
            raise
        return True
    return False


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi", "ts"])
@pytest.mark.parametrize("length_s", [3.0, 3.5, 4.4, 4.8, 6.0])
def test_up_to_the_slack_a_file_counts_as_its_span(
    ending: str, length_s: float, tmp_path: Path
) -> None:
    movie(tmp_path / f"abcdefghij1_000030_000033.{ending}", video_s=length_s, audio_s=length_s)
    if length_s > 4.5:
        assert is_rejected(ref(30, 33), tmp_path)
        return
    found = span(ref(30, 33), tmp_path)
    assert (found.start_s, found.end_s, found.trimmed) == (0, 3, True)
    assert found.excess_s == pytest.approx(length_s - 3, abs=0.1)


@pytest.mark.parametrize(
    "stem",
    ["_30000_33000", "_000030", "_30_33", "_30", "_30.000", "_30.000_33.000", "_30000", "-30"],
)
def test_every_name_of_a_cut_file_is_held_to_its_span(stem: str, tmp_path: Path) -> None:
    path = movie(tmp_path / f"abcdefghij1{stem}.mp4", video_s=6, audio_s=6)
    assert is_rejected(ref(30, 33), tmp_path)
    path.unlink()
    movie(path, video_s=3, audio_s=3)
    assert not is_rejected(ref(30, 33), tmp_path)


def test_whole_uploads_are_as_long_as_they_are(tmp_path: Path) -> None:
    movie(tmp_path / "abcdefghij1.mp4", video_s=6, audio_s=6)
    expected = SpanInFile(start_s=1, end_s=2, trimmed=False)
    assert span(ref(1, 2), tmp_path) == expected
    assert span(ref(1, 2, path="abcdefghij1.mp4"), tmp_path) == expected
    assert span(ref(None, None), tmp_path) == SpanInFile(start_s=None, end_s=None, trimmed=False)
    # shorter than the listed end: it is cut, under the name of the whole
    cut = span(ref(30, 35), tmp_path)
    assert (cut.start_s, cut.end_s, cut.trimmed) == (0, 5, True)
    assert cut.excess_s == pytest.approx(1, abs=0.05)


def test_without_a_listed_end_nothing_is_too_long(tmp_path: Path) -> None:
    movie(tmp_path / "abcdefghij1_30.mp4", video_s=6, audio_s=6)
    expected = SpanInFile(start_s=0, end_s=None, trimmed=True)
    assert span(ref(30, None), tmp_path) == expected


def test_only_the_wanted_streams_count(tmp_path: Path) -> None:
    """A tool that copies pictures from a key frame may cut the sound exactly."""
    movie(tmp_path / "abcdefghij1_30_33.mp4", video_s=6, audio_s=3)
    assert is_rejected(ref(30, 33), tmp_path)
    assert is_rejected(ref(30, 33), tmp_path, "fields=['frames']")
    assert not is_rejected(ref(30, 33), tmp_path, "fields=['audio']")
    # the last seconds that both hold
    last = span(ref(30, 33), tmp_path, "clips.longer_than_listed=last")
    assert last.start_s == pytest.approx(0, abs=0.1)
    assert last.excess_s == pytest.approx(3, abs=0.05)


def ffmpeg(*arguments: object) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True)


def test_a_file_that_does_not_say_how_long_it_is_is_measured(tmp_path: Path) -> None:
    whole = movie(tmp_path / "whole.mp4", video_s=6, audio_s=6)
    live = tmp_path / "abcdefghij1_30_33.mkv"
    ffmpeg("-i", whole, "-c", "copy", "-live", "1", live)
    assert media_duration_s(live) is None
    assert is_rejected(ref(30, 33), tmp_path)
    live.rename(tmp_path / "abcdefghij1_30_36.mkv")
    assert not is_rejected(ref(30, 36), tmp_path)


@pytest.mark.parametrize("loud_first", [True, False])
def test_a_guess_by_the_bit_rate_is_no_length(loud_first: bool, tmp_path: Path) -> None:
    """MP3 of variable rate without a header: its length is taken from how it starts."""
    whole, path = tmp_path / "whole.wav", tmp_path / "abcdefghij1_30_36.mp3"
    sound = np.random.default_rng(0).normal(0, 3000, 16000 * 6)
    sound[: 16000 * 5] = 0
    if loud_first:
        sound = sound[::-1]
    soundfile.write(whole, sound.astype(np.int16), 16000)
    ffmpeg("-i", whole, "-q:a", "0", "-write_xing", "0", path)
    guess_s = media_duration_s(path)
    assert guess_s is not None
    assert guess_s < 4 if loud_first else guess_s > 8
    assert not is_rejected(ref(30, 36), tmp_path, "fields=['audio']")
    path.rename(tmp_path / "abcdefghij1_30_34.mp3")
    assert is_rejected(ref(30, 34), tmp_path, "fields=['audio']")


def test_a_broken_off_file_is_as_long_as_its_header_says(tmp_path: Path) -> None:
    """It starts before the span all the same."""
    whole = movie(tmp_path / "whole.mp4", video_s=6, audio_s=6)
    path = tmp_path / "abcdefghij1_30_33.mp4"
    ffmpeg("-i", whole, "-c", "copy", "-movflags", "+faststart", path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert is_rejected(ref(30, 33), tmp_path)


def test_an_edit_list_that_hides_the_seconds_before_is_believed(tmp_path: Path) -> None:
    whole = movie(tmp_path / "whole.mp4", video_s=6, audio_s=6)
    cut = tmp_path / "abcdefghij1_30_33.mp4"
    ffmpeg("-ss", "2.5", "-i", whole, "-t", "3", "-c", "copy", cut)
    assert not is_rejected(ref(30, 33), tmp_path)
