"""Facts of all samples of a shard set as arrays, and which of them a run uses."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from avdata import DatasetSpec, RowFilter
from avtrain.data.stream_plan import SampleGroups
from avtrain.errors import DataError

SHARD_SET_COLUMN = "shard_set"
"""Column that the manifest of a mix has beside those of a set: number of the sample's set."""


class ManifestTable(Protocol):
    """Rows of all samples, by column."""

    @property
    def num_rows(self) -> int: ...

    @property
    def column_names(self) -> list[str]: ...

    @property
    def schema(self) -> Any:
        """Arrow schema."""
        ...

    def __getitem__(self, column: str) -> Any:
        """One column, a `pyarrow.ChunkedArray`."""
        ...

    def select(self, columns: Sequence[str]) -> Any:
        """Arrow table of some columns."""
        ...


class StoreLocation(Protocol):
    """Where the shards are; the text of it is what the user named."""

    @property
    def url(self) -> str: ...

    def place(self, name: str) -> str:
        """The whole name of a file, for messages."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is no such file."""
        ...

    def sizes(self) -> dict[str, int]:
        """Bytes of all files, by name."""
        ...


class SampleStore(Protocol):
    """What training and evaluation use of a shard set; a mix of several has it too.

    Reads are positional: threads may share it.
    """

    @property
    def location(self) -> StoreLocation: ...

    @property
    def spec(self) -> DatasetSpec: ...

    @property
    def manifest(self) -> ManifestTable: ...

    @property
    def keys(self) -> list[str]: ...

    def read_frames(self, sample: int, indices: Sequence[int]) -> np.ndarray:
        """Frames of a sample at `indices`, uint8 RGB (t, h, w, 3)."""
        ...

    def read_frames_into(
        self, out: np.ndarray, sample: int, indices: Sequence[int]
    ) -> tuple[int, int]:
        """Write frames into the top left of `out`, zeros beside them; height and width."""
        ...

    def read_jpegs(self, sample: int, start: int = 0, stop: int | None = None) -> list[memoryview]:
        """JPEGs of frames [start, stop) of a sample, in one ranged read."""
        ...

    def read_audio(self, sample: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Audio samples [start, stop) as int16 (c, n), at the set's rate."""
        ...

    def read_logmel(self, sample: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Columns [start, stop) of the stored log-mel, as far as it goes: float16 (c, t, f)."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleTable:
    """Columns of the manifest that views need; position i is sample i."""

    keys: list[str]
    source_index: np.ndarray
    shard_index: np.ndarray
    """int64, number of the sample's shard."""
    shard_set_index: np.ndarray
    """int64, number of the sample's shard set in a mix; 0 in a set alone."""
    frame_fps: np.ndarray
    """float64, stored frames per second; NaN where there are none."""
    num_frames: np.ndarray
    num_audio_samples: np.ndarray
    num_logmel_columns: np.ndarray
    splits: list[str | None]
    labels: list[str | None]
    """First label of each sample."""

    def __repr__(self) -> str:
        return f"SampleTable({len(self.keys)} samples)"


def read_sample_table(shards: SampleStore) -> SampleTable:
    """Facts of all samples of `shards`."""
    table = shards.manifest
    names = table["shard"].to_numpy().astype(str)
    return SampleTable(
        keys=shards.keys,
        source_index=table["source_index"].to_numpy(),
        shard_index=np.unique(names, return_inverse=True)[1],
        shard_set_index=_shard_set_index(table),
        frame_fps=table["frame_fps"].to_numpy(),
        num_frames=table["num_frames"].to_numpy(),
        num_audio_samples=table["num_audio_samples"].to_numpy(),
        num_logmel_columns=table["num_logmel_columns"].to_numpy(),
        splits=table["split"].to_pylist(),
        labels=[labels[0] if labels else None for labels in table["labels"].to_pylist()],
    )


def _shard_set_index(table: ManifestTable) -> np.ndarray:
    if SHARD_SET_COLUMN in table.column_names:
        return np.asarray(table[SHARD_SET_COLUMN].to_numpy())
    return np.zeros(table.num_rows, np.int64)


def sample_groups(table: SampleTable, samples: tuple[int, ...]) -> SampleGroups:
    """Source, shard and shard set of each of `samples`, as a stream plan takes them."""
    rows = np.asarray(samples)
    return SampleGroups(
        source=table.source_index[rows],
        shard=table.shard_index[rows],
        shard_set=table.shard_set_index[rows],
    )


def select_samples(table: SampleTable, split: str | None, *, where: str) -> tuple[int, ...]:
    """Samples of `split`, ascending; None is all samples.

    Raises:
        DataError: There are none.
    """
    chosen = tuple(i for i, name in enumerate(table.splits) if split in (None, name))
    if not chosen:
        seen = sorted({name for name in table.splits if name is not None})
        has = f"its splits are {seen}" if seen else "it has no splits"
        raise DataError(
            f"{where} has no samples of split {split!r}: {has}"
            if split is not None
            else f"{where} has no samples; look at its rejects.parquet"
        )
    return chosen


def filter_samples(
    shards: SampleStore, samples: tuple[int, ...], condition: str | None
) -> tuple[int, ...]:
    """Those of `samples` whose rows of the manifest meet `condition`, as in `RowFilter`.

    Raises:
        ConfigError: It is no condition on the manifest's columns.
        DataError: None of the samples meets it.
    """
    if condition is None:
        return samples
    row_filter = RowFilter(condition, shards.manifest.schema)
    columns = row_filter.columns or ("key",)  # `True` needs none, and has as many rows
    table = shards.manifest.select(columns).take(list(samples))
    kept = np.flatnonzero(row_filter.mask(table))
    if not len(kept):
        counts = row_filter.counts(table)
        each = ", ".join(f"`{count.text}` keeps {count.num_kept}" for count in counts)
        raise DataError(
            f"--where {condition!r} keeps none of {len(samples)} samples of {shards.location}"
            + (f": {each}, and all of them together 0" if len(counts) > 1 else "")
            + "; see the columns' values with `avdata stats`"
        )
    return tuple(samples[i] for i in kept)


def check_shard_files(shards: SampleStore) -> None:
    """Refuse a set of which a shard is missing or too short, before any time is spent on it.

    Raises:
        DataError: The text names the first such shard.
    """
    fields = ("frames", "audio", "logmel", "meta")
    ranges = [f"{field}_{part}" for field in fields for part in ("offset_bytes", "bytes")]
    table = shards.manifest.select(["shard", *ranges])
    names = table["shard"].to_pylist()
    ends = np.zeros(len(names), np.int64)
    for field in fields:
        end = table[f"{field}_offset_bytes"].to_numpy() + table[f"{field}_bytes"].to_numpy()
        ends = np.maximum(ends, end)
    needed: dict[str, int] = {}
    for name, end in zip(names, ends.tolist(), strict=True):
        needed[name] = max(needed.get(name, 0), end)
    sizes = shards.location.sizes()  # one listing: far stores take long for one file at a time
    for name, size in needed.items():
        place = shards.location.place(name)
        hint = f"run `avdata verify {place.rpartition('/')[0]}`, and build the shard again"
        seen = sizes[name] if name in sizes else shards.location.size(name)
        if seen is None:
            raise DataError(f"shard {place} is missing; {hint}")
        if seen < size:
            raise DataError(f"shard {place} has {seen} bytes, its samples end at {size}; {hint}")


def dataset_fingerprint(shards: SampleStore, filtered: tuple[int, ...] | None = None) -> str:
    """Hash of the build and of the samples in their order: what a run may be resumed on.

    Args:
        shards: The set.
        filtered: The samples that a condition keeps, if there is one: tables may be made anew.
    """
    digest = hashlib.sha256(shards.spec.build_hash.encode())
    rows = zip(shards.keys, shards.manifest["source_index"].to_pylist(), strict=True)
    for key, source_index in rows:
        digest.update(f"\0{key}\0{source_index}".encode())
    if filtered is not None:
        digest.update(b"\0where\0" + np.asarray(filtered, "<i8").tobytes())
    return digest.hexdigest()
