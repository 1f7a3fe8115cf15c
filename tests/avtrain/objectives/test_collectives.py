"""Collectives give every rank the same, and leave nothing in the hands of gloo's threads."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed, multiprocessing

from avtrain.objectives.across_ranks import exchange_numbers, gather_objects
from avtrain.objectives.collectives import (
    all_gather,
    all_reduce,
    note_lent,
    num_lent,
    wait_for_threads,
)

NUM_RANKS = 2


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=NUM_RANKS
    )
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(
        10
    )  # threads of gloo get the interpreter's lock only where it is given up
    total = torch.tensor([1.0, rank])
    all_reduce(total)
    assert total.tolist() == [2, 1]
    parts = all_gather(torch.tensor([rank, 7]))
    assert [part.tolist() for part in parts] == [[0, 7], [1, 7]]
    assert exchange_numbers((rank, 3)) == [(0, 3), (1, 3)]
    objects = ["a" * 1000, None] if rank == 0 else {"b": Path("c")}
    assert gather_objects(objects) == [["a" * 1000, None], {"b": Path("c")}]
    assert wait_for_threads()
    assert num_lent() == 0
    sys.setswitchinterval(switch_s)
    distributed.destroy_process_group()


def test_two_ranks(tmp_path: Path) -> None:
    multiprocessing.spawn(_work, args=(str(tmp_path),), nprocs=NUM_RANKS)  # type: ignore[no-untyped-call]


def test_what_a_thread_keeps_is_waited_for_within_the_limit() -> None:
    kept = torch.zeros(1)
    note_lent(kept)
    assert not wait_for_threads(limit_s=0.01)
    del kept
    assert wait_for_threads(limit_s=0.01)
