"""Audio-visual instance discrimination."""

from collections.abc import Iterable
from typing import Literal

import torch

from avdata import DatasetSpec, ShardSet, Spec
from avtrain.data.samples import SampleTable
from avtrain.data.views.pair import PairEvalView, PairTrainView
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairBatch, PairReader
from avtrain.methods.base import Encoder, Method, MethodFacts, Modality, check_fields
from avtrain.methods.pair_inputs import PairInputs, PairPreparation, check_pair_data
from avtrain.models import AUDIO_VISUAL_PRESETS, build_audio_visual
from avtrain.objectives import AVIDCriterion, AVIDCriterionConfig, LossOutput

_CALIBRATION_CLIPS = 512


class AVIDConfig(Spec):
    """Settings of the method; the defaults are the released Kinetics configuration."""

    model: Literal["avid-r2plus1d-18", "avid-r2plus1d-10", "avid-small", "tiny"] = (
        "avid-r2plus1d-18"
    )
    criterion: AVIDCriterionConfig = AVIDCriterionConfig()
    video: VideoViewConfig = VideoViewConfig()
    audio: AudioViewConfig = AudioViewConfig()

    @property
    def requires(self) -> frozenset[str]:
        """Frames, and the field that the audio input is made of."""
        return frozenset({"frames", "audio" if self.audio.input == "spectrogram" else "logmel"})

    def check(self, spec: DatasetSpec, *, where: str) -> None:
        """Refuse a shard set whose stored form does not fit.

        Raises:
            DataError: A field is missing or its form does not fit.
        """
        instead = ""
        if "logmel" not in spec.fields and {"frames", "audio"} <= set(spec.fields):
            instead = ", or make the input of the stored sound: --set avid.audio.input=spectrogram"
        check_fields(self.requires, spec, method="avid", where=where, instead=instead)
        check_pair_data(self.audio, spec, where=where)

    def build(self, facts: MethodFacts) -> "AVID":
        """The method with new weights and banks, a function of the seed, on the device."""
        return AVID(self, facts)


class AVID(Method[PairBatch, PairInputs]):
    """Video and audio of one source find each other among rows of other sources.

    Reference: Morgado, Vasconcelos, Misra 2021, "Audio-Visual Instance Discrimination with
    Cross-Modal Agreement", sections 3.1 and 4.1.

    On sets of a few hundred sources the modes "self" and "joint" do not learn with the published
    bank momentum of 0.5: an epoch is so short that all embeddings drift together, and the bank
    follows them. With `criterion.momentum` at 0.98 they do.

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
        super().__init__()
        self.config = config
        self.num_calibration_clips = (
            _CALIBRATION_CLIPS if config.audio.input == "spectrogram" else 0
        )
        self.preparation = PairPreparation(config.audio, facts.spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(facts.seed)
            self.model = build_audio_visual(AUDIO_VISUAL_PRESETS[config.model])
        self.criterion = AVIDCriterion(
            config.criterion,
            num_rows=facts.spec.num_sources,
            dim=self.model.embedding_dim,
            generator=torch.Generator().manual_seed(facts.seed),
            candidates=facts.trained_sources,
        )
        self.to(facts.device)

    def train_view(
        self, shards: ShardSet, table: SampleTable, *, seed: int, pin_memory: bool
    ) -> PairTrainView:
        """One random clip an item."""
        return PairTrainView(self._reader(shards, table), seed=seed, pin_memory=pin_memory)

    def eval_view(
        self, shards: ShardSet, table: SampleTable, *, num_windows: int, pin_memory: bool
    ) -> PairEvalView:
        """Evenly spaced clips of each item."""
        return PairEvalView(
            self._reader(shards, table), num_windows=num_windows, pin_memory=pin_memory
        )

    def calibrate(self, batches: Iterable[PairBatch]) -> None:
        """Mean and deviation of each frequency bin of the log spectrogram."""
        self.preparation.calibrate(batches)

    def prepare(self, batch: PairBatch, device: torch.device) -> PairInputs:
        """Color jitter, spectrogram and normalization on the device."""
        inputs: PairInputs = self.preparation(batch, device)
        return inputs

    def loss(self, inputs: PairInputs, *, generator: torch.Generator) -> LossOutput:
        """NCE against the banks, which take up the new embeddings."""
        video, audio = self.model(inputs.video, inputs.audio)
        output: LossOutput = self.criterion(video, audio, index=inputs.source, generator=generator)
        return output

    def on_epoch(self, epoch: int) -> None:
        """Nothing changes between epochs."""

    def encoders(self) -> dict[Modality, Encoder[PairInputs]]:
        """Both networks with their heads."""
        model = self.model
        return {
            "video": Encoder(
                features=lambda inputs: model.video_model(inputs.video).float(),
                project=lambda features: model.video_proj(features).float(),
            ),
            "audio": Encoder(
                features=lambda inputs: model.audio_model(inputs.audio).float(),
                project=lambda features: model.audio_proj(features).float(),
            ),
        }

    def _reader(self, shards: ShardSet, table: SampleTable) -> PairReader:
        return PairReader(shards, table, video=self.config.video, audio=self.config.audio)
