"""Robust audio-visual instance discrimination."""

import logging
from typing import Literal

import torch
from pydantic import Field, PositiveInt

from avdata import DatasetSpec
from avtrain.errors import RunError
from avtrain.methods.base import InitialState, MethodFacts, StepFacts
from avtrain.methods.pair_inputs import PairInputs
from avtrain.methods.pair_method import PairMethod, PairMethodConfig, check_same_tensors
from avtrain.objectives import LossOutput, RobustXIDCriterion, RobustXIDCriterionConfig

logger = logging.getLogger(__name__)

_BANKS = ("criterion.video_memory.", "criterion.audio_memory.")
_VISITED = "criterion.pairs.visited"


class RobustXIDConfig(PairMethodConfig):
    """Settings of the method.

    xID is `criterion.weighting = false` with `criterion.targets = "none"`; Weighted-xID and
    Soft-xID turn one of the two off.
    """

    criterion: RobustXIDCriterionConfig = RobustXIDCriterionConfig()
    warmup_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Part of the schedule that is trained with plain xID: half, as 200 of 400 passes in the paper,
    which is from memory and was not re-read. A robust stage that has begun goes on, also when
    `--resume` makes the schedule longer."""
    warmup_epochs: float | None = Field(default=None, ge=0.0)
    """With a number, the warm-up ends after these epochs instead, whatever the schedule is."""
    statistics_every: PositiveInt | Literal["epoch"] = "epoch"
    """When mean and deviation of the similarities are recomputed: every epoch, or every so many
    steps. Moving averages are only started that way."""

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit.

        Raises:
            DataError: A field is missing or its form does not fit.
        """
        self.check_pairs(spec, method="robust-xid", where=where)

    def build(self, facts: MethodFacts) -> "RobustXID":
        """The method with new weights and banks, a function of the seed, on the device."""
        return RobustXID(self, facts)


class RobustXID(PairMethod):
    """Instance discrimination that weighs down pairs that do not match, and shares out the target.

    Reference: Morgado, Misra, Vasconcelos 2021, "Robust Audio-Visual Instance Discrimination".

    There is no published code. The paper was not re-read: the forms of weights and targets and
    most constants are from memory of it and from a re-implementation by others.

    Departures:
        - The rows of a source start as its first embeddings and not at random, and only sources
          that have been trained are candidates: in the first epoch there are fewer of them. Random
          rows push both modalities apart at first, which on small sets costs many epochs. With
          `criterion.first_rows = "random"` rows and candidates of the warm-up are as in AVID.
        - A source that is drawn twice counts once.
        - A source that is trained for the first time is trained as in the warm-up, also in the
          robust stage.
        - Where there are not more sources than draws, all are candidates.
        - Mean and deviation of the similarities are those of all trained sources, once an epoch.
        - Weighted means and soft targets are in float32, also under autocast.
        - The part of the soft targets may rise with time (`criterion.mix_start`); in the paper it
          is constant.
        - With `criterion.loss = "nce"` the loss is the binary one of AVID, with weights and without
          soft targets.
        - Networks, views and inputs are those of AVID, with its departures.
    """

    def __init__(self, config: RobustXIDConfig, facts: MethodFacts) -> None:
        super().__init__(config, facts)
        self.config = config
        self.criterion = RobustXIDCriterion(
            config.criterion,
            num_rows=facts.spec.num_sources,
            dim=self.model.embedding_dim,
            generator=torch.Generator().manual_seed(facts.seed),
            candidates=facts.trained_sources,
        )
        self.to(facts.device)

    def start_from(self, initial: InitialState) -> None:
        """Take up the networks of a run of any method over pairs, and its banks on the same data.

        All trained sources then count as trained before, so that `warmup_share = 0` starts with
        the robust stage; without banks the first epoch is plain xID all the same.

        Raises:
            RunError: The run is of another method, or a tensor does not fit.
        """
        if initial.method not in STARTS:
            raise RunError(
                f"robust-xid cannot start from {initial.where}, a run of {initial.method!r}; give "
                f"one of {', '.join(STARTS)}"
            )
        super().start_from(initial)
        given = {n: t for n, t in initial.tensors.items() if n.startswith(_BANKS)}
        if not given or not initial.same_data:
            why = "was trained on other samples" if given else "has no memory banks"
            logger.info("%s %s: the banks start anew", initial.where, why)
            return
        bank = self.criterion.video_memory
        own = {f"{name}memory": torch.empty(bank.num_rows, bank.dim) for name in _BANKS}
        check_same_tensors(given, own, where=initial.where)
        visited = initial.tensors.get(_VISITED)
        if visited is None:
            visited = torch.zeros_like(self.criterion.pairs.visited)
            visited[self.criterion.candidates] = True
        self.load_state_dict({**given, _VISITED: visited}, strict=False)
        self.criterion.recompute_similarities()

    def before_step(self, at: StepFacts) -> None:
        """Recompute the statistics when they are due; end the warm-up when it is over."""
        criterion, every = self.criterion, self.config.statistics_every
        starts = not criterion.robust and self._warm_up_is_over(at)
        if starts:
            criterion.start_robust_stage(share=at.share)
            logger.info("the robust stage starts before step %d", at.step + 1)
        due = at.new_epoch if every == "epoch" else at.step % every == 0
        averaged = criterion.robust and self.config.criterion.statistics == "ema"
        if starts or (due and not averaged):
            criterion.recompute_similarities()
        criterion.set_share(at.share)

    def loss(self, inputs: PairInputs, *, generator: torch.Generator) -> LossOutput:
        """Cross-entropy against the banks, which take up the new embeddings."""
        video, audio = self.model(inputs.video, inputs.audio)
        output: LossOutput = self.criterion(video, audio, index=inputs.source, generator=generator)
        return output

    def _warm_up_is_over(self, at: StepFacts) -> bool:
        if self.config.warmup_epochs is not None:
            return at.epochs >= self.config.warmup_epochs
        return at.share >= self.config.warmup_share


STARTS = ("avid", "cma", "robust-xid")
"""Methods whose runs can be started from."""
