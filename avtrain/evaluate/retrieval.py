"""Retrieval across modalities: does a clip's video find its own sound, and the reverse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.evaluate.accuracy import check_features, expected_rank

if TYPE_CHECKING:
    from jaxtyping import Float

_EQUAL_COSINES = 1e-9
"""Far above the rounding of a float64 product, far below differences of float32 embeddings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalMetrics:
    """Ranks of the matching gallery rows; recalls are fractions in [0, 1]."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    """From 1; ties count half, so that collapsed embeddings are at chance."""
    chance_recall_at_1: float
    """Of a random order: 1 / num_gallery, and 5 and 10 over it for the next two."""
    chance_recall_at_5: float
    chance_recall_at_10: float
    chance_median_rank: float
    """Of a random order: (num_gallery + 1) / 2."""
    num_gallery: int
    """Rows of the gallery, one for each query."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossModalRetrieval:
    """Retrieval in both directions."""

    video_to_audio: RetrievalMetrics
    """Video rows as queries, audio rows as gallery."""
    audio_to_video: RetrievalMetrics
    """Audio rows as queries, video rows as gallery."""


def retrieval_metrics(
    queries: Float[Tensor, "n d"], gallery: Float[Tensor, "n d"], *, chunk_rows: int = 1024
) -> RetrievalMetrics:
    """How high query i ranks gallery row i by cosine similarity.

    Rows need not be normalized. Similarities are float64; one chunk of queries against the gallery
    is held at a time.

    Raises:
        ValueError: the two are not finite, equally shaped matrices with at least two rows.
    """
    check_features(queries, name="queries")
    check_features(gallery, name="gallery")
    if queries.shape != gallery.shape or len(queries) < 2:
        raise ValueError(
            "queries and gallery must be equally shaped with at least 2 rows, row i matching row "
            f"i, got {tuple(queries.shape)} and {tuple(gallery.shape)}"
        )
    num_rows = len(queries)
    queries, gallery = F.normalize(queries.double(), dim=1), F.normalize(gallery.double(), dim=1)
    match = torch.arange(num_rows, device=queries.device)
    ranks = torch.cat(
        [
            expected_rank(chunk @ gallery.T, chunk_match, tolerance=_EQUAL_COSINES)
            for chunk, chunk_match in zip(
                torch.split(queries, chunk_rows), torch.split(match, chunk_rows), strict=True
            )
        ]
    )
    return RetrievalMetrics(
        recall_at_1=_fraction(ranks <= 1),
        recall_at_5=_fraction(ranks <= 5),
        recall_at_10=_fraction(ranks <= 10),
        median_rank=_median(ranks),
        chance_recall_at_1=1 / num_rows,
        chance_recall_at_5=min(1.0, 5 / num_rows),
        chance_recall_at_10=min(1.0, 10 / num_rows),
        chance_median_rank=(num_rows + 1) / 2,
        num_gallery=num_rows,
    )


def cross_modal_retrieval(
    video: Float[Tensor, "n d"], audio: Float[Tensor, "n d"], *, chunk_rows: int = 1024
) -> CrossModalRetrieval:
    """Retrieval metrics of video against audio and of audio against video; row i matches row i."""
    return CrossModalRetrieval(
        video_to_audio=retrieval_metrics(video, audio, chunk_rows=chunk_rows),
        audio_to_video=retrieval_metrics(audio, video, chunk_rows=chunk_rows),
    )


def _fraction(hits: Tensor) -> float:
    return float(hits.double().mean())


def _median(values: Tensor) -> float:
    """The middle value, or the mean of the two; torch.median takes the lower one."""
    ordered = values.sort().values
    return float(ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
