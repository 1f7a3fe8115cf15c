"""`avtrain plan`: what fit would do, in numbers; wrong settings in one line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avtrain.cli import main


def plan(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["plan", *map(str, arguments)])


def test_steps_parts_and_quality(shard_set: Path) -> None:
    arguments = (
        shard_set, "--ranks", 2, "--set", "data.batch_size=8", "--set", "optim.accumulate=2",
        "--set", "data.split=train", "--set", "schedule.epochs=3",
    )  # fmt: skip
    result = plan(*arguments)
    assert result.exit_code == 0, result.output
    rows = dict(line.split("  ", 1) for line in result.stdout.splitlines() if line[0] != " ")
    shown = {name: text.strip() for name, text in rows.items()}
    assert shown["samples"] == "16"
    assert shown["clips of a step"] == "8: 2 ranks, 2 x 2 a rank"
    assert shown["steps of an epoch"] == "2.0"
    assert shown["steps in all"] == "6: 3.0 epochs"
    assert shown["clips with a twin"] == "0.00% of a batch, of the same source"
    facts = json.loads(plan(*arguments, "--json").stdout.splitlines()[-1])
    assert (facts["part_size"], facts["num_ranks"], facts["num_parts"]) == (2, 2, 2)
    assert facts["shuffle"]["num_shards"] == 3
    # the order does not depend on who takes which part of it
    alone = json.loads(plan(*arguments[:1], *arguments[3:], "--json").stdout.splitlines()[-1])
    assert alone["fingerprint"] == facts["fingerprint"]


def test_a_mix(shard_set: Path, make_shard_set) -> None:  # type: ignore[no-untyped-def]
    other = make_shard_set(num_clips=9, build_hash="second")
    result = plan(shard_set, other, "--mix", "2,1", "--where", "source_index < 30", "--json")
    assert result.exit_code == 2
    assert "batch_size=32 is larger than the 30 samples" in result.stderr
    sets = ("--set", "data.batch_size=6", "--set", "data.clips_per_source=3")
    facts = json.loads(plan(shard_set, other, *sets, "--json").stdout.splitlines()[-1])
    assert facts["epoch_length"] == 3 * 33


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ranks", 3, "--set", "data.batch_size=8"), "set data.batch_size to 6 or 9"),
        (("--mix", "1,2"), "--mix has 2 weights for 1 shard sets"),
        (("--where", "duration_s > 99"), "keeps none of 24 samples"),
        (
            ("--set", "data.clips_per_source=2", "--set", "data.clips_per_sample=2"),
            "data.clips_per_source=2 and data.clips_per_sample=2 exclude each other",
        ),
    ],
)
def test_wrong_settings(shard_set: Path, arguments: tuple[object, ...], message: str) -> None:
    result = plan(shard_set, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
