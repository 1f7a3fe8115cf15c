"""Which samples of two shard sets hold other bytes, field by field."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from avdata.cores import available_cores
from avdata.errors import ShardSetError
from avdata.schema import sidecar_name
from avdata.shards.difference_rows import EXAMPLES, JoinedRows
from avdata.shards.sidecar import read_sidecar
from avdata.storage import Location

BYTE_FIELDS = ("frames", "audio", "logmel", "meta")
CLIPS_AT_A_TIME = 256
SIDECAR_HEAD_BYTES = 4096
"""The facts of a sidecar stand before its rows, which may be many megabytes."""

_SHA256 = re.compile(rb'"sha256":\s?"([0-9a-f]{64})"')


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteChanges:
    """Samples of both sets that hold other bytes."""

    num_shards_equal: int
    """Shards of one name whose sidecars state one sha256: their bytes were not read."""
    num_shards_other: int
    """Other shards that hold samples of both sets."""
    num_clips_read: int
    """Clips of which some field was read."""
    num_changed: dict[str, int]
    """Clips by field whose data (first member) differ."""
    examples: dict[str, tuple[str, ...]]
    """First keys by field."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Side:
    """Where the clips of both sets lie in one of them."""

    where: Location
    shard_names: list[str]
    shard: np.ndarray
    offsets: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]


def compare_bytes(
    rows: JoinedRows, on_clips: Callable[[int], object] = lambda count: None
) -> ByteChanges:
    """Compare the data of every clip that both sets have.

    Clips in shards of equal sha256, at the same place, are equal without a look; fields of other
    sizes differ without a look; all else is read.

    Raises:
        ShardSetError: A shard is missing.
        StorageError: A shard is shorter than the manifest says, or cannot be reached.
    """
    a, b = _side(rows, "a"), _side(rows, "b")
    equal_shards = _equal_shards(a, b)
    sure = equal_shards[a.shard] & (_names(a)[a.shard] == _names(b)[b.shard])
    changed: dict[str, np.ndarray] = {}
    to_read: dict[str, np.ndarray] = {}
    for name in BYTE_FIELDS:
        same_size = a.sizes[name] == b.sizes[name]
        same_place = sure & same_size & (a.offsets[name] == b.offsets[name])
        changed[name] = ~same_size
        to_read[name] = same_size & ~same_place & (a.sizes[name] > 0)
    any_read = np.flatnonzero(np.any(list(to_read.values()), axis=0))
    on_clips(len(a.shard) - len(any_read))
    blocks = [any_read[i : i + CLIPS_AT_A_TIME] for i in range(0, len(any_read), CLIPS_AT_A_TIME)]

    def compare(block: np.ndarray) -> int:
        for i in block.tolist():
            for name in BYTE_FIELDS:
                if to_read[name][i]:
                    changed[name][i] = _read(a, i, name) != _read(b, i, name)
        return len(block)

    with ThreadPoolExecutor(available_cores()) as pool:
        for count in pool.map(compare, blocks):
            on_clips(count)
    used = np.unique(a.shard)
    return ByteChanges(
        num_shards_equal=int(equal_shards[used].sum()),
        num_shards_other=int((~equal_shards[used]).sum()),
        num_clips_read=len(any_read),
        num_changed={name: int(where.sum()) for name, where in changed.items()},
        examples={
            name: tuple(rows.key(i) for i in np.flatnonzero(where)[:EXAMPLES].tolist())
            for name, where in changed.items()
        },
    )


def _side(rows: JoinedRows, which: str) -> _Side:
    at = rows.at_a if which == "a" else rows.at_b
    codes = rows.read(which, "shard").dictionary_encode()
    numbers: dict[str, Any] = {
        column: rows.read(which, column).to_numpy()[at]
        for name in BYTE_FIELDS
        for column in (f"{name}_offset_bytes", f"{name}_bytes")
    }
    return _Side(
        where=rows.where_a if which == "a" else rows.where_b,
        shard_names=codes.dictionary.to_pylist(),
        shard=codes.indices.to_numpy()[at],
        offsets={name: numbers[f"{name}_offset_bytes"] for name in BYTE_FIELDS},
        sizes={name: numbers[f"{name}_bytes"] for name in BYTE_FIELDS},
    )


def _names(side: _Side) -> np.ndarray:
    return np.array(side.shard_names, dtype=object)


def _equal_shards(a: _Side, b: _Side) -> np.ndarray:
    """For each shard of A whether B has one of the same name and sha256."""
    in_b = set(b.shard_names)

    def equal(name: str) -> bool:
        if name not in in_b:
            return False
        stated = _stated_sha256(a.where, name)
        return stated is not None and stated == _stated_sha256(b.where, name)

    return np.array([equal(name) for name in a.shard_names], bool)


def _stated_sha256(where: Location, shard: str) -> str | None:
    """The sha256 that a sidecar states, None without a sidecar."""
    name = sidecar_name(shard)
    size = where.size(name)
    if size is None:
        return None
    head = where.read_range(name, 0, min(size, SIDECAR_HEAD_BYTES))
    if found := _SHA256.search(head):
        return found.group(1).decode()
    report = read_sidecar(where, shard)
    return report.sha256 if report else None


def _read(side: _Side, i: int, field: str) -> bytes:
    """Data of a field of the i-th clip."""
    name = side.shard_names[side.shard[i]]
    try:
        return side.where.read_range(name, int(side.offsets[field][i]), int(side.sizes[field][i]))
    except OSError as error:
        raise ShardSetError(
            f"shard {side.where.place(name)}: {error.strerror or error}; run "
            f"`avdata verify {side.where}`"
        ) from None
