"""Audio-visual instance discrimination: embeddings against the banks of both modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from avtrain.objectives.across_ranks import RankRows, concat_across_ranks, rows_across_ranks
from avtrain.objectives.bank_layout import BankLayout, build_bank
from avtrain.objectives.instances import check_instances, freeze_normalizer, trained_rows
from avtrain.objectives.nce import nce_loss
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
    banks: BankLayout = "auto"
    """Whole on every rank, or shared among ranks; "auto" shares them from 4 GiB."""


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
        self.video_memory, self.audio_memory = (
            build_bank(
                config.banks,
                num_rows=num_rows,
                dim=dim,
                momentum=config.momentum,
                generator=generator,
            )
            for _ in range(2)
        )
        device = generator.device
        allowed = trained_rows(candidates, num_rows=num_rows).to(device)
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

        With several ranks, the mean of their outputs is the output of one rank with all rows.

        Args:
            index: row of each instance, one of the candidates.
            generator: draws the negatives; on the device of the embeddings, and in the same state
                on every rank.

        Raises:
            ValueError: the shapes of the arguments and of the banks do not match.
        """
        check_instances(
            video_embedding,
            audio_embedding,
            index,
            num_rows=self.video_memory.num_rows,
            dim=self.video_memory.dim,
        )
        ranks = rows_across_ranks(len(index))
        with torch.autocast(device_type=video_embedding.device.type, enabled=False):
            video = F.normalize(video_embedding.float(), dim=1)
            audio = F.normalize(audio_embedding.float(), dim=1)
            output = self._contrast(video, audio, index, ranks=ranks, generator=generator)
        if self.training:
            rows = concat_across_ranks(index, rows=ranks)
            self.video_memory.update(rows, concat_across_ranks(video, rows=ranks))
            self.audio_memory.update(rows, concat_across_ranks(audio, rows=ranks))
        return output

    def _contrast(
        self,
        video: Tensor,
        audio: Tensor,
        index: Tensor,
        *,
        ranks: RankRows,
        generator: torch.Generator,
    ) -> LossOutput:
        """Loss of unit embeddings against one set of rows for all terms."""
        negatives = uniform_other_candidates(
            index,
            candidates=self.candidates,
            num_negatives=self.config.num_negatives,
            generator=generator,
            ranks=ranks,
        )
        embeddings = {"video": video, "audio": audio}
        banks = {"video": self.video_memory, "audio": self.audio_memory}
        rows = torch.cat([index[:, None], negatives], dim=1)  # positive first
        normalizer: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for name in self.weights:
            anchor, target = name.split("_to_")
            scores = banks[target].scores(
                embeddings[anchor], rows, temperature=self.config.temperature, ranks=ranks
            )
            positive_scores, negative_scores = scores[:, :1], scores[:, 1:]
            if normalizer is None:
                normalizer = freeze_normalizer(
                    self.normalizer, negative_scores, ranks=ranks, training=self.training
                )
            term = nce_loss(positive_scores, negative_scores, normalizer=normalizer)
            terms[name] = ranks.share * term
        return combine_terms(terms, weights=self.weights)
