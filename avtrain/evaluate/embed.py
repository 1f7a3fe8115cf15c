"""Frozen encoders over a shard set: one row a sample.

Letters: n samples, w windows of a sample, d length of an embedding or of features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from avdata import ShardSet
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import SampleTable
from avtrain.data.stream import sequential_batches
from avtrain.methods import Method, Modality

Space = Literal["embedding", "features"]
Inputs = TypeVar("Inputs")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedOptions:
    """How samples are read and averaged."""

    num_windows: int = 5
    """Evenly spaced windows of each sample, whose vectors are averaged."""
    batch_size: int = 16
    """Samples at a time."""
    loader_threads: int = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrozenEncoders(Generic[Inputs]):
    """A trained method with the device it is on."""

    method: Method[Any, Inputs]
    device: torch.device


def embed_samples(
    frozen: FrozenEncoders[Any],
    shards: ShardSet,
    table: SampleTable,
    samples: tuple[int, ...],
    *,
    modalities: Iterable[Modality],
    space: Space,
    options: EmbedOptions,
) -> dict[Modality, Tensor]:
    """Mean over windows of the unit embeddings, or of the pooled features, of each sample.

    Args:
        space: `embedding` is the head's output, normalized before the mean; `features` is the
            network's pooled output as it is.

    Returns:
        By modality: float32 (n, d) on the CPU, in the order of `samples`.
    """
    modalities = tuple(modalities)
    encoders = frozen.method.encoders()
    rows: dict[Modality, list[Tensor]] = {modality: [] for modality in modalities}
    view = frozen.method.eval_view(
        shards,
        table,
        num_windows=options.num_windows,
        pin_memory=frozen.device.type == "cuda",
    )
    with (
        torch.no_grad(),
        BatchLoader(
            view,
            sequential_batches(samples, options.batch_size),
            num_threads=options.loader_threads,
            prefetch_batches=2,
        ) as loader,
    ):
        for loaded in loader:
            inputs = frozen.method.prepare(loaded.batch, frozen.device)
            for modality in modalities:
                vectors = encoders[modality].features(inputs)
                if space == "embedding":
                    vectors = F.normalize(encoders[modality].project(vectors), dim=1)
                windows = vectors.reshape(len(loaded.items), options.num_windows, -1)
                rows[modality].append(windows.mean(dim=1).cpu())
    return {modality: torch.cat(rows[modality]) for modality in modalities}
