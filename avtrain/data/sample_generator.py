"""Random numbers of one clip: a function of seed, epoch, occurrence and key alone."""

import hashlib

import numpy as np


def sample_generator(*, seed: int, epoch: int, occurrence: int, key: str) -> np.random.Generator:
    """Generator that does not depend on threads, ranks or what was drawn before."""
    return np.random.Generator(np.random.Philox(key=_digest(seed, epoch, occurrence, key)))


def step_seed(*, seed: int, step: int, rank: int = 0) -> int:
    """Seed of a torch generator for what is drawn on the device in one step, in [0, 2^63)."""
    return _digest("step", seed, step, rank) >> 65


def _digest(*parts: object) -> int:
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
