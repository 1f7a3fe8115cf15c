"""Collectives of torch.distributed, and the end of gloo's threads' work on their tensors.

A thread of gloo drops the tensors of a collective a moment after the collective has returned. A
tensor that Python has seen takes the interpreter's lock for that, and a thread that asks for it
while the interpreter ends is killed, and the process aborts with it ("terminate called without an
active exception", torch 2.11). So a process waits for those threads before it ends.
"""

import time
import weakref
from collections import deque

import torch
from torch import Tensor, distributed

_POLL_S = 0.001


def all_reduce(value: Tensor) -> None:
    """Put the sum over ranks into the place of each rank's value."""
    if value.is_cpu:
        lent = value.detach()
        distributed.all_reduce(lent)
        note_lent(lent)
    else:
        distributed.all_reduce(value)


def all_gather(value: Tensor, *, group: distributed.ProcessGroup | None = None) -> list[Tensor]:
    """Values of all ranks, by rank; all have one shape."""
    parts = [torch.empty_like(value) for _ in range(distributed.get_world_size(group))]
    lent = [part.detach() for part in (value, *parts)] if value.is_cpu else [value, *parts]
    distributed.all_gather(lent[1:], lent[0], group=group)
    if value.is_cpu:
        note_lent(*lent)
    return parts


def wait_for_threads(*, limit_s: float = 5.0) -> bool:
    """Return when no thread of gloo holds a tensor of a collective that has returned.

    Returns:
        Whether it came to that within the limit.
    """
    end_s = time.monotonic() + limit_s
    while num_lent() and time.monotonic() < end_s:
        time.sleep(_POLL_S)  # without the interpreter's lock, which the threads want
    return not num_lent()


def num_lent() -> int:
    """Tensors that threads of gloo may hold."""
    while _lent and _lent[0]() is None:
        _lent.popleft()
    return sum(tensor() is not None for tensor in _lent)


_lent: deque[weakref.ref[Tensor]] = deque()
"""Tensors of collectives that have returned, which nobody but gloo's threads holds."""


def note_lent(*tensors: Tensor) -> None:
    """Have `wait_for_threads` wait until nobody holds these any more."""
    num_lent()  # forgets those that are free
    _lent.extend(weakref.ref(tensor) for tensor in tensors)
