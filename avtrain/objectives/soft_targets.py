"""Soft targets: which other instances mean the same as the anchor, read from the memory banks.

Letters: b anchors, m candidates; candidate 0 is the anchor's own instance.

Reference: Morgado, Misra, Vasconcelos 2021, "Robust Audio-Visual Instance Discrimination". The four
estimators are written from memory of the paper and from a re-implementation by others; the paper
was not re-read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from avtrain.objectives.info_nce import mask_candidates

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

TargetKind = Literal["bootstrap", "swapped", "neighbor", "cycle"]

DIRECTIONS: dict[str, tuple[str, str]] = {
    "video_to_audio": ("video", "audio"),
    "audio_to_video": ("audio", "video"),
}
"""Anchor and candidates of each loss term."""

TARGET_SIMILARITY: dict[TargetKind, dict[str, tuple[str, str]]] = {
    # the prediction of the anchor's own modality: confirms itself
    "bootstrap": {
        "video_to_audio": ("video", "audio"),
        "audio_to_video": ("audio", "video"),
    },
    # the prediction of the other modality
    "swapped": {
        "video_to_audio": ("audio", "video"),
        "audio_to_video": ("video", "audio"),
    },
    # within the anchor's modality: a pair that does not belong together does no harm
    "neighbor": {
        "video_to_audio": ("video", "video"),
        "audio_to_video": ("audio", "audio"),
    },
    # swapped, and only candidates whose own sound and picture agree
    "cycle": {
        "video_to_audio": ("audio", "video"),
        "audio_to_video": ("video", "audio"),
    },
}
"""Bank of the anchor's row, then bank of the candidates' rows, whose products say who is alike."""


def soft_targets(
    similarity: Float[Tensor, "b m"],
    *,
    temperature: float,
    valid: Bool[Tensor, "b m"],
    correspondence: Float[Tensor, "b m"] | None = None,
    correspondence_temperature: float = 1.0,
) -> Float[Tensor, "b m"]:
    """Distribution over the candidates, without gradient.

    With `correspondence` this is the cycle of anchor, its other modality, candidate and back: the
    first leg is the same for all candidates and cancels.

    Args:
        similarity: products of bank rows, as TARGET_SIMILARITY has them.
        valid: candidates that may have a share.
        correspondence: product of each candidate's own video and audio row.
    """
    scores = similarity.detach() / temperature
    if correspondence is not None:
        scores = scores + correspondence.detach() / correspondence_temperature
    return torch.softmax(mask_candidates(scores, valid), dim=1)


def mix_targets(
    soft: Float[Tensor, "b m"], *, mix: float | Float[Tensor, "b 1"]
) -> Float[Tensor, "b m"]:
    """The part `mix` of the soft targets, and the rest on candidate 0."""
    targets = mix * soft
    targets[:, :1] += 1.0 - mix
    return targets


def entropy(distribution: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
    """Entropy of each row, in nats."""
    each: Tensor = torch.special.entr(distribution)
    return each.sum(dim=1)
