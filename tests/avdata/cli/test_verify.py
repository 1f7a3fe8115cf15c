"""`avdata verify`: exit codes and the two forms of its answer."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from avdata.cli.entry import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def test_sound_set(tiny_set: Path) -> None:
    result = run(tiny_set)
    assert result.exit_code == 0, result.output
    assert "ok, every sample decodes (3 clips in 3 shards)" in result.stdout
    assert "nothing was decoded" in run(tiny_set, "--quick", "--workers", 1).stdout


def test_json_is_the_last_line(tiny_set: Path) -> None:
    (tiny_set / "shard-000000.tar").unlink()
    result = run(tiny_set, "--json")
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    report = json.loads(line)
    assert (report["ok"], report["clips"], report["shards"]) == (False, 3, 3)
    assert report["problems"][0]["where"] == "shard-000000.tar"


def test_problems_are_lines(tiny_set: Path) -> None:
    (tiny_set / "shard-000001.json").unlink()
    (tiny_set / "manifest.parquet.partial").touch()
    result = run(tiny_set)
    assert result.exit_code == 1
    assert "shard-000001.json: no such file; expected" in result.stdout
    assert "1 problem (3 clips in 3 shards)" in result.stdout
    assert "note: manifest.parquet.partial" in result.stderr


def test_no_set_is_a_users_fault(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "has no dataset.json" in result.stderr
