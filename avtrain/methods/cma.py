"""Audio-visual instance discrimination with cross-modal agreement."""

import logging
from typing import Self

import torch
from pydantic import Field, model_validator

from avdata import DatasetSpec
from avtrain.errors import DataError, RunError
from avtrain.methods.bank_state import take_up_banks, why_no_banks
from avtrain.methods.base import InitialState, MethodFacts, StepFacts
from avtrain.methods.pair_inputs import PairInputs
from avtrain.methods.pair_method import PairMethod, PairMethodConfig
from avtrain.objectives import CMACriterion, CMACriterionConfig, LossOutput

logger = logging.getLogger(__name__)

_WAYS = (
    "start from a trained AVID run on the same shard set with --init RUN, or train the banks first "
    "with --set cma.warmup_epochs=10 (AVID for 10 epochs, then CMA)"
)


class CMAConfig(PairMethodConfig):
    """Settings of the method; the defaults are the released Kinetics configuration."""

    criterion: CMACriterionConfig = CMACriterionConfig()
    warmup_epochs: int = Field(default=0, ge=0)
    """Epochs of plain cross-modal AVID before positives are mined for the first time; 0 where the
    run starts from an AVID run, as published."""

    @model_validator(mode="after")
    def _warm_up_has_a_term(self) -> Self:
        if self.warmup_epochs and not self.criterion.coefficients.cross_instance:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} trains the term cross_instance; give it a "
                "coefficient, or set warmup_epochs to 0"
            )
        return self

    @property
    def needs_init(self) -> str | None:
        """What to do where no other run is given to start from; None with a warm-up."""
        if self.warmup_epochs:
            return None
        return f"method 'cma' mines positives in trained memory banks: {_WAYS}"

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit.

        Raises:
            DataError: A field is missing or its form does not fit.
        """
        self.check_pairs(spec, method="cma", where=where)

    def build(self, facts: MethodFacts) -> "CMA":
        """The method with new weights and banks, a function of the seed, on the device.

        Raises:
            DataError: There are too few sources for positives and negatives.
        """
        sources = facts.trained_sources
        count = facts.spec.num_sources if sources is None else len(sources)
        if count < self.criterion.num_positives + 2:
            raise DataError(
                f"cma.criterion.num_positives={self.criterion.num_positives} needs at least "
                f"{self.criterion.num_positives + 2} sources to train on, {facts.where} has "
                f"{count}: one is the anchor, and one is left as a negative. Set "
                f"cma.criterion.num_positives far below {max(count - 1, 1)}, or build a set of "
                "more media"
            )
        return CMA(self, facts)


class CMA(PairMethod):
    """AVID, and sources that look and sound alike find each other within each modality.

    It starts from the networks, banks and normalizer of an AVID run. Positives are mined before the
    first step and again every `criterion.resample_epochs` epochs.

    Reference: Morgado, Vasconcelos, Misra 2021, "Audio-Visual Instance Discrimination with
    Cross-Modal Agreement", sections 3.2 and 4.2.

    Departures:
        - Those of AVID and, with `criterion.behavior = "fixed"`, of `CMACriterion`.
        - With `warmup_epochs` a run needs no other one to start from: it begins as cross-modal
          AVID. Published are two runs, the second with a new optimizer.
    """

    def __init__(self, config: CMAConfig, facts: MethodFacts) -> None:
        super().__init__(config, facts)
        self.config = config
        self.criterion = CMACriterion(
            config.criterion,
            num_rows=facts.spec.num_sources,
            dim=self.model.embedding_dim,
            generator=torch.Generator().manual_seed(facts.seed),
            candidates=facts.trained_sources,
        )
        self.to(facts.device)

    def start_from(self, initial: InitialState) -> None:
        """Take up networks, banks and normalizer; before a warm-up the networks are enough.

        Raises:
            RunError: There are no banks that fit and no warm-up, or a tensor does not fit.
        """
        reason = why_no_banks(initial)
        if reason and not self.config.warmup_epochs:
            raise RunError(
                f"method 'cma' cannot mine positives in the banks of {initial.where}: {reason}; "
                f"{_WAYS}"
            )
        super().start_from(initial)
        if reason:
            logger.info("%s gives no banks (%s): they start anew", initial.where, reason)
        else:
            take_up_banks(
                self,
                initial,
                num_rows=self.criterion.video_memory.num_rows,
                dim=self.criterion.video_memory.dim,
            )

    def before_step(self, at: StepFacts) -> None:
        """Mine positives when the warm-up is over, and again when they are old.

        Raises:
            RunError: The banks were never trained.
        """
        mined = self.criterion.mined_epoch
        if at.epoch < self.config.warmup_epochs:
            return
        if mined is None:
            if float(self.criterion.normalizer) < 0:  # set by the first step that trains banks
                raise RunError(
                    f"method 'cma' mines positives in banks that are random here: {_WAYS}"
                )
        elif self._round(at.epoch) <= self._round(mined):
            return
        logger.info("mining %d positives of each source", self.config.criterion.num_positives)
        self.criterion.mine(epoch=at.epoch)

    def loss(self, inputs: PairInputs, *, generator: torch.Generator) -> LossOutput:
        """NCE against the banks, which take up the new embeddings."""
        video, audio = self.model(inputs.video, inputs.audio)
        output: LossOutput = self.criterion(video, audio, index=inputs.source, generator=generator)
        return output

    def _round(self, epoch: int) -> int:
        """Number of the mining that an epoch belongs to."""
        return (epoch - self.config.warmup_epochs) // self.config.criterion.resample_epochs
