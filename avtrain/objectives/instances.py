"""What criteria over memory banks share: which rows count, checks, and the frozen normalizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avtrain.objectives.across_ranks import RankRows, mean_across_ranks
from avtrain.objectives.nce import estimate_normalizer

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def trained_rows(candidates: Int[Tensor, " c"] | None, *, num_rows: int) -> Int[Tensor, " n"]:
    """The distinct candidates, ascending, on the CPU; None is all rows.

    Raises:
        ValueError: There are fewer than two, or one is out of range.
    """
    if candidates is None:
        candidates = torch.arange(num_rows)
    rows: Tensor = torch.unique(candidates.detach().cpu().long())
    if len(rows) < 2 or rows[0] < 0 or rows[-1] >= num_rows:
        seen = f"{len(rows)} distinct rows"
        if len(rows):
            seen += f" in [{int(rows[0])}, {int(rows[-1])}]"
        raise ValueError(f"candidates must be at least 2 rows in [0, {num_rows}), got {seen}")
    return rows


def check_instances(
    video: Tensor, audio: Tensor, index: Tensor, *, num_rows: int, dim: int
) -> None:
    """Refuse embeddings and indices that do not fit each other or the banks.

    Raises:
        ValueError: The shapes of the arguments and of the banks do not match.
    """
    expected = (len(index), dim)
    if index.ndim != 1 or video.shape != expected or audio.shape != expected:
        raise ValueError(
            f"embeddings must be {expected} for {tuple(index.shape)} indices and banks of "
            f"{(num_rows, dim)}, got video {tuple(video.shape)} and audio {tuple(audio.shape)}"
        )


@torch.no_grad()
def freeze_normalizer(
    stored: Float[Tensor, ""],
    negative_scores: Float[Tensor, "b m"],
    *,
    ranks: RankRows,
    training: bool,
) -> Float[Tensor, ""]:
    """The stored normalizer, or an estimate while none is stored; training stores it.

    Every step estimates, and reduces over ranks: to ask whether one is stored would wait for the
    device.
    """
    estimate = mean_across_ranks(ranks.share * estimate_normalizer(negative_scores))
    normalizer = torch.where(stored > 0, stored, estimate)
    if training:
        stored.copy_(normalizer)
    return normalizer
