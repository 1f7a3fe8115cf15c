"""Audio-visual instance discrimination: embeddings against the banks of both modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from avtrain.objectives.across_ranks import concat_across_ranks, mean_across_ranks
from avtrain.objectives.memory_bank import MemoryBank
from avtrain.objectives.nce import bank_scores, estimate_normalizer, nce_loss
from avtrain.objectives.negatives import uniform_other_candidates
from avtrain.objectives.terms import LossOutput, combine_terms, normalize_coefficients

if TYPE_CHECKING:
    from jaxtyping import Float, Int

AVIDMode = Literal["cross", "self", "joint"]

AVID_COEFFICIENTS: dict[AVIDMode, dict[str, float]] = {
    "cross": {"video_to_audio": 1.0, "audio_to_video": 1.0},
    "self": {"video_to_video": 1.0, "audio_to_audio": 1.0},
    "joint": {
        "video_to_audio": 1.0,
        "audio_to_video": 1.0,
        "video_to_video": 1.0,
        "audio_to_audio": 1.0,
    },
}
"""Terms, named embedding to bank; the first of a mode supplies the normalizer."""


class AVIDCriterionConfig(BaseModel):
    """Settings of the criterion; the defaults are the released configurations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: AVIDMode = "cross"
    # above 1/80, because the normalizer averages e^(1/temperature) in float32
    temperature: float = Field(default=0.07, gt=0.0125, allow_inf_nan=False)
    num_negatives: PositiveInt = 1024
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)


class AVIDCriterion(nn.Module):
    """NCE of each embedding against its instance's rows, with rows of other instances as negatives.

    The state dict holds both banks and the normalizer. In training mode each call updates the banks
    after their rows were copied out; in evaluation mode nothing changes.

    Reference: Morgado et al. 2021, section 3.1, eq. 3 to 5.

    Departures:
        Negatives come from `candidates` only; the published code also draws rows of instances that
        could not be read and were never trained. Where an instance occurs twice in a batch, the
        last occurrence updates the bank; there the order is undefined.
    """

    normalizer: Tensor
    candidates: Tensor

    def __init__(
        self,
        config: AVIDCriterionConfig,
        *,
        num_rows: int,
        dim: int,
        generator: torch.Generator,
        candidates: Int[Tensor, " c"] | None = None,
    ) -> None:
        """Criterion with random banks.

        Args:
            num_rows: instances, trained or not; an instance's index is its row.
            generator: draws the banks; in the same state on every rank.
            candidates: rows of the instances that are trained; None is all rows.
        """
        super().__init__()
        self.config = config
        self.weights = normalize_coefficients(AVID_COEFFICIENTS[config.mode])
        self.video_memory = MemoryBank(
            num_rows=num_rows, dim=dim, momentum=config.momentum, generator=generator
        )
        self.audio_memory = MemoryBank(
            num_rows=num_rows, dim=dim, momentum=config.momentum, generator=generator
        )
        device = generator.device
        allowed = torch.arange(num_rows) if candidates is None else candidates
        allowed = _sorted_rows(allowed, num_rows).to(device)
        self.register_buffer("candidates", allowed, persistent=False)
        self.register_buffer("normalizer", torch.tensor(-1.0, device=device))

    def forward(
        self,
        video_embedding: Float[Tensor, "b d"],
        audio_embedding: Float[Tensor, "b d"],
        *,
        index: Int[Tensor, " b"],
        generator: torch.Generator,
    ) -> LossOutput:
        """Mean of the terms of the mode, in float32 whatever the embeddings are.

        Args:
            index: row of each instance, one of the candidates.
            generator: draws the negatives; on the device of the embeddings, and with its own state
                on each rank.

        Raises:
            ValueError: the shapes of the arguments and of the banks do not match.
        """
        self._check_shapes(video_embedding, audio_embedding, index)
        with torch.autocast(device_type=video_embedding.device.type, enabled=False):
            video = F.normalize(video_embedding.float(), dim=1)
            audio = F.normalize(audio_embedding.float(), dim=1)
            output = self._contrast(video, audio, index, generator)
        if self.training:
            rows = concat_across_ranks(index)
            self.video_memory.update(rows, concat_across_ranks(video))
            self.audio_memory.update(rows, concat_across_ranks(audio))
        return output

    def _contrast(
        self, video: Tensor, audio: Tensor, index: Tensor, generator: torch.Generator
    ) -> LossOutput:
        """Loss of unit embeddings against one set of rows for all terms."""
        negatives = uniform_other_candidates(
            index,
            candidates=self.candidates,
            num_negatives=self.config.num_negatives,
            generator=generator,
        )
        embeddings = {"video": video, "audio": audio}
        banks = {"video": self.video_memory, "audio": self.audio_memory}
        targets = {name.split("_to_")[1] for name in self.weights}
        rows = torch.cat([index[:, None], negatives], dim=1)  # positive first
        bank_rows = {name: banks[name].rows(rows) for name in sorted(targets)}
        normalizer: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for name in self.weights:
            anchor, target = name.split("_to_")
            scores = bank_scores(
                embeddings[anchor], bank_rows[target], temperature=self.config.temperature
            )
            positive_scores, negative_scores = scores[:, :1], scores[:, 1:]
            if normalizer is None:
                normalizer = self._frozen_normalizer(negative_scores)
            terms[name] = nce_loss(positive_scores, negative_scores, normalizer=normalizer)
        return combine_terms(terms, weights=self.weights)

    @torch.no_grad()
    def _frozen_normalizer(self, negative_scores: Tensor) -> Tensor:
        """The stored normalizer, or an estimate while none is stored; training stores it."""
        # every step estimates, and reduces over ranks: to ask whether it is set would wait for the
        # device
        estimate = mean_across_ranks(estimate_normalizer(negative_scores))
        normalizer = torch.where(self.normalizer > 0, self.normalizer, estimate)
        if self.training:
            self.normalizer.copy_(normalizer)
        return normalizer

    def _check_shapes(self, video: Tensor, audio: Tensor, index: Tensor) -> None:
        expected = (len(index), self.video_memory.memory.shape[1])
        if index.ndim != 1 or video.shape != expected or audio.shape != expected:
            raise ValueError(
                f"embeddings must be {expected} for {tuple(index.shape)} indices and banks of "
                f"{tuple(self.video_memory.memory.shape)}, got video {tuple(video.shape)} and "
                f"audio {tuple(audio.shape)}"
            )


def _sorted_rows(candidates: Tensor, num_rows: int) -> Tensor:
    """The distinct candidates, ascending, after a check of their range."""
    rows: Tensor = torch.unique(candidates.detach().cpu().long())
    if len(rows) < 2 or rows[0] < 0 or rows[-1] >= num_rows:
        seen = f"{len(rows)} distinct rows"
        if len(rows):
            seen += f" in [{int(rows[0])}, {int(rows[-1])}]"
        raise ValueError(f"candidates must be at least 2 rows in [0, {num_rows}), got {seen}")
    return rows
