"""Bytes of tar members from arrays, and back. One pair of functions a field of the contract."""

import io
import json
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
import soundfile


def encode_frames(jpegs: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The JPEG stream and its index: t + 1 uint32 offsets, frame i is bytes [i] to [i + 1]."""
    offsets = np.cumsum([0, *map(len, jpegs)], dtype=np.uint64)
    if offsets[-1] > np.iinfo(np.uint32).max:
        raise ValueError(f"{offsets[-1]} bytes of frames in one sample; at most 4 GiB fit")
    return b"".join(jpegs), encode_array(offsets.astype(np.uint32))


def decode_frame(jpeg: bytes | memoryview) -> np.ndarray:
    """Picture of one JPEG, uint8 RGB (h, w, 3)."""
    return np.asarray(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"))


def encode_audio(samples: np.ndarray, sample_rate_hz: int) -> bytes:
    """FLAC of int16 samples (c, n)."""
    out = io.BytesIO()
    soundfile.write(out, samples.T, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def decode_audio(
    data: bytes | memoryview, start: int = 0, stop: int | None = None
) -> tuple[np.ndarray, int]:
    """Samples [start, stop) as int16 (c, n), and the sample rate in Hz."""
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        if start:
            sound.seek(start)
        count = -1 if stop is None else stop - start
        samples = sound.read(count, dtype="int16", always_2d=True)
        return np.ascontiguousarray(samples.T), int(sound.samplerate)


def encode_array(array: np.ndarray) -> bytes:
    """`.npy` bytes of an array."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def decode_array(data: bytes | memoryview) -> np.ndarray:
    """Array of `.npy` bytes; pickled objects are refused.

    Raises:
        ValueError: The bytes are damaged.
    """
    try:
        return np.asarray(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False))
    except (SyntaxError, tokenize.TokenError, EOFError, MemoryError, TypeError) as error:
        raise ValueError(f"damaged npy member: {error}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayHead:
    """What the head of an `.npy` says."""

    num_bytes: int
    """Length of the head; the elements follow, in C order."""
    shape: tuple[int, ...]
    dtype: np.dtype


def decode_array_head(data: bytes) -> ArrayHead:
    """Head of `.npy` bytes, of which the first ones suffice.

    Raises:
        ValueError: The bytes are damaged, or the array is not in C order.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = _HEAD_READERS[version]
        shape, is_fortran, dtype = read(stream)
    except (SyntaxError, tokenize.TokenError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"damaged npy member: {error!r}") from None
    if is_fortran and len(shape) > 1:
        raise ValueError(f"npy member of shape {shape} is in Fortran order, expected C order")
    return ArrayHead(num_bytes=stream.tell(), shape=shape, dtype=dtype)


_HEAD_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def encode_meta(meta: Mapping[str, object]) -> bytes:
    """JSON with sorted names, so that equal facts are equal bytes."""
    return json.dumps(meta, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def decode_meta(data: bytes | memoryview) -> dict[str, object]:
    """Facts of a sample."""
    meta = json.loads(bytes(data))
    if not isinstance(meta, dict):
        raise ValueError(f"meta is a {type(meta).__name__}, expected an object")
    return meta
