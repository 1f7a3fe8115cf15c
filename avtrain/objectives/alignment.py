"""Is this sound in sync with these pictures, and if not, how late is it?

Letters: b clips, k delays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.objectives.across_ranks import rank_share
from avtrain.objectives.terms import LossOutput

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def alignment_loss(logits: Float[Tensor, "2 b"], aligned_first: Bool[Tensor, " b"]) -> LossOutput:
    """Mean binary cross-entropy of clips that are each seen in sync once, and once shifted.

    Computed in float32. Metrics are the accuracy at threshold 0, and the share of clips whose
    logit in sync is above the one shifted; both are one half by chance.

    Args:
        logits: Of both passes; positive says "in sync".
        aligned_first: The first pass had a clip's own sound, the second one its shifted sound;
            where false the reverse.

    Reference: Owens & Efros 2018, section 3, eq. 1.

    Raises:
        ValueError: The shapes do not fit.
    """
    if logits.ndim != 2 or logits.shape != (2, len(aligned_first)):
        raise ValueError(
            f"logits must be (2, b) for labels (b,), got {tuple(logits.shape)} and "
            f"{tuple(aligned_first.shape)}"
        )
    logits = logits.float()
    labels = torch.stack([aligned_first, ~aligned_first])
    share = rank_share(len(aligned_first))
    total = F.binary_cross_entropy_with_logits(logits, labels.float()) * share
    with torch.no_grad():
        difference = torch.where(aligned_first, logits[0] - logits[1], logits[1] - logits[0])
        metrics = {
            "accuracy": ((logits > 0) == labels).float().mean() * share,
            "aligned_over_shifted": (difference > 0).float().mean() * share,
        }
    return LossOutput(total=total, terms={"alignment": total.detach()}, metrics=metrics)


def offset_loss(logits: Float[Tensor, "b k"], delay: Int[Tensor, " b"]) -> LossOutput:
    """Mean cross-entropy of which of k delays the sound has.

    Computed in float32. Metrics are the accuracy, and the share that is at most one step off.

    Reference: Iashin et al. 2024 (Synchformer), section 3.

    Raises:
        ValueError: The shapes do not fit.
    """
    if logits.ndim != 2 or delay.shape != logits.shape[:1]:
        raise ValueError(
            f"logits must be (b, k) for delays (b,), got {tuple(logits.shape)} and "
            f"{tuple(delay.shape)}"
        )
    logits = logits.float()
    share = rank_share(len(delay))
    total = F.cross_entropy(logits, delay) * share
    with torch.no_grad():
        off_by = (logits.argmax(dim=1) - delay).abs()
        metrics = {
            "accuracy": (off_by == 0).float().mean() * share,
            "within_one": (off_by <= 1).float().mean() * share,
        }
    return LossOutput(total=total, terms={"offset": total.detach()}, metrics=metrics)
