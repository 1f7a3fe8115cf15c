"""Settings of a training run: `[fit]` of a recipe and `--set path=value`, checked and immutable."""

from typing import Literal, Self

from pydantic import Field, model_validator

from avdata import Spec
from avtrain.methods import (
    METHODS,
    AVIDConfig,
    CMAConfig,
    MethodConfig,
    RobustXIDConfig,
    SeparationConfig,
    SyncConfig,
)

MethodName = Literal["avid", "cma", "robust-xid", "sync", "separation"]


class DataConfig(Spec):
    """Which samples make a batch, and how they are read."""

    split: str | None = None
    """Train on the samples of this split; without one, on all."""
    where: str | None = None
    """Of those, on the ones whose row of the manifest meets this condition, as in
    `silence_fraction < 0.9 and label in ('dog', 'cat')`."""
    batch_size: int = Field(default=32, ge=2)
    """Clips a step, on all ranks together; the released Kinetics configuration has 256 a node."""
    clips_per_sample: int = Field(default=1, ge=1)
    """Clips of each sample in one epoch; the released Kinetics configuration has 10."""
    clips_per_source: int | None = Field(default=None, ge=1)
    """Clips of each source in one epoch instead: they go round its samples, epoch by epoch."""
    keep_sources_apart: bool = False
    """No two clips of a source in a batch, as far as that is possible: they are false negatives."""
    shuffle_window_shards: int | None = Field(default=None, ge=1)
    """Shards in random order, and samples shuffled among so many of them, for disks and stores that
    are slow at random reads; without a number, one shuffle of all samples."""
    max_bad_share: float = Field(default=0.01, ge=0, le=1)
    """Samples that cannot be read are left out, up to this share of the items so far (counted as
    1000 at least); with more the run ends. 0 allows none."""
    loader_threads: int | None = Field(default=None, ge=1)
    """Threads that read and decode; without a number, one a core."""
    prefetch_batches: int = Field(default=4, ge=1)
    """Batches that are being filled ahead of the one in use."""

    @model_validator(mode="after")
    def _clips_are_counted_once(self) -> Self:
        if self.clips_per_source is not None and self.clips_per_sample != 1:
            raise ValueError(
                f"data.clips_per_source={self.clips_per_source} and "
                f"data.clips_per_sample={self.clips_per_sample} exclude each other; drop one"
            )
        return self


class OptimConfig(Spec):
    """How gradients become weights; the defaults are the released Kinetics configuration."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """`adam` adds the weight decay to the gradient, `adamw` takes it off the weights."""
    lr: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    decay_vectors: bool = True
    """Weight decay of biases and normalization too, as in the published code."""
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of sgd."""
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    """Of the rate, by clips seen: `cosine` falls to 0 at schedule.epochs, `steps` at milestones."""
    milestones: tuple[float, ...] = ()
    """Epochs after each of which `steps` multiplies the rate by gamma."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    warmup_epochs: float = Field(default=0.0, ge=0)
    """The rate rises from 0 over these, whatever its schedule."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Longest gradient; a longer one is scaled to it."""
    accumulate: int = Field(default=1, ge=1)
    """Parts in which a batch passes through the networks, one after another, before one update of
    the weights. Batch normalization sees a part, and memory banks are updated after each part."""

    @model_validator(mode="after")
    def _milestones_belong_to_steps(self) -> Self:
        if bool(self.milestones) != (self.schedule == "steps"):
            raise ValueError(
                f"optim.schedule={self.schedule!r} with optim.milestones={list(self.milestones)}: "
                "milestones are given with 'steps', and only there"
            )
        if (
            list(self.milestones) != sorted(set(self.milestones))
            or min(self.milestones, default=1) <= 0
        ):
            raise ValueError(
                f"optim.milestones={list(self.milestones)} must be positive and ascending"
            )
        return self


class ComputeConfig(Spec):
    """How the networks are computed: the same results, but for rounding, at another speed."""

    precision: Literal["auto", "fast", "bf16", "float32"] = "auto"
    """Of the networks; criteria are float32. `auto` is bf16 on CUDA and float32 on the CPU; `fast`
    is bf16 also on a CPU that has instructions for it (AVX512-BF16 or AMX), where it can be several
    times faster, then with one thread if `threads` does not say otherwise: bf16 kernels of several
    threads spin while they wait for each other, and stall on busy cores. On other CPUs bf16 is many
    times slower than float32 (15 times, on one with AVX2)."""
    threads: int | None = Field(default=None, ge=1)
    """CPU: threads of torch, beside those of the loader; without a number, one a core."""
    tf32: bool = True
    """CUDA: what is float32 is multiplied with 10 bits of mantissa."""
    channels_last: bool = True
    """Convolutions see the channels of a pixel side by side in memory."""
    compile: bool = False
    """torch.compile of the networks: minutes before the first step, and a C++ compiler."""
    sync_batch_norm: bool = False
    """Batch normalization over the batch of all ranks; CUDA only, and not for the networks of sync
    and separation: theirs go by the batch of a rank, as published."""


class ScheduleConfig(Spec):
    """When a run ends: at whichever comes first."""

    epochs: float = Field(default=30.0, gt=0)
    """The released Kinetics configuration has 30 epochs of 10 clips a sample."""
    max_steps: int | None = Field(default=None, ge=1)
    max_minutes: float | None = Field(default=None, gt=0)
    """Of the running command; a run that is resumed gets them anew."""


class CheckpointConfig(Spec):
    """When checkpoints are written, and how many stay."""

    every_steps: int = Field(default=1000, ge=1)
    every_minutes: float = Field(default=10.0, gt=0)
    keep: int = Field(default=2, ge=1)


class LogConfig(Spec):
    """What is written down."""

    every_steps: int = Field(default=10, ge=1)
    """Each line holds the mean loss of this many steps, and costs one wait for the device."""
    keys: bool = False
    """Write the keys of every batch to keys.jsonl."""
    tensorboard: bool = True
    wandb: bool = False
    """Send the same numbers to Weights & Biases; needs `pip install wandb`."""


class FitConfig(Spec):
    """Everything that shapes a run, but for the shard set."""

    method: MethodName = "avid"
    seed: int = Field(default=0, ge=0)
    init: str | None = None
    """A run, or a folder of `avtrain export` or `import`, whose weights the run starts from."""
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    compute: ComputeConfig = ComputeConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    avid: AVIDConfig = AVIDConfig()
    cma: CMAConfig = CMAConfig()
    robust_xid: RobustXIDConfig = RobustXIDConfig()
    sync: SyncConfig = SyncConfig()
    separation: SeparationConfig = SeparationConfig()

    @property
    def method_config(self) -> MethodConfig:
        """Settings of the chosen method."""
        chosen = getattr(self, self.method.replace("-", "_"))
        assert isinstance(chosen, METHODS[self.method])
        return chosen


MAY_CHANGE = (
    "schedule",
    "checkpoint",
    "log",
    "data.loader_threads",
    "data.prefetch_batches",
    "data.max_bad_share",
    "compute.precision",
    "compute.threads",
    "compute.tf32",
    "compute.channels_last",
    "compute.compile",
)
"""Settings that a resumed run may change: none alters a step that is made."""


def forbidden_changes(old: FitConfig, new: FitConfig) -> list[str]:
    """`path: old -> new` of the settings that differ and may not."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    return [
        f"{path}: {before.get(path)!r} -> {after.get(path)!r}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
        and not any(path == name or path.startswith(f"{name}.") for name in MAY_CHANGE)
    ]


def _flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
