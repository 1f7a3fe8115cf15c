"""What fixes the order of training samples, and how it is dealt to ranks and parts of a step."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from avtrain.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamItem:
    """One occurrence of a sample."""

    sample: int
    """Row of the manifest."""
    epoch: int
    """Passes over the sample's shard set before this one."""
    occurrence: int
    """Which of the sample's clips of this epoch."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleGroups:
    """To what each sample of a plan belongs: int64, one a sample, in the plan's order."""

    source: np.ndarray
    shard: np.ndarray
    shard_set: np.ndarray
    """Position in `StreamPlan.weights`."""

    def __repr__(self) -> str:
        return f"SampleGroups({len(self.source)} samples)"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StreamPlan:
    """What fixes the order, and how it is dealt."""

    samples: tuple[int, ...]
    """Rows of the manifest to train on, ascending."""
    seed: int
    batch_size: int
    """Clips of a step, over all ranks and parts."""
    dataset_fingerprint: str = ""
    """What the samples are: other data get another order."""
    clips_per_sample: int = 1
    clips_per_source: int | None = None
    """Clips of each source in an epoch; epoch by epoch they go round the source's samples."""
    keep_sources_apart: bool = False
    """No two clips of a source in a batch, as far as the sources allow it."""
    shuffle_window_shards: int | None = None
    """Shards come in random order, and samples are shuffled among so many of them; None: all."""
    groups: SampleGroups | None = None
    """Needed by the three options above, and for a mix."""
    weights: tuple[float, ...] = (1.0,)
    """Shares of the shard sets, not normalized."""
    num_ranks: int = 1
    num_parts: int = 1
    """Pieces in which a rank takes its part of a step: gradients are accumulated over them."""
    epoch_length: int = field(init=False)
    """Clips of one epoch."""

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError("a stream needs at least one sample")
        for name in ("batch_size", "clips_per_sample", "num_ranks", "num_parts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("clips_per_source", "shuffle_window_shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.clips_per_source is not None and self.clips_per_sample != 1:
            raise ValueError(
                f"clips_per_source={self.clips_per_source} and "
                f"clips_per_sample={self.clips_per_sample} exclude each other; drop one"
            )
        self._check_groups()
        self._check_parts()
        object.__setattr__(self, "epoch_length", self._count_clips())

    def _check_groups(self) -> None:
        groups, num_samples = self.groups, len(self.samples)
        if groups is None:
            if self.needs_groups:
                raise ValueError("options by source or shard, and mixes, need the plan's groups")
            return
        if not len(groups.source) == len(groups.shard) == len(groups.shard_set) == num_samples:
            raise ValueError(f"{groups} of a plan of {num_samples} samples")
        counts = np.bincount(groups.shard_set, minlength=len(self.weights))
        if len(counts) > len(self.weights) or min(self.weights) <= 0:
            raise ValueError(f"weights={self.weights} must be positive, one a shard set")
        if not counts.all():
            raise DataError(
                f"shard set {int(counts.argmin()) + 1} of {len(counts)} in the mix has no sample "
                "to train on; leave it out, or choose another split or condition"
            )

    def _check_parts(self) -> None:
        pieces = self.num_ranks * self.num_parts
        if self.batch_size % pieces:
            below = self.batch_size // pieces * pieces
            sizes = f"{below} or {below + pieces}" if below else str(pieces)
            raise DataError(
                f"data.batch_size={self.batch_size} is not a multiple of {self.num_ranks} ranks x "
                f"{self.num_parts} parts of a step; set data.batch_size to {sizes}"
            )

    def __repr__(self) -> str:
        return (
            f"StreamPlan({len(self.samples)} samples, batches of {self.batch_size}, "
            f"{self.num_ranks} ranks x {self.num_parts} parts)"
        )

    @property
    def needs_groups(self) -> bool:
        """Whether the order depends on sources, shards or sets."""
        return (
            self.clips_per_source is not None
            or self.keep_sources_apart
            or self.shuffle_window_shards is not None
            or len(self.weights) > 1
        )

    def _count_clips(self) -> int:
        if self.clips_per_source is None:
            return len(self.samples) * self.clips_per_sample
        assert self.groups is not None
        return len(np.unique(self.groups.source)) * self.clips_per_source

    @property
    def part_size(self) -> int:
        """Clips of one batch of a rank: of one part of a step."""
        return self.batch_size // (self.num_ranks * self.num_parts)

    def num_steps(self, epochs: float) -> int:
        """Steps that cover `epochs` epochs; the last one may reach into the next epoch."""
        return -(-round(epochs * self.epoch_length) // self.batch_size)


def stream_fingerprint(plan: StreamPlan) -> str:
    """Hash of all that fixes the order, and not of how it is dealt to ranks and parts.

    Equal on all ranks of a run, and before and after it is resumed.
    """
    digest = hashlib.sha256()
    for name in (
        "seed",
        "batch_size",
        "dataset_fingerprint",
        "clips_per_sample",
        "clips_per_source",
        "keep_sources_apart",
        "shuffle_window_shards",
        "weights",
    ):
        digest.update(f"{name}={getattr(plan, name)!r}\0".encode())
    digest.update(np.asarray(plan.samples, "<i8").tobytes())
    if plan.groups is not None and plan.needs_groups:
        for array in (plan.groups.source, plan.groups.shard, plan.groups.shard_set):
            digest.update(np.asarray(array, "<i8").tobytes())
    return digest.hexdigest()
