"""What objectives exchange between ranks; on one process all of it returns its argument.

Ranks may have unequal numbers of rows, since bad samples are dropped from a batch. How many each
has is exchanged on the host, through gloo, so that nothing waits for the device.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

from avtrain.objectives.collectives import all_gather, all_reduce

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped


@dataclass(frozen=True, kw_only=True, slots=True)
class RankRows:
    """Rows of one batch on every rank; those of rank 0 come first."""

    of_ranks: tuple[int, ...]
    rank: int = 0

    @property
    def total(self) -> int:
        """Rows on all ranks."""
        return sum(self.of_ranks)

    @property
    def here(self) -> slice:
        """This rank's rows among all rows."""
        start = sum(self.of_ranks[: self.rank])
        return slice(start, start + self.of_ranks[self.rank])

    @property
    def share(self) -> float:
        """Rows here times ranks over rows everywhere.

        A mean over the rows here, times this, has as its mean over ranks the mean over all rows.
        """
        return self.of_ranks[self.rank] * len(self.of_ranks) / self.total


def rows_across_ranks(num_rows: int) -> RankRows:
    """Rows of every rank, of which this one has `num_rows`; called by all ranks together.

    Raises:
        ValueError: No rank has a row.
    """
    counts = [numbers[0] for numbers in exchange_numbers((num_rows,))]
    if not sum(counts):
        raise ValueError(f"a batch needs at least one row, the ranks have {counts}")
    return RankRows(of_ranks=tuple(counts), rank=rank())


def rank_share(num_rows: int) -> float:
    """`RankRows.share` of a batch with `num_rows` rows here; called by all ranks together."""
    return rows_across_ranks(num_rows).share


@torch.no_grad()
def mean_across_ranks(value: Float[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """Mean over ranks, without gradient."""
    if num_ranks() == 1:
        return value
    total = value.detach().clone()
    all_reduce(total)
    return total / num_ranks()


@torch.no_grad()
def concat_across_ranks(
    value: Shaped[Tensor, "b ..."], *, rows: RankRows | None = None
) -> Shaped[Tensor, "rb ..."]:
    """Rows of rank 0, then of rank 1 and so on, without gradient.

    Args:
        value: Ranks may have unequal numbers of rows.
        rows: What `rows_across_ranks` returned for them; without it, it is asked here.
    """
    if num_ranks() == 1:
        return value
    rows = rows or rows_across_ranks(len(value))
    most = max(rows.of_ranks)
    padded = value.detach().new_zeros((most, *value.shape[1:]))
    padded[: len(value)] = value.detach()
    parts = all_gather(padded)
    return torch.cat([part[:count] for part, count in zip(parts, rows.of_ranks, strict=True)])


def exchange_numbers(numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Numbers of every rank, by rank; all give equally many. The device does not take part."""
    if num_ranks() == 1:
        return [numbers]
    own = torch.tensor(numbers, dtype=torch.int64)
    return [tuple(part.tolist()) for part in all_gather(own, group=host_group())]


def gather_objects(value: object) -> list[object]:
    """Values of every rank, by rank, anything that pickles. The device does not take part."""
    if num_ranks() == 1:
        return [value]
    own = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
    sizes = [size for (size,) in exchange_numbers((len(own),))]
    padded = own.new_zeros(max(sizes))
    padded[: len(own)] = own
    parts = all_gather(padded, group=host_group())
    return [
        pickle.loads(part[:size].numpy().tobytes()) for part, size in zip(parts, sizes, strict=True)
    ]


def host_group() -> distributed.ProcessGroup | None:
    """The group for tensors in host memory; the first call is made by all ranks together."""
    world = distributed.group.WORLD
    if distributed.get_backend() == "gloo":
        return world
    if _host_groups.get("of") is not world:
        _host_groups.update(of=world, host=distributed.new_group(backend="gloo"))
    return _host_groups["host"]


_host_groups: dict[str, distributed.ProcessGroup | None] = {}
"""The host's group beside the group of all ranks that it was made for."""


def num_ranks() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if _grouped() else 1


def rank() -> int:
    """Number of this process among them."""
    return distributed.get_rank() if _grouped() else 0


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()
