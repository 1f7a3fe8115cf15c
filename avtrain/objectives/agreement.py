"""Cross-modal agreement: which other instances look and sound alike.

Letters: b query rows, c candidate rows, k positives.

Reference: Morgado et al. 2021, section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

AgreementKind = Literal["consensus", "union", "video", "audio"]


def agreement(
    video_similarity: Float[Tensor, "b c"],
    audio_similarity: Float[Tensor, "b c"],
    *,
    kind: AgreementKind,
) -> Float[Tensor, "b c"]:
    """Similarity over both modalities: consensus is the smaller one, union the larger one.

    Reference: Morgado et al. 2021, eq. 6 for the consensus.
    """
    match kind:
        case "consensus":
            return torch.minimum(video_similarity, audio_similarity)
        case "union":
            return torch.maximum(video_similarity, audio_similarity)
        case "video":
            return video_similarity
        case "audio":
            return audio_similarity
        case _:
            raise ValueError(
                f"agreement kind {kind!r} is unknown; choose consensus, union, video or audio"
            )


@torch.no_grad()
def top_positives(
    video_memory: Float[Tensor, "n d"],
    audio_memory: Float[Tensor, "n d"],
    *,
    queries: Int[Tensor, " b"],
    candidates: Int[Tensor, " c"],
    num_positives: int = 32,
    kind: AgreementKind = "consensus",
    chunk_rows: int = 256,
) -> Int[Tensor, "b k"]:
    """The candidates that agree most with each query row, ascending row ids in int32.

    A query is never its own positive. Peak memory is near 3 x chunk_rows x c floats; to spread the
    work over ranks, give each a part of the queries.

    Departures: the published code drops the first ranked row in the belief that it is the query;
    with exact duplicates that may be another. Here the query is left out by its row id.

    Args:
        video_memory: unit rows.
        audio_memory: unit rows, of the same instances.
        candidates: row ids that may be positives, ascending and distinct.
    """
    if video_memory.shape != audio_memory.shape:
        raise ValueError(
            f"banks must have equal shapes, got video {tuple(video_memory.shape)} and audio "
            f"{tuple(audio_memory.shape)}"
        )
    if not 1 <= num_positives < len(candidates):
        raise ValueError(
            f"{num_positives=} must be in [1, {len(candidates)}), the number of candidates"
        )
    video_candidates, audio_candidates = video_memory[candidates], audio_memory[candidates]
    found = []
    for chunk in torch.split(queries, chunk_rows):
        rho = agreement(
            video_memory[chunk] @ video_candidates.T,
            audio_memory[chunk] @ audio_candidates.T,
            kind=kind,
        )
        rho = rho.masked_fill(chunk[:, None] == candidates[None, :], -torch.inf)
        positions = rho.topk(num_positives, dim=1, sorted=False).indices
        found.append(candidates[positions].sort(dim=1).values.int())
    return torch.cat(found)
