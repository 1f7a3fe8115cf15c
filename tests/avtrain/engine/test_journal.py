"""Logs have each step once, also after a kill."""

import json
from pathlib import Path

import pytest

from avtrain.engine.journal import Journal, LogLine


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
    assert {"terms/a", "terms/b"} <= set(events.Tags()["scalars"])
    assert not (tmp_path / "keys.jsonl").exists()
