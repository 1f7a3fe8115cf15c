"""Logs have each step once, also after a kill."""

import json
import sys
from pathlib import Path

import pytest

from avtrain.engine.journal import Journal, LogLine, check_wandb
from avtrain.errors import RunError


def line(step: int) -> LogLine:
    return LogLine(
        step=step,
        epoch=0,
        loss=1.5,
        terms={"a": 1.0, "b": 2.0},
        lr=0.1,
        samples_per_s=10.0,
        data_wait=0.25,
        seconds=float(step),
    )


def steps(path: Path) -> list[int]:
    return [json.loads(text)["step"] for text in path.read_text().splitlines()]


@pytest.mark.parametrize("torn", ["", '{"step": 3, "lo', "\0\0\0"])
def test_reopening_cuts_what_lies_after_the_checkpoint(tmp_path: Path, torn: str) -> None:
    with Journal(tmp_path, step=0, keys=True, tensorboard=False) as journal:
        for step in (1, 2, 3):
            journal.write(line(step))
            journal.write_keys(step, ["x", "y"])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(torn)
    with Journal(tmp_path, step=2, keys=True, tensorboard=False) as journal:
        journal.write(line(3))
    assert steps(tmp_path / "log.jsonl") == [1, 2, 3]
    assert steps(tmp_path / "keys.jsonl") == [1, 2]


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Journal(tmp_path, step=0, keys=False, tensorboard=True) as journal:
        journal.write(line(1))
        journal.write(line(2))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.5), (2, 1.5)]
    assert events.Scalars("speed/data_wait")[0].value == 0.25
    assert {"terms/a", "terms/b", "optim/lr"} <= set(events.Tags()["scalars"])
    assert not (tmp_path / "keys.jsonl").exists()


WANDB = """
import json, pathlib
FILE = pathlib.Path(__file__).with_name("said.jsonl")
def say(**facts):
    with FILE.open("a") as file:
        file.write(json.dumps(facts) + "\\n")
class Run:
    def log(self, numbers, step): say(step=step, **numbers)
    def finish(self, exit_code): say(exit_code=exit_code)
def init(**settings):
    say(**settings)
    return Run()
"""
"""A package with the functions of wandb that are called, which writes down what it is told."""


def test_weights_and_biases_gets_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed
    with pytest.raises(RunError, match=r"needs the package wandb.*`pip install wandb`"):
        check_wandb()
    monkeypatch.delitem(sys.modules, "wandb")
    (tmp_path / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text('{"config": {"seed": 3}}')
    check_wandb()
    for step in (1, 2):  # the second session goes on with the first one's
        with Journal(run, step=step - 1, keys=False, tensorboard=False, wandb=True) as journal:
            journal.write(line(step))
    del sys.modules["wandb"]
    said = [json.loads(text) for text in (tmp_path / "said.jsonl").read_text().splitlines()]
    first, numbers, end, again = said[:4]
    assert (first["project"], first["name"], first["config"]) == ("avtrain", "run", {"seed": 3})
    assert (numbers["step"], numbers["loss"], numbers["terms/a"]) == (1, 1.5, 1.0)
    assert end == {"exit_code": 0}
    assert again["id"] == first["id"]
