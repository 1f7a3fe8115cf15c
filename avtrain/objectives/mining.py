"""Mining of positives: for every trained instance the others that agree with it most.

The queries are spread over ranks. Each rank goes through blocks of candidates, and for each block
through chunks of its queries, and keeps the best of every query so far. Memory: a chunk's
similarities to a block, twice; the own queries' rows; and the result.

Most of a block is no better than what a query has, so only the maxima of small groups are looked at
closely: a pass of topk over all would cost half as much again as the products themselves::

    block of a chunk   . . . . . . . .      groups are strided columns: 0 4 | 1 5 | 2 6 | 3 7
    their maxima       . . . .              above the query's worst positive? then look inside

Letters: q queries of a chunk, c candidates of a block, g members of a group, d, k positives.

Reference: Morgado et al. 2021, section 3.2.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from avtrain.objectives.across_ranks import concat_across_ranks, num_ranks, rank
from avtrain.objectives.agreement import AgreementKind, agreement

if TYPE_CHECKING:
    from jaxtyping import Float, Int

logger = logging.getLogger(__name__)

LeftOut = Literal["query", "best"]
"""Who of the k + 1 best does not count: the query itself, by its row id, or whoever is ranked first
in the belief that it is the query, as in the published code."""

_GROUP = 32
_LOG_EVERY_S = 30.0


class _Rows(Protocol):
    """What mining needs of a memory bank."""

    def rows(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]: ...
    def common_rows(self, index: Int[Tensor, " c"]) -> Float[Tensor, "c d"]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class MiningSizes:
    """How much is compared at a time."""

    chunk_rows: int
    """Queries."""
    block_rows: int
    """Candidates."""

    @classmethod
    def for_device(cls, device: torch.device) -> MiningSizes:
        """Similarities of 64 MiB on a CPU, of 1 GiB on a GPU."""
        if device.type == "cuda":
            return cls(chunk_rows=8192, block_rows=16384)
        return cls(chunk_rows=1024, block_rows=8192)


@torch.no_grad()
def mine_positives(
    video: _Rows,
    audio: _Rows,
    *,
    candidates: Int[Tensor, " n"],
    num_positives: int,
    kind: AgreementKind = "consensus",
    left_out: LeftOut = "query",
    sizes: MiningSizes | None = None,
) -> Int[Tensor, "n k"]:
    """For each candidate the others that agree most with it: ascending row ids, int32.

    All ranks call it together, and get the same. Products are float32 throughout: where the device
    could round them to TF32, it does not. Equal agreements are chosen among by no promised rule.

    Args:
        candidates: row ids, ascending and distinct, on the device of the banks.

    Raises:
        ValueError: There are not more candidates than positives.
    """
    if not 1 <= num_positives < len(candidates):
        raise ValueError(
            f"{num_positives=} must be in [1, {len(candidates)}), the number of candidates"
        )
    sizes = sizes or MiningSizes.for_device(candidates.device)
    width = num_positives + (left_out == "best")
    start_s = time.perf_counter()
    with _exact_products():
        best = _Best.of_share(video, audio, candidates, width=width, sizes=sizes)
        for start in range(0, len(candidates), sizes.block_rows):
            block = slice(start, min(start + sizes.block_rows, len(candidates)))
            index = candidates[block]
            best.compare(
                video.common_rows(index),
                audio.common_rows(index),
                block,
                kind=kind,
                mask_query=left_out == "query",
            )
            start_s = _log_progress(block.stop / len(candidates), start_s)
    positions = best.positions
    if left_out == "best":
        order = best.values.sort(dim=1, descending=True, stable=True).indices
        positions = positions.gather(1, order[:, 1:])
    return concat_across_ranks(candidates[positions].sort(dim=1).values.int())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Best:
    """The best candidates so far of this rank's queries."""

    first: int
    """Position of the first query among the candidates."""
    video: Tensor
    audio: Tensor
    """Rows of the queries, (queries, d)."""
    values: Tensor
    """Agreements, float32 (queries, k), in no order."""
    positions: Tensor
    """Positions among the candidates, int32 (queries, k)."""
    chunk_rows: int
    space: tuple[Tensor, Tensor]
    """Room for a chunk's similarities to a block, of both modalities."""

    @classmethod
    def of_share(
        cls, video: _Rows, audio: _Rows, candidates: Tensor, *, width: int, sizes: MiningSizes
    ) -> _Best:
        """No candidates yet, for the queries of this rank."""
        count = len(candidates)
        start, stop = count * rank() // num_ranks(), count * (rank() + 1) // num_ranks()
        longest = -(-count // num_ranks())  # every rank asks for equally many chunks of rows
        chunks = [
            candidates[min(start + offset, stop) : min(start + offset + sizes.chunk_rows, stop)]
            for offset in range(0, longest, sizes.chunk_rows)
        ]
        own_video = torch.cat([video.rows(chunk) for chunk in chunks])
        own_audio = torch.cat([audio.rows(chunk) for chunk in chunks])
        room = min(sizes.chunk_rows, stop - start) * min(sizes.block_rows, count)
        return cls(
            first=start,
            video=own_video,
            audio=own_audio,
            values=own_video.new_full((stop - start, width), -torch.inf),
            positions=torch.zeros(
                (stop - start, width), dtype=torch.int32, device=candidates.device
            ),
            chunk_rows=sizes.chunk_rows,
            space=(own_video.new_empty(room), own_video.new_empty(room)),
        )

    def compare(
        self,
        video_block: Float[Tensor, "c d"],
        audio_block: Float[Tensor, "c d"],
        block: slice,
        *,
        kind: AgreementKind,
        mask_query: bool,
    ) -> None:
        """Take up the candidates of a block."""
        num_columns = block.stop - block.start
        for start in range(0, len(self.values), self.chunk_rows):
            chunk = slice(start, min(start + self.chunk_rows, len(self.values)))
            shape = (chunk.stop - chunk.start, num_columns)
            video, audio = (room[: shape[0] * shape[1]].view(shape) for room in self.space)
            if kind != "audio":
                torch.mm(self.video[chunk], video_block.T, out=video)
            if kind != "video":
                torch.mm(self.audio[chunk], audio_block.T, out=audio)
            rho = agreement(video, audio, kind=kind, out=video if kind != "audio" else audio)
            offset = self.first + start - block.start
            if mask_query and -shape[0] < offset < shape[1]:
                rho.diagonal(offset).fill_(-torch.inf)
            self._take(rho, chunk, first_position=block.start)

    def _take(self, rho: Float[Tensor, "q c"], chunk: slice, *, first_position: int) -> None:
        values, positions = self.values[chunk], self.positions[chunk]
        if first_position == 0:
            found = rho.topk(min(values.shape[1], rho.shape[1]), dim=1, sorted=False)
            values[:, : found.values.shape[1]] = found.values
            positions[:, : found.values.shape[1]] = found.indices.int()
            return
        query, column = _better(rho, values.amin(dim=1))
        if not len(query):
            return
        # one line a query that has any, filled up with nothing
        lines, counts = torch.unique_consecutive(query, return_counts=True)
        line = torch.repeat_interleave(torch.arange(len(lines), device=rho.device), counts)
        place = torch.arange(len(query), device=rho.device) - (counts.cumsum(0) - counts)[line]
        shape = (len(lines), int(counts.max()))
        new_values = rho.new_full(shape, -torch.inf)
        new_values[line, place] = rho[query, column]
        new_positions = positions.new_zeros(shape)
        new_positions[line, place] = (first_position + column).int()
        all_values = torch.cat([values[lines], new_values], dim=1)
        all_positions = torch.cat([positions[lines], new_positions], dim=1)
        kept = all_values.topk(values.shape[1], dim=1, sorted=False)
        values[lines] = kept.values
        positions[lines] = all_positions.gather(1, kept.indices)


def _better(rho: Float[Tensor, "q c"], worst: Float[Tensor, " q"]) -> tuple[Tensor, Tensor]:
    """Rows, ascending, and columns of the entries above their row's `worst`."""
    num_columns = rho.shape[1]
    num_groups = num_columns // _GROUP
    if num_groups * _GROUP != num_columns:  # only the last block
        query, column = (rho > worst[:, None]).nonzero().unbind(1)
        return query, column
    grouped = rho.view(len(rho), _GROUP, num_groups)
    query, group = (grouped.amax(dim=1) > worst[:, None]).nonzero().unbind(1)
    members = grouped[query, :, group]
    hit, member = (members > worst[query][:, None]).nonzero().unbind(1)
    return query[hit], member * num_groups + group[hit]


def _log_progress(share: float, since_s: float) -> float:
    """Write a line now and then; returns since when none was written."""
    now_s = time.perf_counter()
    if now_s - since_s < _LOG_EVERY_S:
        return since_s
    logger.info("mining positives: %.0f %%", 100 * share)
    return now_s


@contextmanager
def _exact_products() -> Iterator[None]:
    """Products of float32 in float32: near ties would be ranked at random by TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
