"""Several shard sets as one, mixed by weight.

Samples of all sets stand one set after another; sources are counted on from set to set, so that
memory banks have a row for each; a key that several sets have gets the number of its set in front.
"""

import itertools
import math
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from avdata import ShardSet
from avtrain.data.mixed_spec import mixed_spec
from avtrain.data.samples import SHARD_SET_COLUMN, SampleStore
from avtrain.errors import DataError


def open_shard_mix(locations: Sequence[Path | str], weights: Sequence[float]) -> SampleStore:
    """The shard sets at folders or URLs as one, of which each has its share of every epoch.

    One location gives that set itself.

    Args:
        locations: Folders or URLs.
        weights: Share of each, not normalized; none at all is equal shares.

    Raises:
        ShardSetError: A set is missing or damaged.
        DataError: The sets cannot be mixed, or the weights do not fit.
    """
    weights = tuple(weights) or (1.0,) * len(locations)
    if len(weights) != len(locations):
        raise DataError(
            f"--mix has {len(weights)} weights for {len(locations)} shard sets; give one each"
        )
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        shown = ",".join(f"{weight:g}" for weight in weights)
        raise DataError(f"--mix {shown} must be positive numbers; leave out a set of weight 0")
    sets = [ShardSet(location) for location in locations]
    return ShardMix(sets, weights) if len(sets) > 1 else sets[0]


def parse_weights(text: str | None) -> tuple[float, ...]:
    """Weights of `--mix 2,1`; none at all without a text.

    Raises:
        DataError: It is no list of numbers.
    """
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise DataError(f"--mix {text!r} must be numbers with commas between, as in 2,1") from None


def mix_weights(shards: SampleStore) -> tuple[float, ...]:
    """Shares of the sets of a mix, as a stream plan takes them."""
    return shards.weights if isinstance(shards, ShardMix) else (1.0,)


class ShardMix:
    """Shard sets behind the interface of one. Threads may share it."""

    def __init__(self, sets: Sequence[ShardSet], weights: Sequence[float]) -> None:
        """Check that the sets go together.

        Raises:
            DataError: They do not; the text says in what they differ.
        """
        self.sets, self.weights = tuple(sets), tuple(float(weight) for weight in weights)
        self.location = _MixLocation(self.sets, self.weights)
        self.spec = mixed_spec(self.sets, self.weights)
        self.manifest = MixTable(self.sets)
        self._first = [0, *itertools.accumulate(len(shard_set) for shard_set in self.sets)]

    def __repr__(self) -> str:
        return f"ShardMix({str(self.location)!r}, {self.spec.num_clips} clips)"

    def __len__(self) -> int:
        return self.spec.num_clips

    @cached_property
    def keys(self) -> list[str]:
        """Key of every sample, unique in the mix."""
        keys: list[str] = self.manifest["key"].to_pylist()
        return keys

    def read_frames(self, sample: int, indices: Sequence[int]) -> np.ndarray:
        """Frames of a sample, as `ShardSet.read_frames`."""
        shard_set, row = self._row(sample)
        return shard_set.read_frames(row, indices)

    def read_frames_into(
        self, out: np.ndarray, sample: int, indices: Sequence[int]
    ) -> tuple[int, int]:
        """Frames of a sample, as `ShardSet.read_frames_into`."""
        shard_set, row = self._row(sample)
        return shard_set.read_frames_into(out, row, indices)

    def read_jpegs(self, sample: int, start: int = 0, stop: int | None = None) -> list[memoryview]:
        """JPEGs of a sample, as `ShardSet.read_jpegs`."""
        shard_set, row = self._row(sample)
        return shard_set.read_jpegs(row, start, stop)

    def read_audio(self, sample: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Sound of a sample, as `ShardSet.read_audio`."""
        shard_set, row = self._row(sample)
        return shard_set.read_audio(row, start, stop)

    def read_logmel(self, sample: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Log-mel of a sample, as `ShardSet.read_logmel`."""
        shard_set, row = self._row(sample)
        return shard_set.read_logmel(row, start, stop)

    def _row(self, sample: int) -> tuple[ShardSet, int]:
        number = bisect_right(self._first, sample) - 1
        return self.sets[number], sample - self._first[number]


class _MixLocation:
    """Where the sets are. A shard is named `NUMBER/NAME`, by the number of its set."""

    def __init__(self, sets: tuple[ShardSet, ...], weights: tuple[float, ...]) -> None:
        self._places = [shard_set.location for shard_set in sets]
        self._weights = weights
        urls = [place.url for place in self._places]
        if twice := [url for url, count in Counter(urls).items() if count > 1]:
            raise DataError(f"{twice[0]} is given twice; give it once, with more weight")

    def __str__(self) -> str:
        return " + ".join(map(str, self._places))

    @property
    def url(self) -> str:
        """All of them, for the record of a run."""
        return " + ".join(place.url for place in self._places)

    def place(self, name: str) -> str:
        """The whole name of a file, for messages."""
        number, own = name.split("/", 1)
        return self._places[int(number)].place(own)

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is no such file."""
        number, own = name.split("/", 1)
        return self._places[int(number)].size(own)

    def sizes(self) -> dict[str, int]:
        """Bytes of all files, by name."""
        return {
            f"{number}/{name}": size
            for number, place in enumerate(self._places)
            for name, size in place.sizes().items()
        }


class MixTable:
    """The manifests of the sets one after another, read column by column. Threads may share it."""

    def __init__(self, sets: tuple[ShardSet, ...]) -> None:
        self._sets = sets
        self._columns: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MixTable({len(self._sets)} sets, {self.num_rows} rows)"

    @property
    def num_rows(self) -> int:
        return sum(len(shard_set) for shard_set in self._sets)

    @property
    def schema(self) -> Any:
        """Arrow schema of all columns."""
        first = self._sets[0].manifest.schema
        return first.append(pa.field(SHARD_SET_COLUMN, pa.int64(), nullable=False))

    @property
    def column_names(self) -> list[str]:
        return list(self.schema.names)

    def __getitem__(self, column: str) -> Any:
        """One column, a `pyarrow.ChunkedArray`; it is kept."""
        with self._lock:
            if column not in self._columns:
                self._columns[column] = self._read(column)
            return self._columns[column]

    def select(self, columns: Sequence[str]) -> Any:
        """Arrow table of some columns; they are kept."""
        return pa.table({name: self[name] for name in columns})

    def _read(self, column: str) -> Any:
        if column == SHARD_SET_COLUMN:
            lengths = [len(shard_set) for shard_set in self._sets]
            return pa.chunked_array([pa.array(np.repeat(np.arange(len(lengths)), lengths))])
        columns = [shard_set.manifest[column] for shard_set in self._sets]
        if column == "key":
            return pa.chunked_array([pa.array(_unique_keys(columns))])
        if column == "shard":
            names = [
                f"{number}/{name}"
                for number, column in enumerate(columns)
                for name in column.to_pylist()
            ]
            return pa.chunked_array([pa.array(names)])
        if column == "source_index":
            first = itertools.accumulate((s.spec.num_sources for s in self._sets), initial=0)
            return pa.chunked_array(
                [pa.array(own.to_numpy() + at) for own, at in zip(columns, first, strict=False)]
            )
        return pa.chunked_array([chunk for column in columns for chunk in column.chunks])


def _unique_keys(columns: Sequence[Any]) -> list[str]:
    """Keys of all sets; those that several sets have are led by the number of their set."""
    keys = [column.to_pylist() for column in columns]
    counts = Counter(itertools.chain.from_iterable(keys))
    mark = "-"
    while any(f"{i + 1}{mark}{key}" in counts for i, own in enumerate(keys) for key in own):
        mark += "-"
    return [
        key if counts[key] == 1 else f"{i + 1}{mark}{key}"
        for i, own in enumerate(keys)
        for key in own
    ]
