"""Sound of a sample of a shard set: the stored FLAC, or whatever tars of others hold."""

from typing import TYPE_CHECKING

import numpy as np

from avdata.shards.codec import decode_audio
from avdata.shards.foreign_set import is_foreign
from avdata.shards.foreign_sound import read_foreign_sound

if TYPE_CHECKING:
    from avdata.shards.reader import ShardSet

FLAC_MAGIC = b"fLaC"


def read_sample_sound(
    shards: "ShardSet", sample: int, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Samples [start, stop) at the set's rate, int16 (c, n); to the clip's end without a `stop`.

    Raises:
        ShardSetError: The set lacks the field, or the shard is damaged.
        ValueError: The sound cannot be decoded.
    """
    data = shards.read_bytes(sample, "audio")
    spec = shards.spec.audio
    if spec is None or not is_foreign(shards.spec):
        return decode_audio(data, start, stop)[0]
    table = shards.manifest
    length: int = table["num_audio_samples"][sample].as_py()
    start_s: float = table["decoded_start_s"][sample].as_py()
    stop = length if stop is None else min(stop, length)
    if _flac_form(data) == (spec.sample_rate_hz, spec.num_channels):
        shift = round(start_s * spec.sample_rate_hz)
        return decode_audio(data, start + shift, stop + shift)[0]
    return read_foreign_sound(
        data,
        spec,
        start,
        max(stop, start),
        start_s=start_s,
        npy_rate_hz=table["native_sample_rate_hz"][sample].as_py() or spec.sample_rate_hz,
    )


def _flac_form(data: bytes) -> tuple[int, int] | None:
    """Sample rate and channels that a FLAC states; None of anything else."""
    if data[:4] != FLAC_MAGIC or len(data) < 21:
        return None
    return int.from_bytes(data[18:21], "big") >> 4, (data[20] >> 1 & 7) + 1
