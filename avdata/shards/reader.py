"""A shard set opened for reading: spec, manifest, and ranged reads of single fields."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME, LazyTable, NumberLists, read_table
from avdata.schema import DatasetSpec, check_schema_version
from avdata.shards.codec import (
    ArrayHead,
    decode_array,
    decode_array_head,
    decode_meta,
)
from avdata.shards.sample_frames import read_sample_frames, read_sample_frames_into
from avdata.shards.sample_sound import read_sample_sound
from avdata.storage import EndOfFileError, LocalFolder, Location, open_location

DATASET_NAME = "dataset.json"
_RANGE_COLUMNS = ("_offset_bytes", "_bytes")
_HEAD_BYTES = 256
"""More than the head of any stored `.npy`."""


def read_dataset_spec(where: Path | str | Location) -> DatasetSpec:
    """Spec of the shard set in a folder or at a URL.

    Raises:
        ShardSetError: There is no shard set, it is unfinished, damaged or of another version.
        StorageError: The URL cannot be reached.
    """
    location = open_location(where)
    place = location.place(DATASET_NAME)
    try:
        data = json.loads(location.read(DATASET_NAME))
        if not isinstance(data, dict):
            raise ValueError("expected an object")
        check_schema_version(data.get("schema_version"), where=place)
        return DatasetSpec.model_validate(data)
    except (FileNotFoundError, NotADirectoryError):
        if location.size("build.json") is not None:
            hint = "its build is not finished; run the same `avdata build` again"
        else:
            kind = "URL" if location.is_remote else "folder"
            hint = f"give the {kind} that `avdata build --out` wrote"
        raise ShardSetError(f"{location} has no {DATASET_NAME}: {hint}") from None
    except (ValueError, ValidationError) as error:
        raise ShardSetError(f"{place} is damaged: {error}") from None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Member:
    """Where the data of one field lies in the shards, by sample."""

    offset: np.ndarray
    size: np.ndarray


class ShardSet:
    """A finished shard set in a folder or at a URL. Reads are positional: threads may share it."""

    def __init__(self, where: Path | str | Location) -> None:
        self.location = open_location(where)
        self.spec = read_dataset_spec(self.location)
        self._logmel_heads: dict[tuple[int, int], ArrayHead] = {}

    def __repr__(self) -> str:
        return f"ShardSet({str(self.location)!r}, {self.spec.num_clips} clips)"

    @property
    def directory(self) -> Path:
        """The local folder of the set.

        Raises:
            ShardSetError: The set is at a URL.
        """
        if isinstance(self.location, LocalFolder):
            return self.location.path
        raise ShardSetError(
            f"this needs a shard set in a local folder, {self.location} is a URL; copy the set to "
            "a folder and give that"
        )

    @cached_property
    def manifest(self) -> LazyTable:
        """`manifest.parquet`, its columns read when asked for; row i is sample i of the set."""
        table = LazyTable(self.location, MANIFEST_NAME)
        if table.num_rows != self.spec.num_clips:
            raise ShardSetError(
                f"{self.location}: manifest has {table.num_rows} rows, {DATASET_NAME} promises "
                f"{self.spec.num_clips}; run `avdata verify {self.location}`"
            )
        return table

    @cached_property
    def rejects(self) -> Any:
        """All columns of `rejects.parquet`."""
        return read_table(self.location, REJECTS_NAME)

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
    def _shard_index(self) -> np.ndarray:
        """Shard of every sample, as a position in `shards`."""
        found = pc.index_in(self.manifest["shard"], value_set=pa.array(self.shards, pa.string()))
        return np.asarray(found.to_numpy())

    @cached_property
    def _members(self) -> dict[str, _Member]:
        fields = ("frames", "audio", "logmel", "meta")
        table = self.manifest.select([f"{f}{end}" for f in fields for end in _RANGE_COLUMNS])
        return {
            field: _Member(
                offset=table[f"{field}_offset_bytes"].to_numpy(),
                size=table[f"{field}_bytes"].to_numpy(),
            )
            for field in fields
        }

    @cached_property
    def _frame_offsets(self) -> NumberLists:
        return self.manifest.lists("frame_offsets")

    @cached_property
    def _frame_times_s(self) -> NumberLists:
        return self.manifest.lists("frame_times_s")

    def __len__(self) -> int:
        return self.spec.num_clips

    def frame_offsets(self, sample: int) -> np.ndarray:
        """Byte offsets of a sample's frames in their member, one more than frames."""
        return self._frame_offsets[sample].astype(np.int64)

    def frame_times_s(self, sample: int) -> np.ndarray:
        """Clip-clock time of the picture behind each frame of a sample."""
        return self._frame_times_s[sample].astype(np.float64)

    def read_jpegs(self, sample: int, start: int = 0, stop: int | None = None) -> list[memoryview]:
        """JPEGs of frames [start, stop) of a sample, in one ranged read.

        Raises:
            ShardSetError: The shard is missing or shorter than the manifest says.
            IndexError: The sample has no such frames.
        """
        offsets = self._frame_offsets[sample].astype(np.int64)
        stop = len(offsets) - 1 if stop is None else stop
        if not 0 <= start <= stop < max(len(offsets), 1):
            raise IndexError(
                f"frames [{start}, {stop}) of sample {self.keys[sample]}, which has "
                f"{max(len(offsets) - 1, 0)}"
            )
        cut = offsets[start : stop + 1]
        first = int(self._members["frames"].offset[sample] + cut[0])
        data = memoryview(self._pread(sample, first, int(cut[-1] - cut[0])))
        ends = cut - cut[0]
        return [data[a:b] for a, b in itertools.pairwise(ends)]

    def read_frames(self, sample: int, indices: Sequence[int]) -> np.ndarray:
        """Frames of a sample at `indices`, uint8 RGB (t, h, w, 3), for every `video.codec`.

        Raises:
            ShardSetError: A frame does not decode, or the shard is damaged.
            IndexError: The sample has no such frames.
        """
        return read_sample_frames(self, self._pread, sample, indices)

    def read_frames_into(
        self, out: np.ndarray, sample: int, indices: Sequence[int]
    ) -> tuple[int, int]:
        """Write frames of a sample into the top left of `out`, zeros beside them; height and width.

        Args:
            out: uint8 (t, h, w, 3), C order, as large as the frames or larger.
            sample: Row of the manifest.
            indices: One a picture of `out`, in any order, repeated or not.

        Raises:
            ShardSetError: A frame does not decode or does not fit, or the shard is damaged.
            IndexError: The sample has no such frames.
        """
        return read_sample_frames_into(out, self, self._pread, sample, indices)

    def read_audio(self, sample: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Audio samples [start, stop) as int16 (c, n), at the set's rate.

        Raises:
            ShardSetError: The set lacks the field, or the shard is damaged.
            ValueError: The sound cannot be decoded.
        """
        return read_sample_sound(self, sample, start, stop)

    def read_logmel(self, sample: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Columns [start, stop) of the stored log-mel, as far as it goes: float16 (c, t, f).

        One channel is one ranged read of just these columns; the head of the member is read once
        for all log-mels of a shape.

        Raises:
            ShardSetError: The set lacks the field, or the shard is damaged.
            ValueError: The member is damaged.
        """
        where = self._member(sample, "logmel")
        head = self._logmel_head(sample)
        if len(head.shape) != 3 or head.shape[0] != 1:
            return decode_array(self.read_bytes(sample, "logmel"))[:, start:stop]
        _, length, num_bins = head.shape
        start, stop, _ = slice(start, stop).indices(length)
        column_bytes = num_bins * head.dtype.itemsize
        num_columns = max(stop - start, 0)
        first = int(where.offset[sample]) + head.num_bytes + start * column_bytes
        data = self._pread(sample, first, num_columns * column_bytes)
        return np.frombuffer(data, head.dtype).reshape(1, num_columns, num_bins)

    def _logmel_head(self, sample: int) -> ArrayHead:
        size = int(self._members["logmel"].size[sample])
        shape = (size, int(self._logmel_lengths[sample]))  # equal for equal shapes
        if shape not in self._logmel_heads:
            self._logmel_heads[shape] = self._read_array_head(sample, "logmel")
        return self._logmel_heads[shape]

    def _read_array_head(self, sample: int, field: str) -> ArrayHead:
        where = self._members[field]
        size = int(where.size[sample])
        data = self._pread(sample, int(where.offset[sample]), min(size, _HEAD_BYTES))
        head = decode_array_head(data)
        if head.num_bytes + math.prod(head.shape) * head.dtype.itemsize != size:
            raise ValueError(f"npy of shape {head.shape}, {head.dtype}, in {size} bytes")
        return head

    @cached_property
    def _logmel_lengths(self) -> np.ndarray:
        return np.asarray(self.manifest["num_logmel_columns"].to_numpy())

    def read_meta(self, sample: int) -> dict[str, object]:
        """Facts of a sample, as in its `meta.json`."""
        return decode_meta(self.read_bytes(sample, "meta"))

    def read_bytes(self, sample: int, field: str) -> bytes:
        """First member of a field, undecoded.

        Raises:
            ShardSetError: The set lacks the field, or the shard is damaged.
        """
        where = self._member(sample, field)
        return self._pread(sample, int(where.offset[sample]), int(where.size[sample]))

    def _member(self, sample: int, field: str) -> _Member:
        where = self._members[field]
        if not where.size[sample]:
            raise ShardSetError(
                f"{self.location} has no field {field!r}; it has {list(self.spec.fields)}. "
                f"Build it again with --set 'fields=[..., \"{field}\"]'"
            )
        return where

    def _pread(self, sample: int, offset: int, size: int) -> bytes:
        shard = self.shards[self._shard_index[sample]]
        try:
            return self.location.read_range(shard, offset, size)
        except OSError as error:
            raise ShardSetError(
                f"shard {self.location.place(shard)}: {error.strerror}; "
                f"run `avdata verify {self.location}`"
            ) from None
        except EndOfFileError:
            raise ShardSetError(
                f"{shard} ends before sample {self.keys[sample]}; "
                f"run `avdata verify {self.location}`"
            ) from None
