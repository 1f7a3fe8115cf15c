"""`avdata build --dry-run`: columns, repairs, media found and missing, a probe, the exit code."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
SMALL = ("--set", "video.short_side_px=32", "--set", "video.fps=8")


def facts_of(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout.strip().splitlines()[-1])
    assert isinstance(facts, dict)
    return facts


def test_found_missing_and_estimated(
    run: Run, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7 movies of 1.5 s and a missing one: a real build takes what the dry run says, roughly."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(path.name for path in listing.parent.rglob("*"))
    out = tmp_path / "set"
    result = run("build", "--source", listing, "--out", out, *SMALL, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "media: 7 of 8 found (7 by path)" in result.stdout
    assert "missing: 1, by each name tried: path 1" in result.stdout
    assert "line 9: no file for path 'media/not_there.mp4'" in result.stdout
    assert "(from 7 clips built on trial: 7 ok)" in result.stdout
    assert "free disk: " in result.stdout
    assert list(tmp_path.iterdir()) == []  # neither the set nor what the probe made is there
    assert before == sorted(path.name for path in listing.parent.rglob("*"))
    facts = facts_of(run("build", "--source", listing, *SMALL, "--dry-run", "--json"))
    estimate = facts["estimate"]
    assert isinstance(estimate, dict)
    assert estimate["hours"] == pytest.approx(7 * 1.5 / 3600, rel=0.05)
    built = run("build", "--source", listing, "--out", out, *SMALL, "--workers", 0, "--json")
    stored = json.loads(built.stdout.splitlines()[-1])["bytes"]
    assert estimate["bytes"] == pytest.approx(stored, rel=0.2)
    assert 0 < estimate["minutes"] < 1
    assert facts["free_bytes"] > 0  # type: ignore[operator]


def test_name_habits_are_told_apart(run: Run, listing: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    movie = next((listing.parent / "media").iterdir()).read_bytes()
    for name in ("aaaaaaaaaa1_000030.mp4", "Yaaaaaaaaaa2.mp4", "v_aaaaaaaaaa3_30000_40000.mp4"):
        (media / name).write_bytes(movie)
    path = tmp_path / "vgg.csv"
    path.write_text("".join(f"aaaaaaaaaa{i},30,dog,train\n" for i in range(1, 6)))
    facts = facts_of(
        run("build", "--source", path, "--media", media, *SMALL, "--dry-run", "--json")
    )
    looked = facts["media"]
    assert isinstance(looked, dict)
    assert looked["found_by"] == {
        "{id}_{start:06d}": 1,
        "Y{id}": 1,
        "v_{id}_{start_ms}_{end_ms}": 1,
    }
    assert looked["missing"] == 2
    assert looked["missing_by"]["{id}"] == looked["missing_by"]["{id}_{start:06d}_{end:06d}"] == 2
    assert looked["first_missing"].startswith("line 4: no file for id 'aaaaaaaaaa4'")


def test_a_bad_file_does_not_end_the_probe(run: Run, listing: Path, tmp_path: Path) -> None:
    movie = next((listing.parent / "media").iterdir()).read_bytes()
    (tmp_path / "good.mp4").write_bytes(movie)
    (tmp_path / "bad.mp4").write_bytes(b"not a movie at all" * 99)
    result = run("build", "--source", tmp_path, *SMALL, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "(from 2 clips built on trial: 1 ok, 1 not_media)" in result.stdout


def test_long_listings_are_looked_through_in_part(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avdata.build.preview.MAX_LOOKED", 100)
    path = tmp_path / "list.csv"
    path.write_text("path\n" + "".join(f"{i}.mp4\n" for i in range(400)))
    result = run("build", "--source", path, "--dry-run")
    # every fourth shard of 12 rows
    assert "media: 0 of 108 looked for of 400 found" in result.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_a_listing_without_a_readable_row_ends_with_3(
    run: Run, tmp_path: Path, as_json: bool
) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,start_s\na.mp4,soon\nb.mp4,later\n")
    result = run("build", "--source", path, "--dry-run", *(["--json"] if as_json else []))
    assert result.exit_code == 3
    assert f"avdata: no row of {path} can be read (table)" in result.stderr
    assert "Traceback" not in result.output
    path.write_text("path,start_s\n")
    assert run("build", "--source", path, "--dry-run").exit_code == 3


def test_columns_and_repairs_are_told(run: Run, listing: Path, tmp_path: Path) -> None:
    movie = next((listing.parent / "media").iterdir()).read_bytes()
    (tmp_path / "a.mp4").write_bytes(movie)
    path = tmp_path / "list.csv"
    path.write_text('path,start,end,class,label\na.mp4,1,2,x,"a dog\nbarks"\n')
    told = [
        "columns used: path, label",
        "passed over: start, end, class; times are start_s and end_s",
        "repaired: 1 row, line ends inside quotes were read as spaces",
    ]
    dry = run("build", "--source", path, *SMALL, "--dry-run")
    assert [line for line in dry.stdout.splitlines() if line in told] == told
    built = run("build", "--source", path, *SMALL, "--workers", 0, "--out", tmp_path / "set")
    assert [line for line in built.stdout.splitlines() if line in told] == told
    facts = facts_of(run("build", "--source", path, *SMALL, "--dry-run", "--json"))
    assert facts["columns"] == {
        "used": {"path": "path", "label": "label"},
        "kept": [],
        "passed_over": ["start", "end", "class"],
        "hints": ["times are start_s and end_s"],
    }
    assert facts["repairs"] == {"line ends inside quotes were read as spaces": 1}


def test_formats_are_shown(run: Run) -> None:
    result = run("build", "--formats")
    assert result.exit_code == 0, result.output
    assert "path-label       Class/clip.mp4 3, separated by blanks" in result.stdout


def test_case_table_unknown_columns(run: Run, shared_data: Path, tmp_path: Path) -> None:
    case = shared_data / "cases/table_unknown_columns"
    words = ["build", "--source", case / "listing.csv", "--media", case, "--workers", 0, *SMALL]
    for more in (["--out", tmp_path / "set"], ["--dry-run"]):
        result = run(*words, *more)
        assert result.exit_code == 0, result.output
        assert "passed over: start, end; times are start_s and end_s" in result.stdout


def test_case_csv_line_end_in_quotes(run: Run, shared_data: Path) -> None:
    case = shared_data / "cases/csv_line_end_in_quotes/listing.csv"
    facts = facts_of(run("build", "--source", case, "--dry-run", "--json"))
    assert (facts["listed"], facts["reasons"]) == (2, {"duplicate": 1})  # both rows are of c.mp4
    assert facts["repairs"] == {"line ends inside quotes were read as spaces": 1}


def test_case_listing_forms(run: Run, shared_data: Path) -> None:
    case = shared_data / "cases/listing_forms"
    forms = {"mmaction.txt": ("path-label", 2), "semicolon.csv": ("table", 1)}
    for name, expected in forms.items():
        facts = facts_of(run("build", "--source", case / name, "--dry-run", "--json"))
        assert (facts["format"], facts["readable"]) == expected
    told = run("build", "--source", case / "semicolon.csv", "--dry-run").stdout
    assert "columns used: path, label, separated by semicolons" in told
    result = run("build", "--source", case / "names.txt", "--dry-run")
    assert result.exit_code == 2
    assert "its lines are names of files alone: put a line `path` above them" in result.stderr
    assert len(result.stderr) < 400
    assert len(list(case.glob("*.txt"))) + len(list(case.glob("*.csv"))) == 3
