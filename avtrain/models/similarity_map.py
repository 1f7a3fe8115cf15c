"""Maps of how much each place of a video goes with sounds, by the embeddings of two networks.

Letters: b clips, c channels, t steps, h w cells, k sounds of each clip, d embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


def similarity_maps(
    features: Float[Tensor, "b c t h w"], head: nn.Module, heard: Float[Tensor, "b k d"]
) -> Float[Tensor, "b k t h w"]:
    """Cosines in [-1, 1] of each cell with each sound, float32.

    The video head, trained on features pooled over time and place, works on the features of each
    cell before they are pooled.

    Args:
        features: The video network's last features.
        head: The video network's projection, (n, c) -> (n, d).
        heard: Embeddings of the sounds.

    Reference: Senocak et al. 2018 and later work compare so; heads as in Morgado et al. 2021.
    """
    places = features.movedim(1, -1)  # (b, t, h, w, c)
    # in rows, as heads that normalize over a batch take them
    embedded = head(places.flatten(0, 3)).float().reshape(*places.shape[:4], -1)
    seen = F.normalize(embedded, dim=-1)
    return (seen[:, None] * F.normalize(heard.float(), dim=-1)[:, :, None, None, None]).sum(dim=-1)
