"""Windows of stored fields as arrays."""

import numpy as np

from avdata import ShardSet, ShardSetError


def read_logmel_window(
    shards: ShardSet, sample: int, *, start: int, num_columns: int, stride: int
) -> np.ndarray:
    """Every `stride`-th log-mel column from `start` on, float16 (s, f).

    Columns beyond the end of the sample are silence: the logarithm of the floor.

    Raises:
        ShardSetError: The member is damaged.
    """
    try:
        logmel = shards.read_logmel(sample, start, start + num_columns * stride)
    except ValueError as error:
        raise _damaged(shards, sample, "log-mel", error) from None
    assert shards.spec.logmel is not None
    cut = logmel[0, ::stride]
    out = np.full((num_columns, logmel.shape[2]), np.log(shards.spec.logmel.log_floor), np.float16)
    out[: len(cut)] = cut
    return out


def read_mono_window(shards: ShardSet, sample: int, *, start: int, num_samples: int) -> np.ndarray:
    """First channel of the sound, int16 (n,); zeros beyond the end of the sample.

    Raises:
        ShardSetError: The member is damaged.
    """
    try:
        sound = shards.read_audio(sample, start, start + num_samples)
    except (ValueError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        raise _damaged(shards, sample, "sound", error) from None
    out = np.zeros(num_samples, np.int16)
    out[: sound.shape[1]] = sound[0]
    return out


def _damaged(shards: ShardSet, sample: int, what: str, error: Exception) -> ShardSetError:
    place = shards.location.place(shards.manifest["shard"][sample].as_py())
    return ShardSetError(
        f"{what} of sample {shards.keys[sample]} in {place} cannot be decoded "
        f"({error}); run `avdata verify {shards.location}` and build the shard again"
    )
