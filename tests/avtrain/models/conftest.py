"""Weights and inputs from integer hashing, and what the published classes gave for them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from avtrain.models import MultisensoryConfig, MultisensoryNet, build_multisensory

HashedUniform = Callable[[int, int], np.ndarray]
HashFilled = Callable[[dict[str, Tensor]], dict[str, Tensor]]
Size = tuple[int, int, int, int]
Embeddings = dict[Size, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]]


def _hashed_uniform(stream: int, count: int) -> np.ndarray:
    """`count` numbers of unit variance in (-1.73, 1.73), from integer hashing."""
    k = np.arange(count, dtype=np.uint64) + np.uint64(7919 * (stream + 1))
    mask = np.uint64(0xFFFFFFFF)
    x = (k * np.uint64(2654435761)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(2246822519)) & mask
    x ^= x >> np.uint64(13)
    return (x.astype(np.float64) / 2.0**32 - 0.5) * math.sqrt(12.0)


def _filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    filled = {}
    for position, name in enumerate(sorted(state)):
        value = state[name]
        if name.endswith("num_batches_tracked"):
            filled[name] = torch.zeros_like(value)
            continue
        u = torch.from_numpy(_hashed_uniform(position, value.numel())).reshape(value.shape)
        if value.ndim >= 2:
            u = u * math.sqrt(2.0 / math.prod(value.shape[1:]))
        elif name.endswith(("bias", "running_mean")):
            u = 0.1 * u
        elif name.endswith("running_var"):
            u = 1.0 + 0.2 * u
        else:
            u = 1.0 + 0.1 * u
        filled[name] = u
    return filled


# first four of the video and of the audio embedding, their norms, and their cosine
EMBEDDINGS = {
    (8, 64, 100, 129): (
        (-6.444904, 16.729934, -8.295474, 22.964568),
        (-0.408573, 3.283528, -6.003084, -0.834768),
        (284.568707, 47.295551, 0.08603314),
    ),
    (8, 112, 200, 257): (
        (4.781213, 9.775228, -0.616928, 27.829558),
        (0.853172, 5.449151, -7.514137, -1.429240),
        (440.412679, 58.143560, 0.09755212),
    ),
}


@pytest.fixture(scope="session")
def hashed_uniform() -> HashedUniform:
    """Function of a stream and a count: that many numbers of unit variance, float64."""
    return _hashed_uniform


@pytest.fixture(scope="session")
def hash_filled() -> HashFilled:
    """Function that fills the tensors of a state dict by their sorted names, float64."""
    return _filled


@pytest.fixture(scope="session")
def published_embeddings() -> Embeddings:
    """By (video frames, side, audio frames, bins): starts of both embeddings, norms and cosine."""
    return EMBEDDINGS


BuildMultisensory = Callable[[MultisensoryConfig], MultisensoryNet]
RandomClips = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture(scope="session")
def build_net() -> BuildMultisensory:
    """Function that builds a float64 network in evaluation, with averages and biases drawn too."""

    def build(config: MultisensoryConfig) -> MultisensoryNet:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = build_multisensory(config).double()
            for name, tensor in net.state_dict().items():
                if name.endswith(("running_mean", "bias")):
                    tensor.normal_(std=0.2)
                elif name.endswith(("running_var", "norm.weight")):
                    tensor.uniform_(0.5, 1.5)
        return net.eval()

    return build


@pytest.fixture(scope="session")
def random_clips() -> RandomClips:
    """Function of numbers of clips, frames, rows, columns and samples: frames and sound, float64.

    Both are in [-1, 1]: (b, 3, t, h, w) and (b, 2, n).
    """

    def make(
        num: int, frames: int, height: int, width: int, samples: int, *, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shapes = (num, 3, frames, height, width), (num, 2, samples)
        pictures, sound = (
            torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1 for shape in shapes
        )
        return pictures, sound

    return make
