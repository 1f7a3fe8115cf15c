"""Settings of a training run: `[fit]` of a recipe and `--set path=value`, checked and immutable."""

from typing import Literal

from pydantic import Field

from avdata import Spec
from avtrain.methods import METHODS, AVIDConfig, MethodConfig

MethodName = Literal["avid"]


class DataConfig(Spec):
    """Which samples make a batch, and how they are read."""

    split: str | None = None
    """Train on the samples of this split; without one, on all."""
    where: str | None = None
    """Of those, on the ones whose row of the manifest meets this condition, as in
    `silence_fraction < 0.9 and label in ('dog', 'cat')`."""
    batch_size: int = Field(default=32, ge=2)
    """Clips a step; the released Kinetics configuration has 256 a node."""
    clips_per_sample: int = Field(default=1, ge=1)
    """Clips of each sample in one epoch; the released Kinetics configuration has 10."""
    loader_threads: int | None = Field(default=None, ge=1)
    """Threads that read and decode; without a number, one a core."""
    prefetch_batches: int = Field(default=4, ge=1)
    """Batches that are being filled ahead of the one in use."""


class OptimConfig(Spec):
    """Adam; the defaults are the released Kinetics configuration. The rate is constant."""

    lr: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)


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


class FitConfig(Spec):
    """Everything that shapes a run, but for the shard set."""

    method: MethodName = "avid"
    seed: int = Field(default=0, ge=0)
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    avid: AVIDConfig = AVIDConfig()

    @property
    def method_config(self) -> MethodConfig:
        """Settings of the chosen method."""
        chosen = getattr(self, self.method)
        assert isinstance(chosen, METHODS[self.method])
        return chosen


MAY_CHANGE = ("schedule", "checkpoint", "log", "data.loader_threads", "data.prefetch_batches")
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
