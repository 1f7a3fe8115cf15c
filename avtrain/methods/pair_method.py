"""What methods over pairs of a video clip and its sound share: views, inputs, two networks."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from avdata import DatasetSpec, Spec
from avtrain.data.samples import SampleStore, SampleTable
from avtrain.data.views.pair import PairEvalView, PairTrainView
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.errors import RunError
from avtrain.methods.base import (
    Encoder,
    InitialState,
    Method,
    MethodFacts,
    Modality,
    check_fields,
)
from avtrain.methods.pair_inputs import PairInputs, PairPreparation, check_pair_data
from avtrain.models import AudioVisualChoice, audio_visual_config, build_audio_visual

_CALIBRATION_CLIPS = 512
_NETWORK_PARTS = ("model.", "preparation.")


class PairMethodConfig(Spec):
    """Settings that all methods over pairs have; the defaults are those of AVID on Kinetics."""

    model: AudioVisualChoice = "avid-r2plus1d-18"
    """Name of a preset, or a table of the parts, as in `{video = {depth = 10, width = 32}}`."""
    video: VideoViewConfig = VideoViewConfig()
    audio: AudioViewConfig = AudioViewConfig()

    @property
    def requires(self) -> frozenset[str]:
        """Frames, and the field that the audio input is made of."""
        return frozenset({"frames", "audio" if self.audio.input == "spectrogram" else "logmel"})

    @property
    def needs_init(self) -> str | None:
        """What to do where no other run is given to start from; None where none is needed."""
        return None

    def check_pairs(self, spec: DatasetSpec, *, method: str, where: str) -> None:
        """Refuse a shard set whose stored form does not fit.

        Raises:
            DataError: A field is missing or its form does not fit.
        """
        instead = ""
        if "logmel" not in spec.fields and {"frames", "audio"} <= set(spec.fields):
            instead = (
                f", or make the input of the stored sound: --set "
                f"{method.replace('-', '_')}.audio.input=spectrogram"
            )
        check_fields(self.requires, spec, method=method, where=where, instead=instead)
        check_pair_data(self.audio, spec, where=where)


class PairMethod(Method[PairBatch, PairInputs]):
    """Views, inputs and networks; a method adds its criterion, `before_step` and `loss`.

    The state dict holds `model.`, the networks under their published names, `preparation.`, the
    audio statistics, and what the criterion keeps.
    """

    def __init__(self, config: PairMethodConfig, facts: MethodFacts) -> None:
        super().__init__()
        self.view = config
        self.num_calibration_clips = (
            _CALIBRATION_CLIPS if config.audio.input == "spectrogram" else 0
        )
        self.preparation = PairPreparation(config.audio, facts.spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(facts.seed)
            self.model = build_audio_visual(audio_visual_config(config.model))

    def train_view(
        self, shards: SampleStore, table: SampleTable, *, seed: int, pin_memory: bool
    ) -> PairTrainView:
        """One random clip an item."""
        return PairTrainView(self._reader(shards, table), seed=seed, pin_memory=pin_memory)

    def eval_view(
        self, shards: SampleStore, table: SampleTable, *, num_windows: int, pin_memory: bool
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

    def networks(self) -> nn.Module:
        """Both encoders and both heads."""
        return self.model

    def start_from(self, initial: InitialState) -> None:
        """Take up the networks and the audio statistics; a method with banks takes those up too.

        Published checkpoints hold no audio statistics: then those of the new data stay.

        Raises:
            RunError: A tensor is missing, is one too many or has another shape.
        """
        given = {n: t for n, t in initial.tensors.items() if n.startswith(_NETWORK_PARTS)}
        parts = {n.partition(".")[0] + "." for n in given} | {"model."}
        own = {n: t for n, t in self.state_dict().items() if n.startswith(tuple(parts))}
        if "preparation." in parts:
            self.num_calibration_clips = 0  # the networks know the statistics that they come with
        check_same_tensors(given, own, where=initial.where)
        self.load_state_dict(given, strict=False)

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

    def _reader(self, shards: SampleStore, table: SampleTable) -> PairReader:
        return PairReader(shards, table, video=self.view.video, audio=self.view.audio)


def check_same_tensors(given: dict[str, Tensor], own: dict[str, Tensor], *, where: str) -> None:
    """Refuse tensors that do not go one to one into those of the same names.

    Raises:
        RunError: The text names the first few that differ.
    """
    differ = [f"{name} is missing" for name in sorted(own.keys() - given.keys())]
    differ += [f"{name} is not of this method" for name in sorted(given.keys() - own.keys())]
    differ += [
        f"{name} is {tuple(given[name].shape)} and must be {tuple(own[name].shape)}"
        for name in sorted(own.keys() & given.keys())
        if given[name].shape != own[name].shape
    ]
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise RunError(
            f"{where} does not fit: {'; '.join(differ[:3])}{more}; choose the model and the audio "
            "settings that it was trained with"
        )
