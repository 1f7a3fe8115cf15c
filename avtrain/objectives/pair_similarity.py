"""How alike the video and the audio row of each instance are, and which instances were trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from avtrain.objectives.bank_layout import Bank

if TYPE_CHECKING:
    from jaxtyping import Int

_CHUNK_ROWS = 65536


class PairSimilarity(nn.Module):
    """Product of the video and audio row of each instance, with mean and deviation over the set.

    An instance counts from its first update on; until then its rows are random. All ranks hold all
    of it: 5 bytes an instance.
    """

    similarity: Tensor
    visited: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, num_rows: int, *, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("similarity", torch.zeros(num_rows, device=device))
        self.register_buffer("visited", torch.zeros(num_rows, dtype=torch.bool, device=device))
        self.register_buffer("mean", torch.zeros((), device=device))
        self.register_buffer("std", torch.zeros((), device=device))

    @torch.no_grad()
    def update(self, video: Bank, audio: Bank, index: Int[Tensor, " b"]) -> None:
        """Take up the rows of these instances as they are now; they count from here on.

        Args:
            index: of all ranks, equal on every rank.
        """
        self.similarity[index] = _products(video, audio, index)
        self.visited[index] = True

    @torch.no_grad()
    def recompute(self, video: Bank, audio: Bank) -> None:
        """Similarities of all rows as they are now, and the mean and deviation of those that count.

        Mean and deviation are 0 where none does.
        """
        everything = torch.arange(len(self.similarity), device=self.similarity.device)
        for rows in torch.split(everything, _CHUNK_ROWS):
            self.similarity[rows] = _products(video, audio, rows)
        count = self.visited.sum().clamp(min=1)
        counted = torch.where(self.visited, self.similarity, 0.0).double()
        mean = counted.sum() / count
        deviation = torch.where(self.visited, self.similarity - mean, 0.0)
        self.mean.copy_(mean)
        self.std.copy_((deviation.square().sum() / count).sqrt())

    @torch.no_grad()
    def average_in(self, index: Int[Tensor, " b"], *, decay: float) -> None:
        """Move mean and deviation towards those of a batch, by their first two moments.

        Instances that do not count yet have no part in it.
        """
        visited = self.visited[index]
        count = visited.sum()
        batch = torch.where(visited, self.similarity[index], 0.0)
        keep = torch.where(count > 0, decay, 1.0)
        count = count.clamp(min=1)
        square = self.std.square() + self.mean.square()
        square = keep * square + (1 - keep) * batch.square().sum() / count
        mean = keep * self.mean + (1 - keep) * batch.sum() / count
        self.mean.copy_(mean)
        self.std.copy_((square - mean.square()).clamp(min=0).sqrt())


def _products(video: Bank, audio: Bank, index: Tensor) -> Tensor:
    return (video.common_rows(index) * audio.common_rows(index)).sum(dim=1)
