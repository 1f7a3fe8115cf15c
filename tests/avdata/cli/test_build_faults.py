"""Wrong inputs of `avdata build`: one message of what was seen, is allowed and can be done."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avdata.cli import main


def build(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["build", *map(str, arguments)])


def fault(result: Result) -> str:
    """The one message on standard error; there is no traceback."""
    assert result.exit_code not in (0, 1), result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("main: error:")]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text("path,label\nnowhere.mp4,cat\n")
    return path


def test_missing_listing(tmp_path: Path) -> None:
    assert "nothing.csv" in fault(build("--source", tmp_path / "nothing.csv", "--out", tmp_path))


def test_unknown_listing(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("hello world\nthis is prose, not clips\n")
    message = fault(build("--source", path, "--out", tmp_path / "out"))
    assert len(message) - len(str(path)) <= 300
    for part in ("hello world", "`avdata build --formats` shows all formats", "--format NAME"):
        assert part in message


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    assert "media" in fault(build("--source", tmp_path / "media", "--out", tmp_path / "out"))


def test_no_out(listing: Path) -> None:
    assert "--out is missing" in fault(build("--source", listing))


def test_media_is_no_folder(listing: Path, tmp_path: Path) -> None:
    message = fault(build("--source", listing, "--out", tmp_path / "o", "--media", listing))
    assert "is not a folder" in message


@pytest.mark.parametrize(
    ("assignment", "texts"),
    [
        ("video.fsp=8", ["video.fsp: unknown setting", "allowed here: fps, short_side_px"]),
        ("video.fps=-1", ["video.fps", "greater than 0", "seen: -1"]),
        ("fields=['frames', 'smell']", ["fields", "'frames', 'audio' or 'logmel'", "smell"]),
        ("video", ["must have the form a.b=value"]),
        ("audio.sample_rate_hz=16000", ["logmel.sample_rate_hz=24000", "set both"]),
        ("logmel.fmax_hz=13000", ["fmax_hz=13000", "half the sample rate"]),
    ],
)
def test_settings(assignment: str, texts: list[str], listing: Path, tmp_path: Path) -> None:
    message = fault(build("--source", listing, "--out", tmp_path / "out", "--set", assignment))
    for text in texts:
        assert text in message
    assert not (tmp_path / "out").exists()


def test_recipe_faults(listing: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    out = tmp_path / "out"
    assert "existing TOML file" in fault(
        build("--source", listing, "--out", out, "--recipe", recipe)
    )
    recipe.write_text("[build\n")
    assert "is not TOML" in fault(build("--source", listing, "--out", out, "--recipe", recipe))
    recipe.write_text("[bild]\n")
    assert "has tables ['bild']" in fault(
        build("--source", listing, "--out", out, "--recipe", recipe)
    )


def test_another_build_in_the_folder(listing: Path, tmp_path: Path) -> None:
    arguments = ("--source", listing, "--out", tmp_path / "out", "--workers", 0)
    assert build(*arguments).exit_code == 3
    message = fault(build(*arguments, "--set", "video.fps=8"))
    assert "other settings" in message
    assert "give another --out" in message
    listing.write_text("path,label\nnowhere.mp4,dog\n")
    assert "another listing" in fault(build(*arguments))


def test_foreign_tars_in_the_folder(listing: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.tar").touch()
    assert "holds tar files" in fault(
        build("--source", listing, "--out", tmp_path / "out", "--workers", 0)
    )


def test_missing_media_are_rejected_rows_and_an_empty_set_fails(
    listing: Path, tmp_path: Path
) -> None:
    result = build("--source", listing, "--out", tmp_path / "out", "--workers", 0, "--json")
    assert result.exit_code == 3
    facts = json.loads(result.stdout.strip().splitlines()[-1])
    assert facts["listed"] == facts["rejected"] == 1
    assert facts["reasons"] == {"missing_file": 1}
    assert "no clip was built (1 missing_file)" in result.stderr


def test_dry_run_writes_nothing(listing: Path, tmp_path: Path) -> None:
    result = build("--source", listing, "--out", tmp_path / "out", "--dry-run", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout.strip().splitlines()[-1])
    assert (facts["format"], facts["listed"], facts["readable"]) == ("table", 1, 1)
    assert not (tmp_path / "out").exists()


LISTINGS = {
    "audioset/balanced_train_segments.csv": ("audioset", 22155, 22155),
    "audioset/eval_segments.csv": ("audioset", 20371, 20371),
    "odd/balanced_train_segments_spreadsheet_damaged.csv": ("audioset", 22160, 21789),
    "kinetics/kinetics-400_val.csv": ("kinetics", 19906, 19906),
    "kinetics/tiny-kinetics-400_train.csv": ("kinetics", 400, 400),
    "kinetics/tiny-kinetics-400_val.csv": ("kinetics", 400, 400),
    "vggsound/test.csv": ("vggsound", 15446, 15446),
    "esc50/esc50.csv": ("esc50", 2000, 2000),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_real_listings_dry_run(name: str, shared_data: Path) -> None:
    result = build("--source", shared_data / "lists" / name, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout.strip().splitlines()[-1])
    assert (facts["format"], facts["listed"], facts["readable"]) == LISTINGS[name]


def test_mel_bands_without_a_bin_are_refused_or_said(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "cases" / "mel_empty_bands"
    words = ["--source", folder / "listing.csv", "--media", folder, "--workers", 0]
    short = ["--set", "logmel.n_fft=512", "--set", "logmel.win_samples=512"]
    many = build(*words, *short, "--out", tmp_path / "many", "--set", "logmel.num_mels=256")
    assert many.exit_code == 2
    assert "38 of 256 mel bands hold no bin of the FFT (bands 0, 1, 2, 3, 6 ...)" in fault(many)
    assert not (tmp_path / "many").exists()
    few = build(*words, *short, "--out", tmp_path / "few", "--set", "logmel.num_mels=160")
    assert few.exit_code == 0, few.output
    assert "note: 9 of 160 mel bands hold no bin of the FFT" in few.stderr
    none = build(*words, "--out", tmp_path / "none")
    assert none.exit_code == 0, none.output
    assert "mel bands" not in none.stderr
