"""Audio-visual instance discrimination with positives by cross-modal agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avtrain.objectives.across_ranks import RankRows, concat_across_ranks, rows_across_ranks
from avtrain.objectives.bank_layout import build_bank
from avtrain.objectives.cma_config import CMACriterionConfig
from avtrain.objectives.instances import check_instances, freeze_normalizer, trained_rows
from avtrain.objectives.mining import mine_positives
from avtrain.objectives.nce import nce_loss
from avtrain.objectives.negatives import uniform_excluding, uniform_other_candidates
from avtrain.objectives.terms import LossOutput, combine_terms, normalize_coefficients

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_MODALITIES = ("video", "audio")
_UNMINED = -1


class CMACriterion(nn.Module):
    """NCE of each embedding against its own rows, and against rows of instances that agree with it.

    Before `mine` is called it is that of cross-modal instance discrimination alone: all other terms
    are 0. The state dict holds both banks, the normalizers, the positives of each row (-1 in rows
    of instances that are not trained), and the epoch in which they were mined. In training mode
    each call updates the banks after they were read; in evaluation mode nothing changes.

    Reference: Morgado et al. 2021, section 3.2, eq. 7 and 8.

    Departures:
        With `behavior = "fixed"`:
        - The anchor's own row is never one of its negatives.
        - A query is left out of its positives by its row id, not as the first ranked row, which may
          be an exact duplicate.
        - `within_instance` is a term: the own row in the bank of the same modality.
        - Terms within a modality have a normalizer of their own, estimated in the first step after
          the first mining and frozen then. The published one is estimated once, from cross-modal
          scores of random embeddings, near exp(1 / (2 d T^2)), and says nothing of scores within a
          modality. (On a toy problem the two made no difference beyond that of seeds.)
        With `behavior = "parity"` all of that is as published, and one normalizer serves all terms.
        In both:
        - Negatives and positives come from `candidates` only; the published code also uses rows of
          instances that could not be read and were never trained.
        - Where an instance occurs twice in a batch, the last occurrence updates the bank.
    """

    candidates: Tensor
    normalizer: Tensor
    within_normalizer: Tensor
    positives: Tensor
    mined: Tensor

    def __init__(
        self,
        config: CMACriterionConfig,
        *,
        num_rows: int,
        dim: int,
        generator: torch.Generator,
        candidates: Int[Tensor, " c"] | None = None,
    ) -> None:
        """Criterion with random banks and without positives.

        Args:
            num_rows: instances, trained or not; an instance's index is its row.
            generator: draws the banks; in the same state on every rank.
            candidates: rows of the instances that are trained; None is all rows.

        Raises:
            ValueError: There are too few candidates for positives and one negative.
        """
        super().__init__()
        self.config = config
        self.weights = normalize_coefficients(config.coefficients.model_dump())
        rows = trained_rows(candidates, num_rows=num_rows)
        if len(rows) < config.num_positives + 2:
            raise ValueError(
                f"num_positives={config.num_positives} of {len(rows)} trained instances leave no "
                f"negative beside the anchor; set num_positives to {len(rows) - 2} or less, and "
                "far less to be useful"
            )
        self.video_memory, self.audio_memory = (
            build_bank(
                config.banks,
                num_rows=num_rows,
                dim=dim,
                momentum=config.momentum,
                generator=generator,
            )
            for _ in _MODALITIES
        )
        device = generator.device
        self.register_buffer("candidates", rows.to(device), persistent=False)
        self.register_buffer("normalizer", torch.tensor(-1.0, device=device))
        self.register_buffer("within_normalizer", torch.tensor(-1.0, device=device))
        shape = (num_rows, config.num_positives)
        empty = torch.full(shape, _UNMINED, dtype=torch.int32, device=device)
        self.register_buffer("positives", empty)
        self.register_buffer("mined", torch.tensor(_UNMINED, device=device))
        self._mined_epoch = _UNMINED
        self.register_load_state_dict_post_hook(_after_load)  # type: ignore[no-untyped-call]

    @property
    def mined_epoch(self) -> int | None:
        """Epoch in which the positives were mined, None before; does not wait for the device."""
        return None if self._mined_epoch == _UNMINED else self._mined_epoch

    @torch.no_grad()
    def mine(self, *, epoch: int) -> None:
        """Find the positives of all trained rows anew; called by all ranks together."""
        self.positives[self.candidates] = mine_positives(
            self.video_memory,
            self.audio_memory,
            candidates=self.candidates,
            num_positives=self.config.num_positives,
            kind=self.config.agreement,
            left_out="best" if self.config.behavior == "parity" else "query",
        )
        self.mined.fill_(epoch)
        self._mined_epoch = epoch

    def forward(
        self,
        video_embedding: Float[Tensor, "b d"],
        audio_embedding: Float[Tensor, "b d"],
        *,
        index: Int[Tensor, " b"],
        generator: torch.Generator,
    ) -> LossOutput:
        """Weighted mean of the groups of terms, in float32 whatever the embeddings are.

        With several ranks, the mean of their outputs is the output of one rank with all rows.

        Args:
            index: row of each instance, one of the candidates.
            generator: draws negatives and positives; on the device of the embeddings, and in the
                same state on every rank.

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
            unit = {
                "video": F.normalize(video_embedding.float(), dim=1),
                "audio": F.normalize(audio_embedding.float(), dim=1),
            }
            if self.mined_epoch is None:
                output = self._instances_alone(unit, index, ranks, generator)
            else:
                output = self._with_positives(unit, index, ranks, generator)
        if self.training:
            rows = concat_across_ranks(index, rows=ranks)
            self.video_memory.update(rows, concat_across_ranks(unit["video"], rows=ranks))
            self.audio_memory.update(rows, concat_across_ranks(unit["audio"], rows=ranks))
        return output

    def _instances_alone(
        self,
        unit: dict[str, Tensor],
        index: Tensor,
        ranks: RankRows,
        generator: torch.Generator,
    ) -> LossOutput:
        negatives = uniform_other_candidates(
            index,
            candidates=self.candidates,
            num_negatives=self.config.num_negatives,
            generator=generator,
            ranks=ranks,
        )
        sets = {"instance": index[:, None]}
        terms = self._group("cross", unit, sets, negatives, ranks)
        output = combine_terms(terms, weights={"cross_instance": 1.0})
        nothing = torch.zeros_like(output.total.detach())
        return LossOutput(
            total=output.total, terms={**dict.fromkeys(self.weights, nothing), **output.terms}
        )

    def _with_positives(
        self,
        unit: dict[str, Tensor],
        index: Tensor,
        ranks: RankRows,
        generator: torch.Generator,
    ) -> LossOutput:
        config = self.config
        positives = self.positives[index].long()
        excluded = positives
        if config.behavior == "fixed":
            excluded = torch.cat([positives, index[:, None]], dim=1).sort(dim=1).values
        negatives = uniform_excluding(
            excluded,
            candidates=self.candidates,
            num_negatives=config.num_negatives,
            generator=generator,
            ranks=ranks,
        )
        if config.sample_positives is not None:
            positives = _sampled(positives, config.sample_positives, ranks, generator)
        columns = {"instance": index[:, None], "positive": positives}
        terms: dict[str, Tensor] = {}
        for bank, count in (
            ("cross", config.num_negatives),
            ("within", config.num_negatives_within),
        ):
            sets = {name: c for name, c in columns.items() if f"{bank}_{name}" in self.weights}
            if sets:
                terms |= self._group(bank, unit, sets, negatives[:, :count], ranks)
        return combine_terms(terms, weights=self.weights)

    def _group(
        self,
        bank: str,
        unit: dict[str, Tensor],
        sets: dict[str, Tensor],
        negatives: Tensor,
        ranks: RankRows,
    ) -> dict[str, Tensor]:
        """Terms against the bank of the other or of the same modality, one a set of positives."""
        memories = {"video": self.video_memory, "audio": self.audio_memory}
        if bank == "cross":
            memories = {"video": self.audio_memory, "audio": self.video_memory}
        rows = torch.cat([*sets.values(), negatives], dim=1)
        widths = [*(columns.shape[1] for columns in sets.values()), negatives.shape[1]]
        scores = {
            anchor: torch.split(
                memories[anchor].scores(
                    unit[anchor], rows, temperature=self.config.temperature, ranks=ranks
                ),
                widths,
                dim=1,
            )
            for anchor in _MODALITIES
        }
        normalizer = self._normalizer(bank, scores["video"][-1], scores["audio"][-1], ranks)
        return {
            f"{bank}_{name}": ranks.share
            * torch.stack(
                [
                    nce_loss(scores[anchor][at], scores[anchor][-1], normalizer=normalizer)
                    for anchor in _MODALITIES
                ]
            ).mean()
            for at, name in enumerate(sets)
        }

    def _normalizer(self, bank: str, video: Tensor, audio: Tensor, ranks: RankRows) -> Tensor:
        if bank == "cross" or self.config.behavior == "parity":
            # as in AVID, video to audio supplies it
            return freeze_normalizer(self.normalizer, video, ranks=ranks, training=self.training)
        both = torch.cat([video, audio])
        return freeze_normalizer(self.within_normalizer, both, ranks=ranks, training=self.training)


def _after_load(module: nn.Module, _: Any) -> None:
    assert isinstance(module, CMACriterion)
    module._mined_epoch = int(module.mined)


def _sampled(
    positives: Int[Tensor, "b k"], count: int, ranks: RankRows, generator: torch.Generator
) -> Int[Tensor, "b j"]:
    """So many of each row's positives, at random and without repetition."""
    shape = (ranks.total, positives.shape[1])
    draws = torch.rand(shape, generator=generator, device=generator.device)[ranks.here]
    return positives.gather(1, draws.topk(count, dim=1).indices)
