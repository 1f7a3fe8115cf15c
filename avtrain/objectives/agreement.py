"""Cross-modal agreement: which other instances look and sound alike.

Letters: b query rows, c candidate rows.

Reference: Morgado et al. 2021, section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

AgreementKind = Literal["consensus", "union", "video", "audio"]


def agreement(
    video_similarity: Float[Tensor, "b c"],
    audio_similarity: Float[Tensor, "b c"],
    *,
    kind: AgreementKind,
    out: Tensor | None = None,
) -> Float[Tensor, "b c"]:
    """Similarity over both modalities: consensus is the smaller one, union the larger one.

    Args:
        out: where the result is written, instead of to new memory; may be one of the arguments.
            Of a single modality its similarity itself is returned.

    Reference: Morgado et al. 2021, eq. 6 for the consensus.
    """
    match kind:
        case "consensus":
            return torch.minimum(video_similarity, audio_similarity, out=out)
        case "union":
            return torch.maximum(video_similarity, audio_similarity, out=out)
        case "video":
            return video_similarity
        case "audio":
            return audio_similarity
        case _:
            raise ValueError(
                f"agreement kind {kind!r} is unknown; choose consensus, union, video or audio"
            )
