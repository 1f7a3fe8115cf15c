"""Weighted nearest-neighbor classification of frozen features."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from avtrain.evaluate.accuracy import (
    ClassificationAccuracy,
    LabelledFeatures,
    classification_accuracy,
)


def knn_accuracy(
    data: LabelledFeatures,
    *,
    num_neighbors: int = 20,
    temperature: float = 0.07,
    chunk_rows: int = 1024,
) -> ClassificationAccuracy:
    """Accuracy of votes of the nearest training rows, each weighted by exp(cosine / temperature).

    Fewer training rows than `num_neighbors` all vote. Features need not be normalized.

    Reference: Wu et al. 2018, section 3.4 (there 200 neighbors).
    """
    if num_neighbors < 1 or not temperature > 0:
        raise ValueError(f"{num_neighbors=} and {temperature=} must be positive")
    train, test = F.normalize(data.train.float(), dim=1), F.normalize(data.test.float(), dim=1)
    train_target, test_target = data.targets()
    num_classes = int(train_target.max()) + 1
    scores = []
    for chunk in torch.split(test, chunk_rows):
        nearest = (chunk @ train.T).topk(min(num_neighbors, len(train)), dim=1)
        # less 1, the largest cosine: the votes keep their proportions and cannot overflow
        votes = ((nearest.values.double() - 1.0) / temperature).exp()
        chunk_scores = votes.new_zeros(len(chunk), num_classes)
        scores.append(chunk_scores.scatter_add(1, train_target[nearest.indices], votes))
    return classification_accuracy(torch.cat(scores), test_target, train_target=train_target)
