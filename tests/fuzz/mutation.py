"""Damaged copies of media files: a function of file, seed and number alone."""

import random
from collections.abc import Callable, Sequence

HEADER_BYTES = 4096


def flip_bits(data: bytearray, rng: random.Random) -> None:
    """1 to 200 single bits anywhere."""
    for _ in range(rng.choice((1, 5, 30, 200))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_header_bits(data: bytearray, rng: random.Random) -> None:
    """1 to 20 single bits in the first or last bytes, where containers keep their tables."""
    size = min(len(data), HEADER_BYTES)
    for _ in range(rng.choice((1, 4, 20))):
        at = rng.randrange(size)
        data[at if rng.random() < 0.5 else len(data) - 1 - at] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random) -> None:
    """Cut anywhere; sometimes to nothing."""
    del data[rng.randrange(len(data)) if rng.random() < 0.9 else rng.randrange(64) :]


def overwrite(data: bytearray, rng: random.Random) -> None:
    """A stretch of zeros, ones or noise."""
    start, size = rng.randrange(len(data)), rng.choice((4, 64, 1024, 20_000))
    stretch = len(data[start : start + size])
    fill = rng.choice((b"\0", b"\xff", None))
    data[start : start + size] = rng.randbytes(stretch) if fill is None else fill * stretch


def move_block(data: bytearray, rng: random.Random) -> None:
    """A block is taken out and put in elsewhere."""
    start, size = rng.randrange(len(data)), rng.choice((16, 512, 8192))
    block = data[start : start + size]
    del data[start : start + size]
    at = rng.randrange(len(data) + 1)
    data[at:at] = block


def splice_header(data: bytearray, rng: random.Random, other: bytes) -> None:
    """The beginning of another file in place of its own."""
    size = rng.choice((8, 64, 512, 4096))
    data[:size] = other[:size]


Damage = Callable[[bytearray, random.Random], None]
DAMAGES: tuple[Damage, ...] = (flip_bits, flip_header_bits, truncate, overwrite, move_block)


def mutation(files: Sequence[bytes], *, seed: int, number: int) -> tuple[int, bytes]:
    """Which file mutation `number` is made of, and its bytes."""
    rng = random.Random(f"{seed}/{number}")
    which = number % len(files)
    data = bytearray(files[which])
    for _ in range(rng.choice((1, 1, 2))):
        if not data:
            break
        if rng.random() < 1 / (len(DAMAGES) + 1):
            splice_header(data, rng, files[rng.randrange(len(files))])
        else:
            rng.choice(DAMAGES)(data, rng)
    return which, bytes(data)
