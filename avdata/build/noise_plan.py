"""Which clips of a shard set get the sound of another one, and which are there twice."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from avdata.errors import ConfigError
from avdata.schema import Spec

_SWAP, _REPEAT = 0, 1
"""Streams of random numbers: the clips of one kind of noise do not depend on the other's share."""


class NoiseConfig(Spec):
    """How much noise a set gets, and where."""

    swap_audio: float = Field(default=0.0, ge=0, le=1)
    """Share of the clips that get the sound of another clip."""
    duplicate: float = Field(default=0.0, ge=0, le=1)
    """Share of the clips that are there a second time, as a source of their own."""
    seed: int = Field(default=0, ge=0)
    split: str | None = "train"
    """Only clips of this split; None is all clips."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipFacts:
    """Columns of a manifest that decide about noise; position i is clip i."""

    source_index: np.ndarray
    split: list[str | None]
    sound_length: np.ndarray
    """int64 (n, 2): stored audio samples and log-mel columns; only equal ones can change places."""

    def __repr__(self) -> str:
        return f"ClipFacts({len(self.split)} clips)"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NoisePlan:
    """The noise of a set; clips are positions in the manifest of the set it is made of."""

    sound_of: np.ndarray
    """int64, the clip whose sound each clip gets; its own where nothing changes."""
    twins: np.ndarray
    """int64, ascending: the clips that are there twice."""

    def __repr__(self) -> str:
        return f"NoisePlan({len(self.sound_of)} clips, {self.num_swapped} swapped)"

    @property
    def num_swapped(self) -> int:
        return int((self.sound_of != np.arange(len(self.sound_of))).sum())


def plan_noise(clips: ClipFacts, config: NoiseConfig, *, where: str) -> NoisePlan:
    """The clips that a share means, drawn by the seed.

    No clip that gets another sound gets that of its own source. Where too few clips are as long as
    one of another source, fewer change places than were asked for.

    Raises:
        ConfigError: No noise is asked for, there are no such clips, or none can change places.
    """
    if not config.swap_audio and not config.duplicate:
        raise ConfigError(
            "swap_audio and duplicate are both 0: the set would be the same; give a share of the "
            "clips, as in --swap-audio 0.3"
        )
    chosen = np.flatnonzero([config.split in (None, split) for split in clips.split])
    if not len(chosen):
        seen = sorted({split for split in clips.split if split is not None})
        raise ConfigError(
            f"{where} has no clips of split {config.split!r}: its splits are {seen}; give one of "
            "them, or --all-splits"
        )
    num_twins = round(config.duplicate * len(chosen))
    rng = np.random.default_rng([config.seed, _REPEAT])
    sound_of = _swapped_sound(clips, chosen, config)
    plan = NoisePlan(sound_of=sound_of, twins=np.sort(rng.permutation(chosen)[:num_twins]))
    if round(config.swap_audio * len(chosen)) and not plan.num_swapped:
        raise ConfigError(
            f"no sound can be exchanged among the {len(chosen)} clips: only sounds of the same "
            f"length and of different sources are, and no two clips of {where} have such; build "
            "it of spans of one length"
        )
    return plan


def _swapped_sound(clips: ClipFacts, chosen: np.ndarray, config: NoiseConfig) -> np.ndarray:
    """For each clip the one whose sound it gets, a permutation."""
    rng = np.random.default_rng([config.seed, _SWAP])
    sound_of = np.arange(len(clips.split))
    left = round(config.swap_audio * len(chosen))
    lengths = clips.sound_length[chosen]
    _, group_of = np.unique(lengths, axis=0, return_inverse=True)
    group_of = group_of.reshape(-1)
    groups = [chosen[group_of == group] for group in range(int(group_of.max()) + 1)]
    # a share of each length, and what rounding leaves of the commonest
    sizes = np.array([len(group) for group in groups])
    wanted = np.floor(config.swap_audio * sizes).astype(int)
    most = sizes.argmax()
    wanted[most] = min(wanted[most] + left - wanted.sum(), sizes[most])
    for group, count in zip(groups, wanted.tolist(), strict=True):
        taken = rng.permutation(group)[:count]
        taken = _without_majority(taken, clips.source_index)
        if len(taken):
            sound_of[taken] = _rotated(taken, clips.source_index, rng)
    return sound_of


def _without_majority(taken: np.ndarray, source_index: np.ndarray) -> np.ndarray:
    """Clips of which no more than half are of one source: of such a source the first ones stay."""
    if not len(taken):
        return taken
    sources, counts = np.unique(source_index[taken], return_counts=True)
    of_most = source_index[taken] == sources[counts.argmax()]
    num_others = int((~of_most).sum())
    return np.asarray(taken[~of_most | (np.cumsum(of_most) <= num_others)])


def _rotated(taken: np.ndarray, source_index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`taken` so moved that each meets another source, as long as none has more than half."""
    sources, rank, counts = np.unique(source_index[taken], return_inverse=True, return_counts=True)
    # a circle on which the clips of a source are neighbors, and sources in random order
    circle = np.argsort(rng.permutation(len(sources))[rank.reshape(-1)], kind="stable")
    moved = np.empty_like(taken)
    moved[circle] = np.roll(taken[circle], -int(counts.max()))
    assert (source_index[moved] != source_index[taken]).all()
    return moved
