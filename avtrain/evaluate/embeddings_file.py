"""Vectors of a shard set's samples as a parquet file: for search, clustering, and all else.

One row a sample, or one a window. Vectors are fixed-size lists, so that
`numpy.stack(table["video"].to_numpy())` and vector stores read them as they are. The file's own
metadata (key `avtoolkit`, JSON) says what made it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from avdata import ShardSet, atomic_file
from avtrain.data.samples import dataset_fingerprint
from avtrain.engine.run_folder import software_versions
from avtrain.evaluate.clip_batches import ClipForm, ClipSource
from avtrain.evaluate.embed import EmbedOptions, VectorName, WindowVectors, window_vectors
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.methods import Modality

METADATA_KEY = b"avtoolkit"

VectorType = Literal["float32", "float16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingsPlan:
    """What is written."""

    layer: VectorName = "pool"
    modalities: tuple[Modality, ...] = ("video", "audio")
    per_window: bool = False
    """One row a window in place of the mean over a sample's windows."""
    dtype: VectorType = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenEmbeddings:
    """What a file holds."""

    num_rows: int
    dims: dict[Modality, int]


def write_embeddings(
    frozen: FrozenEncoders,
    shards: ShardSet,
    samples: tuple[int, ...],
    path: Path,
    plan: EmbeddingsPlan,
    options: EmbedOptions,
    *,
    facts: dict[str, object],
) -> WrittenEmbeddings:
    """Write the vectors of samples, a batch at a time; the file appears whole or not at all.

    Args:
        facts: What the metadata says of the networks.

    Raises:
        DataError: The set does not have the fields that a network needs.
    """
    sources = {
        modality: ClipSource(frozen, shards, ClipForm(modality=modality))
        for modality in plan.modalities
    }
    metadata = {
        **facts,
        "shards": str(shards.location),
        "shards_fingerprint": dataset_fingerprint(shards),
        "layer": plan.layer,
        "modalities": list(plan.modalities),
        "windows": options.num_windows,
        "per_window": plan.per_window,
        "weights": frozen.weights_hash,
        "software": software_versions(),
    }
    dims: dict[Modality, int] = {}
    num_rows = 0
    with atomic_file(path) as file:
        writer: pq.ParquetWriter | None = None
        try:
            for parts in _side_by_side(frozen, sources, samples, options):
                table = _table(shards, sources, parts, plan, options)
                dims = {m: part.vectors[plan.layer].shape[2] for m, part in parts.items()}
                if writer is None:
                    text = json.dumps(metadata).encode()
                    schema = table.schema.with_metadata({METADATA_KEY: text})
                    writer = pq.ParquetWriter(file, schema, compression="zstd")
                writer.write_table(table)
                num_rows += table.num_rows
        finally:
            if writer is not None:
                writer.close()
    return WrittenEmbeddings(num_rows=num_rows, dims=dims)


def _side_by_side(
    frozen: FrozenEncoders,
    sources: dict[Modality, ClipSource],
    samples: tuple[int, ...],
    options: EmbedOptions,
) -> Iterator[dict[Modality, WindowVectors]]:
    """Vectors of the same samples in all modalities, a batch at a time."""
    passes = [
        window_vectors(frozen, source, samples, options=options, description=f"{modality} vectors")
        for modality, source in sources.items()
    ]
    for parts in zip(*passes, strict=True):
        yield dict(zip(sources, parts, strict=True))


def _table(
    shards: ShardSet,
    sources: dict[Modality, ClipSource],
    parts: dict[Modality, WindowVectors],
    plan: EmbeddingsPlan,
    options: EmbedOptions,
) -> pa.Table:
    """Rows of a few samples."""
    samples = [item.sample for item in next(iter(parts.values())).items]
    rows = np.repeat(samples, options.num_windows if plan.per_window else 1)
    names = ["key", "source_id", "labels", "split", "decoded_start_s", "duration_s"]
    known = shards.manifest.select(names).take(rows.tolist())
    columns: dict[str, Any] = {
        "key": known["key"],
        "source_id": known["source_id"],
        "label": pa.array(
            [labels[0] if labels else None for labels in known["labels"].to_pylist()], pa.string()
        ),
        "labels": known["labels"],
        "split": known["split"],
        "media_start_s": known["decoded_start_s"],
        "duration_s": known["duration_s"],
    }
    if plan.per_window:
        indices = np.tile(np.arange(options.num_windows, dtype=np.int32), len(samples))
        columns["window"] = pa.array(indices)
        for modality, source in sources.items():
            starts_s, length_s = _window_times(source, samples, options.num_windows)
            columns[f"{modality}_start_s"] = pa.array(starts_s)
            columns[f"{modality}_end_s"] = pa.array(starts_s + length_s)
    for modality, part in parts.items():
        vectors = part.vectors[plan.layer]
        flat = vectors.flatten(0, 1) if plan.per_window else vectors.mean(dim=1)
        values = flat.numpy().astype(plan.dtype).reshape(-1)
        columns[modality] = pa.FixedSizeListArray.from_arrays(pa.array(values), flat.shape[1])
    return pa.table(columns)


def _window_times(
    source: ClipSource, samples: list[int], num_windows: int
) -> tuple[np.ndarray, float]:
    """Starts of the windows on the clip clock, and their length."""
    if source.video is not None:
        clips = source.video
        starts = [clips.even_starts_s(s, num_windows, with_sound=True) for s in samples]
        return np.array(starts).reshape(-1), clips.reader.video.clip_s
    assert source.audio is not None
    sounds = source.audio
    starts = [sounds.even_starts_s(s, num_windows, with_video=True) for s in samples]
    return np.array(starts).reshape(-1), sounds.reader.audio.window_s
