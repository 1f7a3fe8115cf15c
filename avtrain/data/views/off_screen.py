"""Sounds without pictures, which are laid over clips: what is heard and not seen."""

from pathlib import Path

import numpy as np
from pydantic import Field

from avdata import ShardSet, Spec
from avtrain.data.samples import SampleStore, read_sample_table, select_samples
from avtrain.data.views.stored import read_stereo_window
from avtrain.errors import DataError


class OffScreenConfig(Spec):
    """Where the sounds are."""

    shards: str | None = None
    """Shard set with field audio, a folder or URL; without one, only clips are laid over clips."""
    split: str | None = None
    """Samples of this split; without one, all."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of the mixtures; in the others another clip is heard. 0.08 in the paper's large model, with
    sounds of AudioSet."""


class OffScreenSounds:
    """Windows of the sounds of one set; threads share it."""

    def __init__(self, shards: SampleStore, samples: tuple[int, ...]) -> None:
        self.shards, self.samples = shards, samples
        self._lengths = read_sample_table(shards).num_audio_samples

    def __repr__(self) -> str:
        return f"OffScreenSounds({len(self.samples)} samples of {self.shards.location})"

    def read(self, out: np.ndarray, rng: np.random.Generator) -> None:
        """Fill `out`, int16 (2, n), with a random window of a random sample; zeros beyond its end.

        Raises:
            ShardSetError: The member is damaged.
        """
        sample = self.samples[int(rng.integers(len(self.samples)))]
        free = max(int(self._lengths[sample]) - out.shape[1], 0)
        start = int(rng.integers(free + 1))
        out[:] = read_stereo_window(self.shards, sample, start=start, stop=start + out.shape[1])


def open_off_screen(config: OffScreenConfig, *, sample_rate_hz: int) -> OffScreenSounds | None:
    """The sounds that the settings name, if they name any.

    Raises:
        ShardSetError: The set is missing or damaged.
        DataError: It has no sound, or at another rate, or no such split.
    """
    if config.shards is None:
        return None
    shards = ShardSet(config.shards if "://" in config.shards else Path(config.shards))
    where = str(shards.location)
    if shards.spec.audio is None or "audio" not in shards.spec.fields:
        raise DataError(
            f"off_screen.shards={where} has fields {{{', '.join(sorted(shards.spec.fields))}}} and "
            "no audio; build it with --set 'fields=[\"audio\"]'"
        )
    if shards.spec.audio.sample_rate_hz != sample_rate_hz:
        raise DataError(
            f"off_screen.shards={where} has sound at {shards.spec.audio.sample_rate_hz} Hz, the "
            f"clips have {sample_rate_hz} Hz; build it again with --set "
            f"audio.sample_rate_hz={sample_rate_hz}"
        )
    if shards.spec.audio.layout == "foa":
        raise DataError(
            f"off_screen.shards={where} has layout 'foa'; build it again with --set "
            "audio.layout=stereo"
        )
    table = read_sample_table(shards)
    return OffScreenSounds(shards, select_samples(table, config.split, where=where))
