"""Two processes over gloo: one run, one message, one end. All of it in one pair of processes."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from avdata import AvdataError, ShardSet, build_settings
from avtrain.engine.checkpoint import Checkpoint, list_checkpoints, load_latest_checkpoint
from avtrain.engine.config import FitConfig
from avtrain.engine.fit import FitResult, fit
from avtrain.engine.journal import LogLine
from avtrain.engine.ranks import check_same, join_ranks, together
from avtrain.errors import RunError
from avtrain.objectives import AVIDCriterion, AVIDCriterionConfig
from avtrain.objectives.across_ranks import concat_across_ranks, rank_share, rows_across_ranks

NUM_RANKS = 2
OF_RANKS = (3, 1)
"""Rows of a batch of which two samples of rank 1 were bad."""


class _Silent:
    """Counts steps."""

    def __init__(self) -> None:
        self.num_steps = 0
        self.result: FitResult | None = None

    def started(self, step: int, num_steps: int) -> None: ...

    def stepped(self, step: int) -> None:
        self.num_steps += 1

    def logged(self, line: LogLine) -> None: ...


def whole_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    video, audio = (torch.randn(sum(OF_RANKS), 8, generator=generator) for _ in range(2))
    return video, audio, torch.tensor([3, 7, 1, 5])


def criterion_step(rows: slice) -> dict[str, torch.Tensor]:
    """Loss, gradients and banks of the given rows of the batch."""
    criterion = AVIDCriterion(
        AVIDCriterionConfig(num_negatives=6, mode="joint"),
        num_rows=12,
        dim=8,
        generator=torch.Generator().manual_seed(0),
    )
    video, audio, index = (value[rows].clone() for value in whole_batch())
    video.requires_grad_()
    audio.requires_grad_()
    output = criterion(video, audio, index=index, generator=torch.Generator().manual_seed(2))
    output.total.backward()
    assert video.grad is not None
    assert audio.grad is not None
    return {
        "loss": output.total.detach(),
        "video": video.grad,
        "audio": audio.grad,
        **criterion.state_dict(),
    }


def expect(kind: type[BaseException], work: Callable[[], object]) -> str:
    """Text of the error of that kind which `work` ends with."""
    with pytest.raises(kind) as caught:
        work()
    return str(caught.value)


def run_all(rank: int, folder: Path, shards: Path, settings: tuple[str, ...]) -> None:
    """Everything that this rank sees, into files."""
    seen: dict[str, object] = {}
    here = slice(0, 3) if rank == 0 else slice(3, 4)
    rows = rows_across_ranks(OF_RANKS[rank])
    seen["share"] = rank_share(OF_RANKS[rank])
    assert (rows.total, rows.here, rows.of_ranks) == (4, here, OF_RANKS)
    index = whole_batch()[2]
    assert torch.equal(concat_across_ranks(index[here]), index)
    torch.save(criterion_step(here), folder / f"criterion-{rank}.pt")

    def train(out: str, *more: str) -> _Silent:
        progress = _Silent()
        progress.result = fit(
            ShardSet(shards),
            build_settings(FitConfig, {}, (*settings, *more)),
            run=folder / out,
            resume=False,
            device=torch.device("cpu"),
            progress=progress,
        )
        return progress

    progress = train("run")
    seen["steps"] = progress.num_steps
    assert progress.result is not None
    state = progress.result.method.state_dict()
    banks = {name: state[f"criterion.{name}_memory.memory"] for name in ("video", "audio")}
    torch.save(banks, folder / f"banks-{rank}.pt")
    train("parts", "schedule.max_steps=4")
    seen["steps after"] = train("parts").num_steps
    train("accumulate", "optim.accumulate=2", "data.batch_size=8", "schedule.max_steps=3")

    ends = RunError if rank == 0 else SystemExit
    facts = {"the shard set with fingerprint": f"{rank}"}
    seen["other data"] = expect(ends, lambda: check_same(facts))
    other = f"seed={rank}"
    seen["other settings"] = expect(ends, lambda: train("other", other))

    def missing_here() -> None:
        if rank == 1:
            raise RunError("no such file")

    seen["one fails"] = expect(ends, lambda: together(missing_here))
    ends = AvdataError if rank == 0 else SystemExit
    bad = ("optim.lr=1e30", "log.every_steps=2")
    seen["not finite"] = expect(ends, lambda: train("bad", *bad))
    seen["odd batch"] = expect(ends, lambda: train("odd", "data.batch_size=7"))
    seen["single clips"] = expect(ends, lambda: train("odd", "optim.accumulate=3"))
    (folder / f"seen-{rank}.json").write_text(json.dumps(seen))


def _rank(rank: int, folder: Path, shards: Path, settings: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(NUM_RANKS),
        "LOCAL_WORLD_SIZE": str(NUM_RANKS),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": (folder / "port").read_text(),
    }
    try:
        with join_ranks("cpu"):
            run_all(rank, folder, shards, settings)
    except BaseException:
        (folder / f"traceback-{rank}").write_text(traceback.format_exc())
        raise
    assert not distributed.is_initialized()


@pytest.fixture(scope="module")
def ranks(
    shard_set: Path, tiny_run: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder with what two ranks left behind."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (folder / "port").write_text(str(free.getsockname()[1]))
    settings = (*tiny_run, "data.loader_threads=1")
    multiprocessing.spawn(_rank, args=(folder, shard_set, settings), nprocs=NUM_RANKS)  # type: ignore[no-untyped-call]
    return folder


def seen(ranks: Path, name: str) -> list[object]:
    return [json.loads((ranks / f"seen-{rank}.json").read_text())[name] for rank in (0, 1)]


def last(run: Path) -> Checkpoint:
    checkpoint = load_latest_checkpoint(run)
    assert checkpoint is not None
    return checkpoint


def test_loss_and_gradients_are_those_of_one_rank_with_all_rows(ranks: Path) -> None:
    one = criterion_step(slice(0, 4))
    two = [torch.load(ranks / f"criterion-{rank}.pt") for rank in (0, 1)]
    assert seen(ranks, "share") == [1.5, 0.5]
    torch.testing.assert_close((two[0]["loss"] + two[1]["loss"]) / 2, one["loss"])
    for name in ("video", "audio"):  # averaging over ranks divides by two
        torch.testing.assert_close(torch.cat([part[name] for part in two]) / 2, one[name])
    for name in ("video_memory.memory", "audio_memory.memory", "normalizer"):
        assert torch.equal(two[0][name], two[1][name]), name
        torch.testing.assert_close(two[0][name], one[name])


def test_a_run_of_two_ranks(ranks: Path, shard_set: Path, tiny_run: tuple[str, ...]) -> None:
    assert seen(ranks, "steps") == [10, 10]
    run = ranks / "run"
    keys = [json.loads(line)["keys"] for line in (run / "keys.jsonl").read_text().splitlines()]
    assert [len(batch) for batch in keys] == [6] * 10
    everything = [key for batch in keys for key in batch]
    for epoch in range(3):
        assert len(set(everything[16 * epoch : 16 * epoch + 16])) == 16
    fit(
        ShardSet(shard_set),
        build_settings(FitConfig, {}, tiny_run),
        run=ranks / "one",
        resume=False,
        device=torch.device("cpu"),
        progress=_Silent(),
    )
    assert (run / "keys.jsonl").read_text() == (ranks / "one" / "keys.jsonl").read_text()
    assert last(run).step == last(ranks / "one").step == 10
    assert torch.load(ranks / "banks-0.pt").keys() == {"video", "audio"}
    for name, bank in torch.load(ranks / "banks-0.pt").items():
        assert torch.equal(bank, torch.load(ranks / "banks-1.pt")[name])
        assert torch.equal(bank, last(run).method[f"criterion.{name}_memory.memory"])


def test_a_run_that_goes_on_equals_the_uninterrupted_one(ranks: Path) -> None:
    assert seen(ranks, "steps after") == [6, 6]
    a, b = last(ranks / "run"), last(ranks / "parts")
    assert a.step == b.step == 10
    networks = [n for n in a.method if n.startswith("model.") and "running" not in n]
    for name in (*networks, "criterion.video_memory.memory"):
        # rank 1 goes on with the running statistics of rank 0, which no training loss reads
        assert torch.equal(a.method[name], b.method[name]), name


def test_accumulated_parts_are_one_step(ranks: Path) -> None:
    run = ranks / "accumulate"
    assert last(run).step == 3
    assert [len(json.loads(x)["keys"]) for x in (run / "keys.jsonl").read_text().splitlines()] == [
        8,
        8,
        8,
    ]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("other data", ("rank 1 has the shard set with fingerprint 1, rank 0 has 0",)),
        ("other settings", ("rank 1 has the", "rank 0 has", "same shard set with the same")),
        ("one fails", ("rank 1: no such file",)),
        ("not finite", ("the loss of step", "is not finite", "its batch was clip-0")),
        ("single clips", ("batch_size=6 on 2 ranks in 3 parts is one clip at a time",)),
        ("odd batch", ("data.batch_size=7 is not a multiple of 2 ranks", "to 6 or 8")),
    ],
)
def test_all_ranks_end_and_the_first_says_why(
    ranks: Path, name: str, texts: tuple[str, ...]
) -> None:
    first, other = seen(ranks, name)
    for text in texts:
        assert text in str(first)
    assert other == "2"  # its exit code; it says nothing


def test_only_the_first_rank_writes(ranks: Path) -> None:
    assert len(list_checkpoints(ranks / "run")) == 1
    assert len((ranks / "run" / "log.jsonl").read_text().splitlines()) == 3
    assert not (ranks / "other").exists()
    assert not (ranks / "odd").exists()
