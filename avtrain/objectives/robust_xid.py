"""Instance discrimination by softmax that doubts its positives and its negatives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avtrain.objectives.across_ranks import (
    RankRows,
    concat_across_ranks,
    mean_across_ranks,
    rows_across_ranks,
)
from avtrain.objectives.bank_layout import Bank, build_bank
from avtrain.objectives.candidates import Candidates, all_candidates, drawn_candidates
from avtrain.objectives.info_nce import info_nce_losses, mask_candidates
from avtrain.objectives.instances import check_instances, freeze_normalizer, trained_rows
from avtrain.objectives.nce import nce_losses
from avtrain.objectives.negatives import uniform_other_candidates
from avtrain.objectives.pair_similarity import PairSimilarity
from avtrain.objectives.robust_xid_config import RobustXIDCriterionConfig
from avtrain.objectives.sample_weights import correspondence_weights
from avtrain.objectives.soft_targets import (
    DIRECTIONS,
    TARGET_SIMILARITY,
    entropy,
    mix_targets,
    soft_targets,
)
from avtrain.objectives.terms import LossOutput, combine_terms

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_WEIGHTS: dict[str, float] = dict.fromkeys(DIRECTIONS, 1.0)
_WARM_UP = -1.0
_LEAST_WEIGHT = 1e-8


class RobustXIDCriterion(nn.Module):
    """Cross-modal softmax cross-entropy against banks, in a warm-up and a robust stage.

    The warm-up is plain xID: candidate 0 is the target and all instances weigh the same. In the
    robust stage targets and weights come from the banks; both take no gradient. An instance that
    is trained for the first time is trained as in the warm-up, and its rows start as its
    embeddings, or are random (`first_rows`).

    The state dict holds banks, similarities, which instances were trained, and the stage. In
    training mode each call updates them after the loss has read them; in evaluation mode nothing
    changes.

    Reference: Morgado, Misra, Vasconcelos 2021, "Robust Audio-Visual Instance Discrimination".
    """

    candidates: Tensor
    stage_start: Tensor
    normalizer: Tensor

    def __init__(
        self,
        config: RobustXIDCriterionConfig,
        *,
        num_rows: int,
        dim: int,
        generator: torch.Generator,
        candidates: Int[Tensor, " c"] | None = None,
    ) -> None:
        """Criterion with random banks, in its warm-up.

        Args:
            num_rows: instances, trained or not; an instance's index is its row.
            generator: draws the banks; in the same state on every rank.
            candidates: rows of the instances that are trained; None is all rows.
        """
        super().__init__()
        self.config = config
        device = generator.device
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
        self.pairs = PairSimilarity(num_rows, device=device)
        trained = trained_rows(candidates, num_rows=num_rows).to(device)
        self.register_buffer("candidates", trained, persistent=False)
        self.register_buffer(
            "stage_start", torch.tensor(_WARM_UP, dtype=torch.float64, device=device)
        )
        if config.loss == "nce":
            self.register_buffer("normalizer", torch.tensor(-1.0, device=device))
        num_others = len(self.candidates) - 1
        self.compares_all = config.num_negatives == "all" or (
            config.loss == "infonce" and config.num_negatives >= num_others
        )
        self.random_rows = config.first_rows == "random" or config.loss == "nce"
        self.mix = config.mix
        self._start = _WARM_UP  # the value of stage_start, to ask which waits for no device
        self.register_load_state_dict_post_hook(_read_stage)  # type: ignore[no-untyped-call]

    @property
    def robust(self) -> bool:
        """The warm-up is over."""
        return self._start >= 0

    def start_robust_stage(self, *, share: float) -> None:
        """End the warm-up, at this share of the schedule."""
        self._start = share
        self.stage_start.fill_(share)

    def set_share(self, share: float) -> None:
        """Set the part of the soft targets to what it is at this share of the schedule."""
        if self.config.mix_start is not None and self.robust:
            way = (share - self._start) / max(1.0 - self._start, 1e-9)
            self.mix = half_cosine(self.config.mix_start, self.config.mix, way=way)

    def recompute_similarities(self) -> None:
        """Similarities of all instances, their mean and deviation, from the banks as they are."""
        self.pairs.recompute(self.video_memory, self.audio_memory)

    def forward(
        self,
        video_embedding: Float[Tensor, "b d"],
        audio_embedding: Float[Tensor, "b d"],
        *,
        index: Int[Tensor, " b"],
        generator: torch.Generator,
    ) -> LossOutput:
        """Sum of both directions' weighted means, in float32 whatever the embeddings are.

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
            candidates = self._choose_candidates(index, ranks, generator)
            output = self._contrast(video, audio, index, candidates, ranks)
        if self.training:
            rows = concat_across_ranks(index, rows=ranks)
            if self.robust and self.config.statistics == "ema":
                self.pairs.average_in(rows, decay=self.config.statistics_decay)
            momentum = self._momentum(rows)
            for bank, unit in ((self.video_memory, video), (self.audio_memory, audio)):
                bank.update(rows, concat_across_ranks(unit, rows=ranks), momentum=momentum)
            self.pairs.update(self.video_memory, self.audio_memory, rows)
        return output

    @torch.no_grad()
    def sample_weights(self, index: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Weights that the robust stage gives these instances."""
        config, pairs = self.config, self.pairs
        weights = correspondence_weights(
            pairs.similarity[index],
            mean=pairs.mean,
            std=pairs.std,
            delta=config.delta,
            kappa=config.kappa,
            min_weight=config.min_weight,
        )
        return torch.where(pairs.visited[index], weights, 1.0)

    @torch.no_grad()
    def target_shares(
        self, index: Int[Tensor, " b"], others: Int[Tensor, " b"]
    ) -> dict[str, Float[Tensor, " b"]]:
        """Share of the soft targets, unmixed, that each instance gives one other trained instance.

        All trained instances are candidates, however many a step compares with.

        Raises:
            ValueError: the criterion has no soft targets, or the arguments are no pairs of rows
                that it trains.
        """
        trained = torch.isin(torch.cat([index, others]), self.candidates).all()
        if index.shape != others.shape or index.ndim != 1 or not trained:
            raise ValueError(
                f"index {tuple(index.shape)} and others {tuple(others.shape)} must be equally many "
                "rows of trained instances"
            )
        candidates = all_candidates(index, self.candidates, eligible=self.pairs.visited)
        at = (candidates.rows == others[:, None]).long().argmax(dim=1, keepdim=True)
        soft = self._soft_targets(index, candidates, ranks=rows_across_ranks(len(index)))
        return {name: value.gather(1, at)[:, 0] for name, value in soft.items()}

    def _choose_candidates(
        self, index: Tensor, ranks: RankRows, generator: torch.Generator
    ) -> Candidates:
        # the binary form is that of AVID: every draw counts, also of random rows
        eligible = None if self.config.loss == "nce" else self.pairs.visited
        if eligible is not None and self.random_rows and not self.robust:
            eligible = torch.ones_like(eligible)
        if self.compares_all:
            return all_candidates(index, self.candidates, eligible=eligible)
        assert self.config.num_negatives != "all"
        negatives = uniform_other_candidates(
            index,
            candidates=self.candidates,
            num_negatives=self.config.num_negatives,
            generator=generator,
            ranks=ranks,
        )
        return drawn_candidates(index, negatives, eligible=eligible)

    def _bank(self, modality: str) -> Bank:
        return {"video": self.video_memory, "audio": self.audio_memory}[modality]

    def _contrast(
        self,
        video: Tensor,
        audio: Tensor,
        index: Tensor,
        candidates: Candidates,
        ranks: RankRows,
    ) -> LossOutput:
        embeddings = {"video": video, "audio": audio}
        weights = torch.ones_like(video[:, 0])
        if self.robust and self.config.weighting:
            weights = self.sample_weights(index)
        # the mean over ranks of a rank's weighted sum over this is the weighted mean of all rows
        weight_sum = mean_across_ranks(weights.sum()).clamp(min=_LEAST_WEIGHT)
        targets, metrics = self._targets(index, candidates, ranks)
        normalizer: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for name, (anchor, modality) in DIRECTIONS.items():
            scores = self._bank(modality).scores(
                embeddings[anchor],
                candidates.rows,
                temperature=self.config.temperature,
                ranks=ranks,
            )
            if self.config.loss == "nce":
                if normalizer is None:
                    normalizer = freeze_normalizer(
                        self.normalizer, scores[:, 1:], ranks=ranks, training=self.training
                    )
                losses = nce_losses(scores[:, :1], scores[:, 1:], normalizer=normalizer)
            else:
                if not self.random_rows:
                    own = (embeddings[anchor] * embeddings[modality].detach()).sum(dim=1)
                    own = own / self.config.temperature
                    scores = self._with_first_scores(scores, own, index)
                scores = mask_candidates(scores, candidates.valid)
                losses = info_nce_losses(scores, targets=targets.get(name))
            terms[name] = (weights * losses).sum() / weight_sum
        output = combine_terms(terms, weights=_WEIGHTS)
        metrics["weight"] = weight_sum * len(ranks.of_ranks) / ranks.total
        metrics["stage"] = torch.full_like(weight_sum, 2.0 if self.robust else 1.0)
        metrics["similarity_mean"] = self.pairs.mean.clone()
        metrics["similarity_std"] = self.pairs.std.clone()
        return replace(output, metrics=metrics)

    def _with_first_scores(self, scores: Tensor, own: Tensor, index: Tensor) -> Tensor:
        """The scores, but `own` as that of candidate 0 where its rows are still random."""
        visited = self.pairs.visited[index]
        own = torch.where(visited, scores[:, 0], own)
        return torch.cat([own[:, None], scores[:, 1:]], dim=1)

    def _momentum(self, index: Tensor) -> Tensor | None:
        """Of each instance's rows; random rows have none, unless they are wanted."""
        if self.random_rows:
            return None
        momentum = torch.full_like(index, self.config.momentum, dtype=torch.float32)
        return torch.where(self.pairs.visited[index], momentum, 0.0)

    @torch.no_grad()
    def _targets(
        self, index: Tensor, candidates: Candidates, ranks: RankRows
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Targets of both directions, none of them where candidate 0 is the target, and metrics."""
        if self.config.targets == "none":
            return {}, {}
        if not self.robust:
            zero = torch.zeros((), device=index.device)
            return {}, {"own_target": zero + 1, "target_entropy": zero}
        soft = self._soft_targets(index, candidates, ranks=ranks)
        # the rows of an instance that is trained for the first time do not say whom it is like
        mix = self.mix * self.pairs.visited[index].to(torch.float32)[:, None]
        targets = {name: mix_targets(value, mix=mix) for name, value in soft.items()}
        scale = len(ranks.of_ranks) / ranks.total / len(DIRECTIONS)
        own = torch.stack([value[:, 0].sum() for value in soft.values()]).sum()
        spread = torch.stack([entropy(value).sum() for value in targets.values()]).sum()
        return targets, {"own_target": scale * own, "target_entropy": scale * spread}

    def _soft_targets(
        self, index: Tensor, candidates: Candidates, *, ranks: RankRows
    ) -> dict[str, Tensor]:
        config = self.config
        if config.targets == "none":
            raise ValueError(
                "targets='none' has no soft targets; choose bootstrap, swapped, neighbor or cycle"
            )
        correspondence = None
        if config.targets == "cycle":
            correspondence = self.pairs.similarity[candidates.rows]
        soft: dict[str, Tensor] = {}
        for name, (anchor, modality) in TARGET_SIMILARITY[config.targets].items():
            similarity = self._bank(modality).scores(
                self._bank(anchor).rows(index), candidates.rows, temperature=1.0, ranks=ranks
            )
            soft[name] = soft_targets(
                similarity,
                temperature=config.source_temperature,
                valid=candidates.valid,
                correspondence=correspondence,
                correspondence_temperature=config.target_temperature,
            )
        return soft


def half_cosine(start: float, end: float, *, way: float) -> float:
    """`start` at way 0, `end` at way 1, level at both."""
    way = min(max(way, 0.0), 1.0)
    return start + (end - start) * (1.0 - math.cos(math.pi * way)) / 2.0


def _read_stage(criterion: RobustXIDCriterion, incompatible: object) -> None:
    criterion._start = float(criterion.stage_start)
