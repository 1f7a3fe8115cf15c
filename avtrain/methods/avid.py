"""Audio-visual instance discrimination."""

import logging

import torch

from avdata import DatasetSpec
from avtrain.methods.bank_state import take_up_banks, why_no_banks
from avtrain.methods.base import InitialState, MethodFacts, StepFacts
from avtrain.methods.pair_inputs import PairInputs
from avtrain.methods.pair_method import PairMethod, PairMethodConfig
from avtrain.objectives import AVIDCriterion, AVIDCriterionConfig, LossOutput

logger = logging.getLogger(__name__)


class AVIDConfig(PairMethodConfig):
    """Settings of the method; the defaults are the released Kinetics configuration."""

    criterion: AVIDCriterionConfig = AVIDCriterionConfig()

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit.

        Raises:
            DataError: A field is missing or its form does not fit.
        """
        self.check_pairs(spec, method="avid", where=where)

    def build(self, facts: MethodFacts) -> "AVID":
        """The method with new weights and banks, a function of the seed, on the device."""
        return AVID(self, facts)


class AVID(PairMethod):
    """Video and audio of one source find each other among rows of other sources.

    Reference: Morgado, Vasconcelos, Misra 2021, "Audio-Visual Instance Discrimination with
    Cross-Modal Agreement", sections 3.1 and 4.1.

    On sets of a few hundred sources the published heads learn late, and the modes "self" and
    "joint" not at all: embeddings of a new network are all alike, an instance's own row of the bank
    is older than those of its negatives, and so all embeddings drift, with the bank behind them.
    Heads with `batch_norm`, as the preset "tiny" has them, learn from the start; so does a bank of
    `criterion.momentum` 0.98, later.

    Departures:
        - The default audio input is the stored log-mel; `audio.input = "spectrogram"` is the
          published one.
        - Audio statistics are those of the training set; the published ones are not ours to give.
        - Video clips always lie inside the sample; samples shorter than the audio window are
          trained, with silence behind their sound.
        - Frames were resized and stored before they are cropped.
        - Color jitter works on floats, not on 8 bits, frame by frame, with torchvision's formulas.
        - Negatives come from sources that have a training sample.
        - Epochs are joined, and all batches are full.
    """

    def __init__(self, config: AVIDConfig, facts: MethodFacts) -> None:
        super().__init__(config, facts)
        self.config = config
        self.criterion = AVIDCriterion(
            config.criterion,
            num_rows=facts.spec.num_sources,
            dim=self.model.embedding_dim,
            generator=torch.Generator().manual_seed(facts.seed),
            candidates=facts.trained_sources,
        )
        self.to(facts.device)

    def start_from(self, initial: InitialState) -> None:
        """Take up the networks and, where they are of the same samples, banks and normalizer.

        Raises:
            RunError: A tensor does not fit.
        """
        super().start_from(initial)
        reason = why_no_banks(initial)
        if reason:
            logger.info("%s gives no banks (%s): they start anew", initial.where, reason)
        else:
            banks = self.criterion.video_memory
            take_up_banks(self, initial, num_rows=banks.num_rows, dim=banks.dim)

    def before_step(self, at: StepFacts) -> None:
        """Nothing changes between steps."""

    def loss(self, inputs: PairInputs, *, generator: torch.Generator) -> LossOutput:
        """NCE against the banks, which take up the new embeddings."""
        video, audio = self.model(inputs.video, inputs.audio)
        output: LossOutput = self.criterion(video, audio, index=inputs.source, generator=generator)
        return output
