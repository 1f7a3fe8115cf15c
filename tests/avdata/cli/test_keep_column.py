"""`--keep-column`: a column of the listing through every command that reads a set."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

from avdata import ShardSet
from avdata.manifest import MANIFEST_SCHEMA

Run = Callable[..., Result]
SETTINGS = ("shards.clips_per_shard=3", "video.short_side_px=32", "video.fps=8")
KEEP = ("--keep-column", "class", "--keep-column", "take no", "--keep-column", "note")
KEPT = ("class", "take no", "note")
NUM_CLIPS = 7


@pytest.fixture(scope="module")
def noted(listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of 7 movies and a missing one, with columns of its own; clip 3 is listed twice."""
    lines = listing.read_text().splitlines()
    assert lines[0] == "path,id,label,split"
    table = [f"{lines[0]},class,note,take no"]
    for i, line in enumerate(lines[1:]):
        table.append(f'{line},{"odd" if i % 2 else "even"},"a ""note"", {i}",{i or ""}')
    table.append(table[4])
    path = listing.parent / "noted.csv"
    path.write_text("\n".join(table) + "\n")
    return path


@pytest.fixture(scope="module")
def kept_set(noted: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "set"
    done = build(run, noted, out, *KEEP)
    assert done.exit_code == 0, done.output
    assert "kept: class, take no, note" in done.stdout
    assert "passed over" not in done.stdout
    return out


def build(run: Run, listing: Path, out: Path, *more: object) -> Result:
    sets = [word for text in SETTINGS for word in ("--set", text)]
    return run("build", "--source", listing, "--out", out, "--workers", 0, *sets, *more)


def test_manifest_has_the_columns_behind_its_own(kept_set: Path) -> None:
    table = pq.read_table(kept_set / "manifest.parquet")
    assert tuple(table.column_names) == (*MANIFEST_SCHEMA.names, *KEPT)
    assert table.num_rows == NUM_CLIPS
    assert table["class"].to_pylist() == ["odd" if i % 2 else "even" for i in range(NUM_CLIPS)]
    assert table["note"].to_pylist() == [f'a "note", {i}' for i in range(NUM_CLIPS)]
    assert table["take no"].to_pylist() == [None, *map(str, range(1, NUM_CLIPS))]
    assert ShardSet(kept_set).spec.kept_columns == KEPT
    rejects = pq.read_table(kept_set / "rejects.parquet")
    assert rejects["reason"].to_pylist() == ["missing_file", "duplicate"]


def test_stats_and_inspect_know_them(kept_set: Path, run: Run) -> None:
    for where, count in (
        ("class == 'odd'", 3),
        ("`take no` is None", 1),
        ("note.endswith('2') and class != 'odd'", 1),
    ):
        done = run("stats", kept_set, "--where", where, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["num_chosen"] == count
    done = run("inspect", kept_set, "clip_000002")
    assert done.exit_code == 0, done.output
    assert 'a "note", 2' in done.stdout
    assert "class, take no, note" in run("inspect", kept_set).stdout
    unknown = run("stats", kept_set, "--where", "klass == 'odd'")
    assert unknown.exit_code == 2
    assert "did you mean class" in unknown.stderr


def test_they_are_counted_and_survive_a_repair(kept_set: Path, run: Run, tmp_path: Path) -> None:
    counted = run("stats", kept_set, "--column", "class", "--column", "take no")
    assert counted.exit_code == 0, counted.output
    assert "class: 7 clips; 2 different" in counted.stdout
    assert "take no: 6 clips, 1 clips without; 6 different" in counted.stdout
    out = Path(shutil.copytree(kept_set, tmp_path / "set"))
    whole = (out / "manifest.parquet").read_bytes()
    table = pq.read_table(out / "manifest.parquet")
    for damaged in (table.drop(["note"]), table.slice(1)):
        pq.write_table(damaged, out / "manifest.parquet")
        done = run("verify", out, "--repair")
        assert done.exit_code == 0, done.output
        assert (out / "manifest.parquet").read_bytes() == whole
    (out / "shard-000001.tar").unlink()
    page = run("inspect", out, "--html", tmp_path / "page.html")
    assert page.exit_code == 0, page.output
    assert "note: 3 of the 7 samples do not decode" in page.stderr
    done = run("verify", out, "--repair")
    assert done.exit_code == 0, done.output
    command = "--keep-column class --keep-column 'take no' --keep-column note --set video.fps=8.0"
    assert command in done.stdout


def test_verify_watches_them(kept_set: Path, run: Run, tmp_path: Path) -> None:
    done = run("verify", kept_set)
    assert done.exit_code == 0, done.output
    path = kept_set / "manifest.parquet"
    whole = path.read_bytes()
    table = pq.read_table(path)
    try:
        at = table.schema.get_field_index("note")
        pq.write_table(table.remove_column(at), path)
        done = run("verify", kept_set)
        assert done.exit_code != 0
        assert "no columns ['note']" in done.output
        changed = table["note"].to_pylist()
        changed[1] = "other"
        pq.write_table(table.set_column(at, table.field(at), [changed]), path)
        done = run("verify", kept_set)
        assert done.exit_code != 0
        assert "kept" in done.output
    finally:
        path.write_bytes(whole)


def test_a_resumed_build_is_the_same_and_another_choice_is_refused(
    kept_set: Path, noted: Path, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    assert build(run, noted, out, *KEEP).exit_code == 0
    (out / "shard-000001.json").unlink()
    (out / "manifest.parquet").unlink()
    done = build(run, noted, out, *KEEP, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["built_shards"] == 1
    assert facts["columns"]["kept"] == list(KEPT)
    assert (out / "manifest.parquet").read_bytes() == (kept_set / "manifest.parquet").read_bytes()
    done = build(run, noted, out, "--keep-column", "note")
    assert done.exit_code == 2
    assert "holds a build with --keep-column class, take no, note; this one has note" in done.stderr
    done = build(run, noted, out)
    assert "this one has none. Repeat that command" in done.stderr


def test_repair_names_them(kept_set: Path, run: Run) -> None:
    from avdata.cli.resume_command import resume_command
    from avdata.shards.build_record import read_build_record

    record = read_build_record(kept_set)
    assert record is not None
    words = "--keep-column class --keep-column 'take no' --keep-column note"
    assert words in resume_command(record, kept_set)


def test_derived_and_noisy_sets_carry_them(kept_set: Path, run: Run, tmp_path: Path) -> None:
    expected = pq.read_table(kept_set / "manifest.parquet", columns=list(KEPT)).to_pylist()
    derived = tmp_path / "derived"
    made = run("derive", kept_set, "--out", derived, "--set", "logmel.num_mels=64")
    assert made.exit_code == 0, made.output
    assert pq.read_table(derived / "manifest.parquet", columns=list(KEPT)).to_pylist() == expected
    noisy = tmp_path / "noisy"
    made = run("noise", kept_set, "--out", noisy, "--swap-audio", 0.5, "--duplicate", 0.3)
    assert made.exit_code == 0, made.output
    rows = pq.read_table(noisy / "manifest.parquet", columns=list(KEPT)).to_pylist()
    assert rows[:NUM_CLIPS] == expected
    assert len(rows) > NUM_CLIPS
    assert all(row in expected for row in rows)
    for out in (derived, noisy):
        assert run("verify", out).exit_code == 0


def test_diff_compares_them(kept_set: Path, noted: Path, run: Run, tmp_path: Path) -> None:
    other = noted.parent / "noted_other.csv"
    other.write_text(noted.read_text().replace("even", "EVEN", 1))
    out = tmp_path / "set"
    assert build(run, other, out, *KEEP).exit_code == 0
    facts = json.loads(run("diff", kept_set, out, "--json").stdout)
    changes = {change["column"]: change for change in facts["facts"]}
    assert changes["class"]["num_clips"] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("klass", "has columns path, id, label, split, class, note, take no; did you mean class"),
        ("split", "--keep-column 'split': the manifest has a column of that name already; rename"),
    ],
)
def test_names_that_are_refused(
    name: str, message: str, noted: Path, run: Run, tmp_path: Path
) -> None:
    done = build(run, noted, tmp_path / "set", "--keep-column", name)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "set").exists()
