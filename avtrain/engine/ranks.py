"""The processes of one run: `torchrun` starts several, without it there is one.

Faults that one rank meets are told to all, so that all end and none waits for a rank that is gone;
rank 0 alone says what the fault is.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from avdata import AvdataError
from avtrain.engine.device import DeviceName, choose_device
from avtrain.errors import RunError, TrainingError
from avtrain.objectives.across_ranks import gather_objects, host_group, num_ranks, rank
from avtrain.objectives.collectives import wait_for_threads

Value = TypeVar("Value")

EXIT_FAULT = 2
"""Of the ranks that leave the message to rank 0."""


@contextmanager
def join_ranks(device: DeviceName) -> Iterator[torch.device]:
    """This process's device, as one of the ranks that torchrun started, or as the only one.

    Raises:
        AvtrainError: There is no such device for this rank.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield choose_device(device)
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    chosen = choose_device(device, local_rank=local_rank)
    if int(os.environ["RANK"]) != 0:
        logging.getLogger().setLevel(logging.ERROR)  # rank 0 says it
    store, number, size = next(rendezvous("env://"))
    # torchrun keeps its store over restarts, and in it the addresses of the ranks that ended
    store = distributed.PrefixStore(  # type: ignore[attr-defined]
        f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store
    )
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group(
        "nccl" if chosen.type == "cuda" else "gloo",
        store=store,
        rank=number,
        world_size=size,
        device_id=chosen if chosen.type == "cuda" else None,
    )
    host_group()  # by all ranks, and before anything can go wrong on one of them
    try:
        yield chosen
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            f"rank {rank()} lost the others ({str(error).partition(chr(10))[0]}); the output of "
            "the rank that ended first says why. The same command goes on from the last "
            "checkpoint; `torchrun --max-restarts 3` repeats it by itself"
        ) from error
    finally:
        if distributed.is_initialized():
            wait_for_threads()
            distributed.destroy_process_group()


def gather_from_ranks(value: Value) -> list[Value]:
    """Values of all ranks, by rank."""
    return gather_objects(value)  # type: ignore[return-value]


def from_first_rank(value: Value) -> Value:
    """The value that rank 0 gives; those of the others are ignored."""
    return gather_from_ranks(value if rank() == 0 else None)[0]  # type: ignore[return-value]


def together(work: Callable[[], Value]) -> Value:
    """Result of `work` on this rank, where it succeeds on every rank.

    Raises:
        AvdataError: The fault of the first rank that met one.
    """
    result: Value | None = None
    fault: AvdataError | None = None
    try:
        result = work()
    except AvdataError as error:
        fault = error
    raise_together(fault)
    return result  # type: ignore[return-value]


def raise_together(fault: AvdataError | None) -> None:
    """Raise, on all ranks, the first fault of any; called by all of them.

    Raises:
        AvdataError: On rank 0; the other ranks exit.
    """
    if num_ranks() == 1:
        if fault is not None:
            raise fault
        return
    texts = gather_from_ranks(None if fault is None else str(fault))
    failed = [number for number, text in enumerate(texts) if text is not None]
    if not failed:
        return
    _leave_to_first_rank()
    if fault is not None and len(failed) == num_ranks():
        raise fault
    raise RunError(f"rank {failed[0]}: {texts[failed[0]]}")


def check_same(facts: dict[str, str]) -> None:
    """Refuse ranks that would not train the same run; called by all ranks.

    Raises:
        RunError: On rank 0; the text names the first rank and fact that differ. Other ranks exit.
    """
    everyone = gather_from_ranks(facts)
    for number, theirs in enumerate(everyone):
        for name, value in everyone[0].items():
            if theirs[name] != value:
                _leave_to_first_rank()
                raise RunError(
                    f"rank {number} has {name} {theirs[name]}, rank 0 has {value}; all ranks must "
                    "read the same shard set with the same settings and the same avtrain"
                )


def _leave_to_first_rank() -> None:
    if rank() != 0:
        _exit()


def _exit() -> NoReturn:
    raise SystemExit(EXIT_FAULT)
