"""A shard set opened for reading: spec, manifest, and ranged reads of single fields."""

import itertools
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME, read_table
from avdata.schema import DatasetSpec, check_schema_version
from avdata.shards.codec import decode_array, decode_audio, decode_meta

DATASET_NAME = "dataset.json"


def read_dataset_spec(directory: Path) -> DatasetSpec:
    """Spec of the shard set in `directory`.

    Raises:
        ShardSetError: There is no shard set, it is unfinished, damaged or of another version.
    """
    path = directory / DATASET_NAME
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise ValueError("expected an object")
        check_schema_version(data.get("schema_version"), where=str(path))
        return DatasetSpec.model_validate(data)
    except (FileNotFoundError, NotADirectoryError):
        if (directory / "build.json").exists():
            hint = "its build is not finished; run the same `avdata build` again"
        else:
            hint = "give the folder that `avdata build --out` wrote"
        raise ShardSetError(f"{directory} has no {DATASET_NAME}: {hint}") from None
    except (ValueError, ValidationError) as error:
        raise ShardSetError(f"{path} is damaged: {error}") from None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Columns:
    """The manifest's columns that reading needs, as arrays."""

    shard: np.ndarray
    frame_offsets: np.ndarray
    """All samples' frame offsets in a row (uint32); sample i has [first_frame[i], ...)."""
    first_frame: np.ndarray
    ranges: dict[str, tuple[np.ndarray, np.ndarray]]


class ShardSet:
    """A finished shard set on local disk. Reads are positional, so threads may share it."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.spec = read_dataset_spec(self.directory)

    def __repr__(self) -> str:
        return f"ShardSet({str(self.directory)!r}, {self.spec.num_clips} clips)"

    @cached_property
    def manifest(self) -> Any:
        """All columns of `manifest.parquet`; row i is sample i of the set."""
        table = read_table(self.directory, MANIFEST_NAME)
        if table.num_rows != self.spec.num_clips:
            raise ShardSetError(
                f"{self.directory}: manifest has {table.num_rows} rows, {DATASET_NAME} promises "
                f"{self.spec.num_clips}; run `avdata verify {self.directory}`"
            )
        return table

    @cached_property
    def rejects(self) -> Any:
        """All columns of `rejects.parquet`."""
        return read_table(self.directory, REJECTS_NAME)

    @cached_property
    def keys(self) -> list[str]:
        """Key of every sample, in manifest order."""
        keys: list[str] = self.manifest["key"].to_pylist()
        return keys

    @cached_property
    def shards(self) -> list[str]:
        """Names of the shards that hold samples."""
        names: list[str] = self.manifest["shard"].unique().to_pylist()
        return names

    @cached_property
    def _columns(self) -> _Columns:
        table = self.manifest
        position = {name: i for i, name in enumerate(self.shards)}
        lists = table["frame_offsets"].combine_chunks()
        if hasattr(lists, "chunks"):  # an empty table stays chunked
            lists = lists.chunk(0) if lists.num_chunks else None
        return _Columns(
            shard=np.array([position[name] for name in table["shard"].to_pylist()], np.int64),
            frame_offsets=np.zeros(0, np.uint32) if lists is None else lists.values.to_numpy(),
            first_frame=np.zeros(1, int) if lists is None else lists.offsets.to_numpy(),
            ranges={
                name: (
                    table[f"{name}_offset_bytes"].to_numpy(),
                    table[f"{name}_bytes"].to_numpy(),
                )
                for name in ("frames", "audio", "logmel", "meta")
            },
        )

    def __len__(self) -> int:
        return self.spec.num_clips

    def read_jpegs(self, sample: int, start: int = 0, stop: int | None = None) -> list[memoryview]:
        """JPEGs of frames [start, stop) of a sample, in one ranged read.

        Raises:
            ShardSetError: The shard is missing or shorter than the manifest says.
            IndexError: The sample has no such frames.
        """
        columns = self._columns
        offsets = columns.frame_offsets[
            columns.first_frame[sample] : columns.first_frame[sample + 1]
        ].astype(np.int64)
        stop = len(offsets) - 1 if stop is None else stop
        if not 0 <= start <= stop < max(len(offsets), 1):
            raise IndexError(
                f"frames [{start}, {stop}) of sample {self.keys[sample]}, which has "
                f"{max(len(offsets) - 1, 0)}"
            )
        cut = offsets[start : stop + 1]
        first = int(columns.ranges["frames"][0][sample] + cut[0])
        data = memoryview(self._pread(sample, first, int(cut[-1] - cut[0])))
        ends = cut - cut[0]
        return [data[a:b] for a, b in itertools.pairwise(ends)]

    def read_audio(self, sample: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Audio samples [start, stop) as int16 (c, n)."""
        return decode_audio(self.read_bytes(sample, "audio"), start, stop)[0]

    def read_logmel(self, sample: int) -> np.ndarray:
        """Stored log-mel, float16 (c, t, f)."""
        return decode_array(self.read_bytes(sample, "logmel"))

    def read_meta(self, sample: int) -> dict[str, object]:
        """Facts of a sample, as in its `meta.json`."""
        return decode_meta(self.read_bytes(sample, "meta"))

    def read_bytes(self, sample: int, field: str) -> bytes:
        """First member of a field, undecoded.

        Raises:
            ShardSetError: The set lacks the field, or the shard is damaged.
        """
        offsets, sizes = self._columns.ranges[field]
        if not sizes[sample]:
            raise ShardSetError(
                f"{self.directory} has no field {field!r}; it has {list(self.spec.fields)}. "
                f"Build it again with --set 'fields=[..., \"{field}\"]'"
            )
        return self._pread(sample, int(offsets[sample]), int(sizes[sample]))

    def _pread(self, sample: int, offset: int, size: int) -> bytes:
        # opening costs microseconds beside decoding, and leaves nothing to share between threads
        shard = self.shards[self._columns.shard[sample]]
        try:
            handle = os.open(self.directory / shard, os.O_RDONLY)
        except OSError as error:
            raise ShardSetError(
                f"shard {self.directory / shard}: {error.strerror}; "
                f"run `avdata verify {self.directory}`"
            ) from None
        try:
            data = os.pread(handle, size, offset)
        finally:
            os.close(handle)
        if len(data) != size:
            raise ShardSetError(
                f"{shard} ends before sample {self.keys[sample]}; "
                f"run `avdata verify {self.directory}`"
            )
        return data
