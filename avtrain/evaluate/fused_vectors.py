"""Frozen features of clips with their sound, by the network of a sync run: one row a sample."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from avdata import ShardSet
from avtrain.data.samples import dataset_fingerprint
from avtrain.data.stream import sequential_batches
from avtrain.evaluate.embed import EmbedOptions, WindowVectors, kept_vectors
from avtrain.evaluate.feature_cache import Facts
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.fused_network import copy_to_freeze, pooled_features
from avtrain.evaluate.fused_source import FusedSource


def fused_vectors(
    frozen: FrozenEncoders[Any],
    shards: ShardSet,
    samples: tuple[int, ...],
    *,
    sound: bool,
    options: EmbedOptions,
) -> dict[str, Tensor]:
    """Mean over evenly spaced clips of `scale0`, `scale1` and `pool`, float32 (n, d).

    Rows are in the order of `samples`; those that the cache has are not computed again.

    Args:
        frozen: Of a sync run.
        shards: The set.
        samples: Any of it.
        sound: False: zeros in place of the sound's features.
        options: How samples are read, and where rows are kept.

    Raises:
        DataError: The set does not have what the run needs.
    """
    method = frozen.fused
    assert method is not None
    source = FusedSource(frozen, method, shards)
    facts: Facts = {
        "weights": frozen.weights_hash,
        "shards": dataset_fingerprint(shards),
        "sound": sound,
        "windows": options.num_windows,
        "view": source.view.model_dump(mode="json"),
    }

    def compute(missing: tuple[int, ...]) -> Iterator[WindowVectors]:
        network = copy_to_freeze(method, sound=sound)
        view = source.even_view(options.num_windows)
        items = list(sequential_batches(missing, options.batch_size))
        loaded_batches = source.load(view, items, num_threads=options.loader_threads)
        for loaded in options.progress(
            loaded_batches, total=len(items), description="fused features"
        ):
            with torch.no_grad():
                vectors = pooled_features(network, source.inputs(loaded.batch))
            yield WindowVectors(
                items=loaded.items,
                vectors={
                    name: rows.reshape(len(loaded.items), options.num_windows, -1).cpu()
                    for name, rows in vectors.items()
                },
            )

    return kept_vectors(samples, facts, compute, cache=options.cache)
