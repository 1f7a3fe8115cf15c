"""Whether every rank holds whole memory banks, or the ranks share them."""

from __future__ import annotations

from typing import Literal

import torch

from avtrain.objectives.across_ranks import num_ranks
from avtrain.objectives.memory_bank import MemoryBank
from avtrain.objectives.sharded_bank import ShardedMemoryBank

BankLayout = Literal["auto", "replicated", "sharded"]
Bank = MemoryBank | ShardedMemoryBank

_NUM_BANKS = 2
_MOST_REPLICATED_BYTES = 4 * 2**30
"""Both banks of AudioSet, 1,784,108 rows each, have 1.8e9 bytes."""


def build_bank(
    layout: BankLayout, *, num_rows: int, dim: int, momentum: float, generator: torch.Generator
) -> Bank:
    """A new bank; on several ranks, all build it together.

    "auto" shares banks among ranks from 4 GiB (of video and audio together), since what a step
    exchanges for that is more than all else.
    """
    chosen = layout
    if layout == "auto":
        num_bytes = _NUM_BANKS * num_rows * dim * torch.float32.itemsize
        chosen = "sharded" if num_bytes > _MOST_REPLICATED_BYTES else "replicated"
    kind = ShardedMemoryBank if chosen == "sharded" and num_ranks() > 1 else MemoryBank
    return kind(num_rows=num_rows, dim=dim, momentum=momentum, generator=generator)
