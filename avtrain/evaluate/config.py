"""Settings of evaluations: `[eval]` of a recipe and `--set path=value`, checked and immutable."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from avdata import Spec
from avtrain.data.views.off_screen import OffScreenConfig
from avtrain.data.views.pair_config import ColorJitterConfig
from avtrain.data.views.sync_places import OffsetGridConfig
from avtrain.engine.config import ComputeConfig
from avtrain.maps import SMOOTHING_CELLS
from avtrain.methods.separation_sound import SoundForm

LayerName = Literal["conv1", "conv2x", "conv3x", "conv4x", "conv5x", "scale0", "scale1", "pool"]
STAGES: tuple[LayerName, ...] = ("conv2x", "conv3x", "conv4x", "conv5x")
FUSED_STAGES: tuple[LayerName, ...] = ("scale0", "scale1")
"""Of the network of a sync run, before its last features: of pictures alone, and with sound."""


def expand_preset(data: object, presets: dict[str, dict[str, object]], *, section: str) -> object:
    """Settings with `preset` written out; what `data` names beside it wins.

    Raises:
        ValueError: There is no such preset.
    """
    if not isinstance(data, dict) or data.get("preset") is None:
        return data
    name = data["preset"]
    if name not in presets:
        raise ValueError(f"{section}.preset={name!r} is unknown; there are {', '.join(presets)}")
    return {**presets[name], **{key: value for key, value in data.items() if key != "preset"}}


class KnnConfig(Spec):
    """Votes of the nearest training samples (Wu et al. 2018, section 3.4; there 200 neighbors)."""

    neighbors: int = Field(default=20, ge=1)
    temperature: float = Field(default=0.07, gt=0)


class ProbeConfig(Spec):
    """Logistic regression on pooled features: convex, so that it has one answer."""

    layers: tuple[LayerName, ...] | None = None
    """Without names, the stages of the network and `pool`."""
    inverse_penalty: float = Field(default=1.0, gt=0)
    max_iterations: int = Field(default=500, ge=1)


class GridsConfig(Spec):
    """Positions a side to which the maps of a layer are pooled; a smaller map keeps its size."""

    conv2x: int = Field(default=12, ge=1)
    conv3x: int = Field(default=8, ge=1)
    conv4x: int = Field(default=6, ge=1)
    conv5x: int = Field(default=4, ge=1)


class LinearConfig(Spec):
    """Linear heads on the frozen maps of each stage: the Kinetics protocol.

    Reference: Morgado et al. 2021 and its released code; the ablations' small networks took 128
    pixels, batch 256, 20 epochs, gamma 0.3 at 8, 12, 15, 18 and 25 test clips.
    """

    grids: GridsConfig = GridsConfig()
    clip_frames: int | None = Field(default=None, ge=1)
    """Frames of a clip; without a number, those of the run."""
    batch_size: int = Field(default=128, ge=2)
    clips_per_sample: int = Field(default=1, ge=1)
    """Clips of a sample in one epoch: small sets need more of them."""
    epochs: int = Field(default=12, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    milestones: tuple[int, ...] = (6, 9)
    gamma: float = Field(default=0.1, gt=0)
    test_clips: int = Field(default=10, ge=1)
    bn_quirk: bool = False
    """As published: the frozen network's batch norm works by the statistics of each batch, and its
    running ones move, while the heads are trained."""
    jitter: ColorJitterConfig = ColorJitterConfig()


FINETUNE_PRESETS: dict[str, dict[str, object]] = {
    "ucf101-8f": {},
    "ucf101-32f": {"clip_frames": 32, "batch_size": 32, "clips_per_sample": 5},
    "hmdb51-8f": {
        "clips_per_sample": 25,
        "epochs": 10,
        "milestones": (3, 6, 8),
        "jitter": {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.2},
    },
    "hmdb51-32f": {
        "clip_frames": 32,
        "batch_size": 32,
        "clips_per_sample": 10,
        "epochs": 10,
        "milestones": (3, 6, 8),
        "jitter": {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.2},
    },
    # of a sync run; rate and schedule are ours, the released template has names in their place
    "ucf101-multisensory": {
        "clip_frames": None,
        "clip_s": 2.56,
        "batch_size": 8,
        "clips_per_sample": 1,
        "dropout": 0.0,
        "head_epochs": 0,
        "optimizer": "sgd",
        "epochs": 24,
        "lr": 1e-2,
        "weight_decay": 1e-5,
        "milestones": (12, 18),
        "gamma": 0.1,
        "test_clips": 25,
        "single_test_clips": 0,
        "sound_jitter_frames": 1.0,
        "compute": {},
    },
    # ours, of a sync run of multisensory-tiny on a CPU; clips as long as those of the run
    "multisensory-tiny": {
        "clip_frames": None,
        "clip_s": None,
        "batch_size": 16,
        "clips_per_sample": 1,
        "dropout": 0.0,
        "head_epochs": 0,
        "epochs": 10,
        "lr": 2e-3,
        "optimizer": "adam",
        "weight_decay": 1e-5,
        "milestones": (6, 8),
        "gamma": 0.1,
        "test_clips": 5,
        "single_test_clips": 0,
        "sound_jitter_frames": 1.0,
        "norm_batches": 20,
        "compute": {"threads": 1},
    },
}
"""The published settings, and one of ours, by the name that `finetune.preset` takes."""


class FinetuneConfig(Spec):
    """All weights trained on labels, the classifier alone first: the UCF and HMDB protocol.

    Reference: Morgado et al. 2021 and its released configurations; for the network of a sync run,
    Owens & Efros 2018 and the released template: what is not set is `ucf101-multisensory` there.
    """

    clip_frames: int | None = Field(default=8, ge=1)
    """Without a number, `clip_s`; without that either, as in the run."""
    clip_s: float | None = Field(default=None, gt=0)
    """Length of a clip in seconds; whole frames of the run's rate are taken."""
    batch_size: int = Field(default=64, ge=2)
    clips_per_sample: int = Field(default=10, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    head_epochs: int = Field(default=5, ge=0)
    head_lr: float = Field(default=1e-4, gt=0)
    head_bn_quirk: bool = True
    """As published: batch norm is in training mode also while only the classifier learns."""
    epochs: int = Field(default=16, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    optimizer: Literal["adam", "sgd"] = "adam"
    """Of all weights; `sgd` has momentum, and decays convolutions and the classifier alone."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of sgd."""
    weight_decay: float = Field(default=0.0, ge=0)
    milestones: tuple[int, ...] = (6, 10, 14)
    gamma: float = Field(default=0.3, gt=0)
    """Factor of the rate at each milestone."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The released code of sync knows 0.05."""
    sound: bool = True
    """Network of a sync run: false puts zeros in place of what it hears."""
    sound_jitter_frames: float = Field(default=0.0, ge=0)
    """Network of a sync run: most that the sound is moved in training, earlier or later."""
    norm_batches: int = Field(default=0, ge=0)
    """Batches of training clips from which the normalizations estimate anew, after training, what
    they go by in tests; 0 keeps the moving averages, which lag hundreds of steps behind."""
    compute: ComputeConfig | None = None
    """Precision and layout; none is float32 as torch comes."""
    test_clips: int = Field(default=10, ge=1)
    """Evenly spaced clips of a test sample, whose class probabilities are averaged."""
    single_test_clips: int = Field(default=25, ge=0)
    """Random clips of a test sample, each an answer of its own: Clip@1; 0 leaves that out."""
    jitter: ColorJitterConfig = ColorJitterConfig()

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return expand_preset(data, FINETUNE_PRESETS, section="finetune")

    def for_fused(self) -> "FinetuneConfig":
        """The same for the network of a sync run, whose published settings stand for what is not
        set."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return FinetuneConfig.model_validate({**FINETUNE_PRESETS["ucf101-multisensory"], **given})

    def clip_length(self, fps: float) -> int | None:
        """Frames of a clip at `fps`; None is as in the run."""
        if self.clip_frames is not None or self.clip_s is None:
            return self.clip_frames
        return max(int(self.clip_s * fps + 1e-6), 1)


SVM_PRESETS: dict[str, dict[str, object]] = {
    "esc50": {},
    "dcase": {"clips_per_sample": 60, "test_clips": 60, "inverse_penalty": 1.0},
}
"""The published settings by the name that `svm.preset` takes."""


class SvmConfig(Spec):
    """One-vs-rest linear SVMs on the frozen maps of each stage: the ESC-50 and DCASE protocol.

    Reference: Morgado et al. 2021; the script was in an earlier public version of its code.
    """

    grids: GridsConfig = GridsConfig()
    clips_per_sample: int = Field(default=10, ge=1)
    """Random windows of each training sample."""
    test_clips: int = Field(default=10, ge=1)
    """Evenly spaced windows of a test sample, whose decision values are averaged."""
    volume: float = Field(default=0.1, ge=0, lt=1)
    speed: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = (
        3 / 4,
        4 / 3,
    )
    """Factor of the length of the sound, with its pitch; `--set svm.speed=` leaves that out."""
    std_floor: float = Field(default=0.01, ge=0)
    """Added to the deviations that the features are divided by."""
    inverse_penalty: float = Field(default=10.0, gt=0)
    tolerance: float = Field(default=1e-4, gt=0)
    max_iterations: int = Field(default=200, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: object) -> object:
        return expand_preset(data, SVM_PRESETS, section="svm")


class FewshotConfig(Spec):
    """A linear classifier on the features of a few labeled samples of each class."""

    shots: tuple[Annotated[int, Field(ge=1)], ...] = (1, 5, 20)
    draws: int = Field(default=5, ge=1)
    """Random choices of those samples; the result is the mean over them."""
    inverse_penalty: float = Field(default=1.0, gt=0)
    max_iterations: int = Field(default=500, ge=1)


class SyncEvalConfig(Spec):
    """Delays among which sync is searched; a run that names delays has its own."""

    offsets: OffsetGridConfig = OffsetGridConfig()


class SeparationEvalConfig(Spec):
    """Mixtures of two samples, taken apart again."""

    windows: int = Field(default=1, ge=1)
    """Evenly spaced clips of each sample; the windows of its partner are as far along."""
    num_mixtures: int | None = Field(default=None, ge=1)
    """Pairs of samples; without a number, each sample is seen in one."""
    other_label: bool = False
    """The sound that is not seen is of another class."""
    off_screen: OffScreenConfig = OffScreenConfig()
    """Sounds without pictures that samples are mixed with, instead of with each other."""
    side_by_side: bool = False
    """Both clips of a mixture are in the picture, side by side, and each is hidden in turn, as
    `avtrain separate --mask` does: the crosswise test."""
    sound: SoundForm = "shared-masks"
    """How sounds are made of what the network gives."""
    bss: bool = True
    """BSS-Eval, about a second a mixture, beside SI-SDR."""

    @model_validator(mode="after")
    def _both_have_pictures(self) -> "SeparationEvalConfig":
        if self.side_by_side and self.off_screen.shards is not None:
            raise ValueError(
                "side_by_side=true shows both clips, and sounds of off_screen.shards have no "
                "pictures; set one of them"
            )
        return self


class LocalizationEvalConfig(Spec):
    """Boxes that maps are compared with."""

    boxes: str | None = None
    """File of them, as `--boxes` takes it."""
    mirrored: bool = True
    """Runs of sync: maps are the mean of those of a clip and of its mirror image."""
    smoothing_cells: float = Field(default=SMOOTHING_CELLS, ge=0)
    """Runs of sync: standard deviation of a Gaussian over maps, in cells."""


class EvalConfig(Spec):
    """Everything that shapes the numbers of evaluations, but for the data."""

    seed: int = Field(default=0, ge=0)
    windows: int = Field(default=5, ge=1)
    """Evenly spaced windows of a sample, averaged: knn, probe, retrieval and fewshot."""
    sound: bool = True
    """Network of a sync run, in knn, probe and fewshot: false puts zeros in place of what it hears;
    finetune has its own."""
    knn: KnnConfig = KnnConfig()
    probe: ProbeConfig = ProbeConfig()
    linear: LinearConfig = LinearConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    svm: SvmConfig = SvmConfig()
    fewshot: FewshotConfig = FewshotConfig()
    sync: SyncEvalConfig = SyncEvalConfig()
    separation: SeparationEvalConfig = SeparationEvalConfig()
    localization: LocalizationEvalConfig = LocalizationEvalConfig()
