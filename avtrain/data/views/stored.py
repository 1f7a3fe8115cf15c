"""Windows of stored fields, written where they are wanted."""

import numpy as np

from avdata import ShardSetError
from avtrain.data.samples import SampleStore


def read_logmel_window(
    out: np.ndarray, shards: SampleStore, sample: int, *, start: int, stride: int
) -> None:
    """Fill `out`, float16 (s, f), with every `stride`-th log-mel column from `start` on.

    Columns beyond the end of the sample are silence: the logarithm of the floor.

    Raises:
        ShardSetError: The member is damaged.
    """
    try:
        logmel = shards.read_logmel(sample, start, start + len(out) * stride)
    except ValueError as error:
        raise _damaged(shards, sample, "log-mel", error) from None
    assert shards.spec.logmel is not None
    cut = logmel[0, ::stride]
    out[: len(cut)] = cut
    if len(cut) < len(out):
        out[len(cut) :] = np.log(shards.spec.logmel.log_floor)


def read_mono_window(out: np.ndarray, shards: SampleStore, sample: int, *, start: int) -> None:
    """Fill `out`, int16 (n,), with the first channel of the sound; zeros beyond its end.

    Raises:
        ShardSetError: The member is damaged.
    """
    try:
        sound = shards.read_audio(sample, start, start + len(out))
    except (ValueError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        raise _damaged(shards, sample, "sound", error) from None
    out[: sound.shape[1]] = sound[0]
    out[sound.shape[1] :] = 0


def read_stereo_window(shards: SampleStore, sample: int, *, start: int, stop: int) -> np.ndarray:
    """Sound [start, stop) of two channels, int16 (2, n); of a mono sound both are the same.

    Zeros beyond its end.

    Raises:
        ShardSetError: The member is damaged.
    """
    try:
        sound = shards.read_audio(sample, start, stop)
    except (ValueError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        raise _damaged(shards, sample, "sound", error) from None
    out = np.zeros((2, stop - start), np.int16)
    out[:, : sound.shape[1]] = sound[:2]
    return out


def _damaged(shards: SampleStore, sample: int, what: str, error: Exception) -> ShardSetError:
    place = shards.location.place(shards.manifest["shard"][sample].as_py())
    return ShardSetError(
        f"{what} of sample {shards.keys[sample]} in {place} cannot be decoded "
        f"({error}); run `avdata verify {shards.location}` and build the shard again"
    )
