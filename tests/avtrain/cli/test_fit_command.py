"""`avtrain fit` as a person meets it: output, exit codes, and one message for each wrong input."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avtrain.cli import main

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MakeShardSet = Callable[..., Path]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def fit(shards: Path, out: Path, settings: tuple[str, ...], *more: object) -> Result:
    sets = [part for text in settings for part in ("--set", text)]
    return invoke("fit", shards, "--out", out, "--device", "cpu", *sets, *more)


def refused(result: Result, *parts: str) -> None:
    """One message on stderr, exit code 2, nothing on stdout, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("avtrain: error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


def test_fit_then_resume_with_json(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    first = fit(shard_set, out, (*tiny_run, "schedule.max_steps=4"), "--json")
    assert first.exit_code == 0, first.output
    facts = json.loads(first.stdout.splitlines()[-1])
    assert facts.keys() == {
        "run",
        "ended",
        "steps",
        "epochs",
        "loss",
        "samples_per_s",
        "data_wait",
        "skipped",
        "seconds",
    }
    assert facts["run"] == str(out)
    assert facts["steps"] == 4
    assert f"avtrain eval {out} {shard_set} --task retrieval" in first.stderr
    # the settings of the run stand in its folder
    more = fit(shard_set, out, ("schedule.max_steps=6",), "--resume", "--json")
    assert more.exit_code == 0, more.output
    assert json.loads(more.stdout)["steps"] == 6
    lines = (out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6]


def test_max_minutes_ends_a_run_that_can_go_on(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    result = fit(shard_set, tmp_path / "run", (*tiny_run, "schedule.max_minutes=1e-6"), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ended"] == "max_minutes"
    assert "--resume" in result.stderr


def test_a_missing_shard_set(tmp_path: Path) -> None:
    result = fit(tmp_path / "none", tmp_path / "run", ())
    refused(result, "none has no dataset.json", "give the folder that `avdata build --out` wrote")
    assert not (tmp_path / "run").exists()


def test_an_unknown_schema_version(shard_set: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shard_set, tmp_path / "copy"))
    spec = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**spec, "schema_version": 99}))
    refused(fit(copy, tmp_path / "run", ()), "schema version 99", "reads versions 2 and 3", "Build")


def test_a_truncated_shard(shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]) -> None:
    copy = Path(shutil.copytree(shard_set, tmp_path / "copy"))
    shard = copy / "shard-000001.tar"
    shard.write_bytes(shard.read_bytes()[:100_000])
    result = fit(copy, tmp_path / "run", tiny_run)
    refused(result, "shard-000001.tar has 100000 bytes, its samples end at", "avdata verify")
    assert not (tmp_path / "run").exists()
    shard.unlink()
    refused(fit(copy, tmp_path / "run", tiny_run), "shard-000001.tar is missing")


def test_damaged_pictures_alone_name_shard_and_key(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    copy = Path(shutil.copytree(shard_set, tmp_path / "copy"))
    for shard in copy.glob("*.tar"):
        shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8\xff", b"\0\0\0"))
    result = fit(copy, tmp_path / "run", tiny_run)
    assert result.exit_code == 2, result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("avtrain: error: none of the 6 items of a batch can be read: clip-0")
    for part in ("of sample clip-0", "shard-00000", "cannot be decoded", "avdata verify"):
        assert part in last


def test_a_missing_field(make_shard_set: MakeShardSet, tmp_path: Path) -> None:
    shards = make_shard_set(num_clips=2, fields=("frames",))
    result = fit(shards, tmp_path / "run", ())
    refused(result, "method 'avid' needs fields {frames, logmel}", "has {frames}", "--set 'fields=")


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("avid.modell=3", ("avid.modell: unknown setting", "allowed here: model, video")),
        ("avid.model=large", ("avid.model", "'tiny'", "large")),
        ("data.batch_size=0", ("data.batch_size", "greater than or equal to 2")),
        ("data.batch_size=17", ("batch_size=17 is larger than the 16 samples", "to 16 or less")),
        ("data.split=dev", ("no samples of split 'dev'", "its splits are ['test', 'train']")),
        ("seed", ("must have the form a.b=value",)),
    ],
)
def test_wrong_settings(
    shard_set: Path,
    tmp_path: Path,
    tiny_run: tuple[str, ...],
    setting: str,
    parts: tuple[str, ...],
) -> None:
    refused(fit(shard_set, tmp_path / "run", (*tiny_run, setting)), *parts)


def test_sources_that_cannot_be_told_apart(make_shard_set: MakeShardSet, tmp_path: Path) -> None:
    shards = make_shard_set(num_clips=1, num_splits=0)
    result = fit(shards, tmp_path / "run", ("data.batch_size=2",))
    refused(result, "data.batch_size=2 is larger than the 1 samples")


def test_folders_that_are_no_runs(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    refused(fit(shard_set, tmp_path, tiny_run), "exists and is not a run; give a new folder")
    refused(fit(shard_set, tmp_path, tiny_run, "--resume"), "is not a run: it has no run.json")
    refused(fit(shard_set, tmp_path / "none", (), "--resume"), "is not a run", "not a folder")
    file = tmp_path / "notes.txt"
    refused(fit(shard_set, file, tiny_run), "exists and is not a run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt"]


def test_a_damaged_run_record(shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]) -> None:
    (tmp_path / "run.json").write_text("{")
    refused(fit(shard_set, tmp_path, tiny_run, "--resume"), "run.json is damaged")
    (tmp_path / "run.json").write_text('{"run_version": 7}')
    refused(fit(shard_set, tmp_path, tiny_run, "--resume"), "run version 7", "reads 1")


def test_help_does_not_need_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom avtrain.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "fit" in done.stdout


def test_profile_writes_a_trace_and_shows_a_table(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    result = fit(shard_set, tmp_path / "run", (*tiny_run, "schedule.max_steps=11"), "--profile")
    assert result.exit_code == 0, result.output
    trace = tmp_path / "run" / "profile" / "steps-6-to-10.json"
    assert f"trace of 5 steps: {trace}" in result.stderr
    assert "convolution" in result.stderr
    assert json.loads(trace.read_text())["traceEvents"]
    short = (*tiny_run, "schedule.max_steps=2")
    result = fit(shard_set, tmp_path / "short", short, "--profile")
    assert "records steps 6 to 10 of a session, this one had 2: no trace" in result.stderr


def test_a_mix_and_its_wrong_weights(
    shard_set: Path, make_shard_set: MakeShardSet, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    other = make_shard_set(num_clips=9, build_hash="other")
    settings = (*tiny_run, "schedule.max_steps=3")
    sets = [part for text in settings for part in ("--set", text)]
    mix = ("fit", shard_set, other, "--out", tmp_path / "run", "--device", "cpu", *sets)
    result = invoke(*mix, "--mix", "2,1")
    assert result.exit_code == 0, result.output
    refused(invoke(*mix, "--mix", "1,1,1"), "--mix has 3 weights for 2 shard sets")
    wrong = invoke(*mix, "--mix", "2:1")
    assert wrong.exit_code == 2
    assert "--mix '2:1' must be numbers with commas between, as in 2,1" in wrong.stderr


def test_split_init_and_the_same_command_again(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    settings = (*tiny_run, "schedule.max_steps=2", "data.batch_size=4")
    again = (shard_set, tmp_path / "run", settings, "--split", "test")
    assert fit(*again).exit_code == 0
    second = fit(*again, "--json")
    assert second.exit_code == 0
    assert json.loads(second.stdout)["steps"] == 2
    assert "going on after step 2" in second.stderr
    init = fit(shard_set, tmp_path / "next", settings, "--init", tmp_path / "run")
    assert init.exit_code == 0, init.output
    nothing = fit(shard_set, tmp_path / "no", settings, "--init", tmp_path / "none")
    refused(nothing, "neither a run nor an export; give a folder")
    refused(fit(shard_set, tmp_path / "run", settings, "--split", "train"), "data.split: 'test'")
    refused(fit(shard_set, tmp_path / "run", settings, "--where", "label == 'no'"), "keeps none of")


def test_a_checkpoint_of_another_method_or_set(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...], make_shard_set: MakeShardSet
) -> None:
    settings = (*tiny_run, "schedule.max_steps=1")
    other = make_shard_set(build_hash="other")
    for out, shards in (("run", shard_set), ("other", other)):
        assert fit(shards, tmp_path / out, settings).exit_code == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", tmp_path / "run" / "checkpoints")
    refused(fit(shard_set, tmp_path / "run", settings), "checkpoint of step 1", "another shard set")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["config"]["method"] = "robust-xid"
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    mixed = fit(
        shard_set, tmp_path / "run", ("method=robust-xid", "schedule.max_steps=1"), "--resume"
    )
    refused(mixed, "is of method 'avid', the run's is 'robust-xid'", "--init")


def test_wandb_that_is_not_installed(
    shard_set: Path,
    tmp_path: Path,
    tiny_run: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = fit(shard_set, tmp_path / "run", (*tiny_run, "log.wandb=true"))
    refused(result, "needs the package wandb, which is not installed: `pip install wandb`")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody can make a folder")
def test_an_out_that_cannot_be_made(
    shard_set: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    refused(fit(shard_set, Path("/proc/run"), tiny_run), "folder '/proc/run' cannot be made: ")
    file = tmp_path / "file"
    file.touch()
    refused(fit(shard_set, file / "run", tiny_run), f"cannot be made: {file} is a file, not a fold")
