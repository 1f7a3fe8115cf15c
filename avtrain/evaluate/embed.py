"""Frozen networks over a shard set: one row a sample, or one a window.

Letters: n samples, w windows of a sample, d length of a vector.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from avdata import ShardSet
from avtrain.data.samples import SampleTable, dataset_fingerprint
from avtrain.data.stream import StreamItem, sequential_batches
from avtrain.evaluate.clip_batches import ClipForm, ClipSource
from avtrain.evaluate.feature_cache import SAMPLES, Facts, FeatureCache, merge_rows
from avtrain.evaluate.frozen import FrozenEncoders, layer_maps
from avtrain.methods import Modality
from avtrain.progress import Progress, silent

Space = Literal["embedding", "features"]
VectorName = Literal["conv1", "conv2x", "conv3x", "conv4x", "conv5x", "pool", "embedding"]
"""Global maximum of the maps of a layer; the network's own pooled output; the head's output."""

_SAVE_EVERY_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedOptions:
    """How samples are read and averaged."""

    num_windows: int = 5
    """Evenly spaced windows of each sample, whose vectors are averaged."""
    batch_size: int = 16
    """Samples at a time."""
    loader_threads: int = 2
    cache: FeatureCache | None = None
    """Where features are kept and looked for; None computes them."""
    progress: Progress = silent


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WindowVectors:
    """Vectors of all windows of a few samples."""

    items: list[StreamItem]
    vectors: dict[str, Tensor]
    """By layer: float32 (n, w, d) on the CPU; embeddings have unit length."""


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
    name = "pool" if space == "features" else "embedding"
    return {
        modality: sample_vectors(frozen, shards, samples, modality=modality, options=options)[name]
        for modality in modalities
    }


def sample_vectors(
    frozen: FrozenEncoders[Any],
    shards: ShardSet,
    samples: tuple[int, ...],
    *,
    modality: Modality,
    options: EmbedOptions,
) -> dict[str, Tensor]:
    """Mean over windows of every layer's vectors, float32 (n, d), in the order of `samples`.

    Rows that the cache has are not computed again; what was computed is kept also when it is
    interrupted.
    """
    facts = pooled_facts(frozen, shards, modality=modality, num_windows=options.num_windows)

    def compute(missing: tuple[int, ...]) -> Iterator[WindowVectors]:
        source = ClipSource(frozen, shards, ClipForm(modality=modality))
        return window_vectors(
            frozen, source, missing, options=options, description=f"{modality} features"
        )

    return kept_vectors(samples, facts, compute, cache=options.cache)


def kept_vectors(
    samples: tuple[int, ...],
    facts: Facts,
    compute: Callable[[tuple[int, ...]], Iterator[WindowVectors]],
    *,
    cache: FeatureCache | None,
) -> dict[str, Tensor]:
    """Mean over windows of vectors by name, float32 (n, d), in the order of `samples`.

    Args:
        samples: Any.
        facts: All that the vectors depend on.
        compute: Vectors of the windows of samples, for those that the cache does not have.
        cache: Where what was computed is kept, also when it is interrupted.
    """
    known = cache.load("pooled", facts) if cache is not None else None
    have = set(known[SAMPLES].tolist()) if known is not None else set()
    missing = tuple(sorted(set(samples) - have))
    if missing:
        known = _compute(compute(missing), known, facts, cache)
    assert known is not None
    at = {sample: row for row, sample in enumerate(known[SAMPLES].tolist())}
    rows = torch.tensor([at[sample] for sample in samples])
    return {name: tensor[rows] for name, tensor in known.items() if name != SAMPLES}


def pooled_facts(
    frozen: FrozenEncoders[Any], shards: ShardSet, *, modality: Modality, num_windows: int
) -> Facts:
    """All that vectors of samples depend on."""
    view = frozen.view
    return {
        "weights": frozen.weights_hash,
        "shards": dataset_fingerprint(shards),
        "modality": modality,
        "windows": num_windows,
        "video": view.video.model_dump(mode="json"),
        "audio": view.audio.model_dump(mode="json"),
    }


def window_vectors(
    frozen: FrozenEncoders[Any],
    source: ClipSource,
    samples: tuple[int, ...],
    *,
    options: EmbedOptions,
    description: str,
) -> Iterator[WindowVectors]:
    """Vectors of the windows of samples, a batch of them at a time, in their order."""
    modality = source.form.modality
    network, head = frozen.network(modality), frozen.head(modality)
    view = source.even_view(options.num_windows, paired=True)
    items = list(sequential_batches(samples, options.batch_size))
    loaded_batches = source.load(view, items, num_threads=options.loader_threads)
    for loaded in options.progress(loaded_batches, total=len(items), description=description):
        with torch.no_grad():
            maps = layer_maps(network, frozen.inputs(loaded.batch))
            vectors = {
                name: (out if out.ndim == 2 else out.flatten(2).amax(dim=2)).float()
                for name, out in maps.items()
            }
            vectors["embedding"] = F.normalize(head(vectors["pool"]).float(), dim=1)
        yield WindowVectors(
            items=loaded.items,
            vectors={
                name: rows.reshape(len(loaded.items), options.num_windows, -1).cpu()
                for name, rows in vectors.items()
            },
        )


def _compute(
    parts: Iterator[WindowVectors],
    known: dict[str, Tensor] | None,
    facts: Facts,
    cache: FeatureCache | None,
) -> dict[str, Tensor]:
    """`known` with the rows of `parts`, kept now and then and at the end, whatever ends it."""
    rows: dict[str, list[Tensor]] = {}

    def keep() -> dict[str, Tensor]:
        new = {name: torch.cat(tensors) for name, tensors in rows.items()}
        merged = merge_rows(known, new) if known is not None else new
        if cache is not None:
            cache.save("pooled", facts, merged)
        return merged

    saved_s = time.monotonic()
    complete = False
    try:
        for part in parts:
            of = torch.tensor([item.sample for item in part.items])
            rows.setdefault(SAMPLES, []).append(of)
            for name, vectors in part.vectors.items():
                rows.setdefault(name, []).append(vectors.mean(dim=1))
            if time.monotonic() - saved_s > _SAVE_EVERY_S:
                keep()
                saved_s = time.monotonic()
        complete = True
    finally:
        if not complete and rows:
            keep()
    return keep()
