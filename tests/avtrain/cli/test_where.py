"""`--where` of `avtrain fit` and `avtrain eval`: what it leaves, and that a run keeps it."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from avdata import ShardSet
from avdata.manifest import MANIFEST_SCHEMA
from avtrain.cli import main
from avtrain.data.samples import dataset_fingerprint, filter_samples, read_sample_table

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MakeShardSet = Callable[..., Path]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="avtrain")


def fit(shards: Path, out: Path, settings: tuple[str, ...], *more: object) -> Result:
    sets = [part for text in settings for part in ("--set", text)]
    return invoke("fit", shards, "--out", out, "--device", "cpu", *sets, *more)


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.fixture
def rated(make_shard_set: MakeShardSet, tmp_path: Path) -> Path:
    """24 clips (16 of split train), clip i with silence_fraction i / 24, none at i = 0."""
    path = make_shard_set(build_hash="rated")
    table = pq.read_table(path / "manifest.parquet")
    shares = pa.array([None, *(i / 24 for i in range(1, 24))], pa.float64())
    column = MANIFEST_SCHEMA.get_field_index("silence_fraction")
    table = table.set_column(column, MANIFEST_SCHEMA.field(column), shares)
    copy = tmp_path / "rated"
    copy.mkdir()
    for name in path.iterdir():
        if name.name != "manifest.parquet":
            (copy / name.name).symlink_to(name)
    pq.write_table(table, copy / "manifest.parquet")
    return copy


def keys_of_run(out: Path) -> set[str]:
    lines = (out / "keys.jsonl").read_text().splitlines()
    return {key for line in lines for key in json.loads(line)["keys"]}


def test_a_run_sees_only_what_is_kept(
    rated: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    condition = "silence_fraction < 0.5 and label in ('label0', 'label1')"
    done = fit(rated, out, (*tiny_run, "schedule.max_steps=6"), "--where", condition)
    assert done.exit_code == 0, done.output
    train = [i for i in range(24) if i % 3 != 2]
    expected = {f"clip-{i:03d}" for i in train if 0 < i < 12}
    assert f"--where keeps {len(expected)} of {len(train)} samples" in done.stderr
    assert keys_of_run(out) == expected
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["data"]["where"] == condition
    assert record["num_samples"] == len(expected)
    assert record["spec"]["num_sources"] == 24  # banks are of the whole set


def test_the_option_and_the_setting_are_the_same(
    rated: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    condition = 'silence_fraction > 0.2 and split == "train"'
    steps = "schedule.max_steps=2"
    option = fit(rated, tmp_path / "a", (*tiny_run, steps), "--where", condition)
    setting = fit(rated, tmp_path / "b", (*tiny_run, steps, f"data.where={condition}"))
    assert option.exit_code == setting.exit_code == 0, option.output + setting.output
    assert keys_of_run(tmp_path / "a") == keys_of_run(tmp_path / "b")
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in "ab"]
    assert records[0]["config"] == records[1]["config"]


def test_resuming_keeps_the_condition(
    rated: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    out, condition = tmp_path / "run", "silence_fraction < 0.6"
    settings = (*tiny_run, "schedule.max_steps=2")
    assert fit(rated, out, settings, "--where", condition).exit_code == 0
    more = fit(rated, out, ("schedule.max_steps=4",), "--resume")
    assert more.exit_code == 0, more.output
    assert "--where keeps 9 of 16 samples" in more.stderr
    assert fit(rated, out, (), "--resume", "--where", condition).exit_code == 0
    other = fit(rated, out, (), "--resume", "--where", "silence_fraction < 0.7")
    refused(other, "data.where: 'silence_fraction < 0.6' -> 'silence_fraction < 0.7'", "--out")


def test_tables_that_changed_are_another_set(
    rated: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    settings = (*tiny_run, "schedule.max_steps=2")
    assert fit(rated, out, settings, "--where", "silence_fraction < 0.6").exit_code == 0
    table = pq.read_table(rated / "manifest.parquet")
    column = MANIFEST_SCHEMA.get_field_index("silence_fraction")
    zeros = pa.array([0.0] * 24, pa.float64())
    table = table.set_column(column, MANIFEST_SCHEMA.field(column), zeros)
    pq.write_table(table, rated / "manifest.parquet")
    refused(fit(rated, out, (), "--resume"), "was trained on another shard set")


def test_without_a_condition_the_fingerprint_is_that_of_the_set(shard_set: Path) -> None:
    shards = ShardSet(shard_set)
    whole = dataset_fingerprint(shards)
    kept = filter_samples(shards, tuple(range(24)), "duration_s > 0")
    assert kept == tuple(range(24))
    assert filter_samples(shards, (3, 5), "True") == (3, 5)
    assert len({whole, dataset_fingerprint(shards, kept), dataset_fingerprint(shards, (1,))}) == 3


def test_nothing_left_tells_what_each_part_keeps(
    rated: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    condition = "silence_fraction < 0.1 and label == 'label3' and split == 'train'"
    done = fit(rated, tmp_path / "run", tiny_run, "--where", condition)
    refused(
        done,
        "keeps none of 16 samples",
        "`silence_fraction < 0.1` keeps 1, `label == 'label3'` keeps 4, `split == 'train'` keeps "
        "16, and all of them together 0",
    )
    single = fit(rated, tmp_path / "run", tiny_run, "--where", "duration_s > 99")
    refused(single, "keeps none of 16 samples")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("condition", "parts"),
    [
        ("silence_fractio < 1", ("names no column: silence_fractio", "silence_fraction")),
        ("silence_fraction < '1'", ("compares 'silence_fraction', a number",)),
        ("", ("is no condition",)),
        ("duration_s", ("where a condition must stand",)),
    ],
)
def test_wrong_conditions(
    rated: Path, tmp_path: Path, tiny_run: tuple[str, ...], condition: str, parts: tuple[str, ...]
) -> None:
    refused(fit(rated, tmp_path / "run", tiny_run, "--where", condition), *parts)


def test_too_few_left_for_a_batch(rated: Path, tmp_path: Path, tiny_run: tuple[str, ...]) -> None:
    done = fit(rated, tmp_path / "run", tiny_run, "--where", "silence_fraction < 0.2")
    refused(done, "data.batch_size=6 is larger than the 3 samples")


def test_evaluations_measure_what_is_kept(
    rated: Path, tmp_path: Path, tiny_run: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    assert fit(rated, out, (*tiny_run, "schedule.max_steps=1")).exit_code == 0
    shared = ("eval", out, rated, "--device", "cpu", "--windows", 1, "--json")

    def measured(task: str, condition: str) -> Result:
        return invoke(*shared, "--task", task, "--where", condition)

    table = read_sample_table(ShardSet(rated))
    tested = [i for i in range(24) if table.splits[i] == "test"]
    done = measured("retrieval", "silence_fraction < 0.6")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["num_samples"] == sum(i / 24 < 0.6 for i in tested)
    done = measured("knn", "label in ('label0', 'label2')")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["num_samples"] == sum(table.labels[i] in ("label0", "label2") for i in tested)
    assert facts["chance"]["top1"] == 0.5
    refused(measured("linear", "duration_s < 0"), "keeps none of 16 samples")
