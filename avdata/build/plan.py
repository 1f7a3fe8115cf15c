"""Listing -> shard plans. Order, keys and sizes depend on listing and settings alone."""

import hashlib
import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, overload

from avdata.build.packed_rows import PackedRows, RowPacker
from avdata.config import LIMITS_OF_THE_MACHINE, BuildConfig
from avdata.errors import FailureReason
from avdata.features.logmel import check_mel_bands
from avdata.schema import (
    MAX_KEY_CHARS,
    SCHEMA_VERSION,
    ClipRef,
    ListedClip,
    MalformedLine,
    RejectRow,
    shard_name,
)

BYTE_SHAPING_PACKAGES = ("av", "numpy", "scipy", "simplejpeg", "soundfile")
"""Another version of these may give other bytes: the packages that a worker computes and encodes
samples with. A test holds them against what a worker imports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlan:
    """Everything that one shard is made of; small, picklable."""

    shard_index: int
    clips: tuple[ClipRef, ...]
    rejects: tuple[RejectRow, ...]
    """Rows of this stretch of the listing that cannot be built."""

    @property
    def shard(self) -> str:
        return shard_name(self.shard_index)

    @property
    def num_rows(self) -> int:
        return len(self.clips) + len(self.rejects)


class ShardPlans(Sequence[ShardPlan]):
    """The plans of all shards, unpacked one at a time: millions of rows fit in memory."""

    def __init__(self, rows: PackedRows, clips_per_shard: int) -> None:
        self._rows, self._size = rows, clips_per_shard

    def __repr__(self) -> str:
        return f"ShardPlans({len(self)} shards of {self._size} of {self._rows.num_rows} rows)"

    def __len__(self) -> int:
        return math.ceil(self._rows.num_rows / self._size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardPlans):
            return NotImplemented
        return (self._rows, self._size) == (other._rows, other._size)

    def __hash__(self) -> int:
        return hash((self._rows, self._size))

    @overload
    def __getitem__(self, index: int) -> ShardPlan: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ShardPlan]: ...
    def __getitem__(self, index: int | slice) -> ShardPlan | Sequence[ShardPlan]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"shard {index} of {len(self)}")
        start = at * self._size
        stop = min(start + self._size, self._rows.num_rows)
        clips: list[ClipRef] = []
        rejects: list[RejectRow] = []
        for row_index, row in enumerate(self._rows.read(start, stop), start):
            planned = _unpack(row_index, row)
            if isinstance(planned, ClipRef):
                clips.append(planned)
            else:
                rejects.append(planned)
        return ShardPlan(shard_index=at, clips=tuple(clips), rejects=tuple(rejects))


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """All shards of a build, and the facts of the listing that the set's spec states."""

    shards: ShardPlans
    num_listed: int
    num_sources: int
    labels: tuple[str, ...]
    """Sorted."""
    listing_sha256: str
    """Hash of the rows as they were understood, not of the file's bytes."""
    build_hash: str
    kept_columns: tuple[str, ...] = ()
    """Columns of the listing that the manifest carries."""
    repairs: dict[str, int] = field(default_factory=dict)
    """Damaged rows that were read all the same, by what was done, most frequent first."""


def make_plan(
    rows: Iterable[ListedClip | MalformedLine],
    config: BuildConfig,
    kept_columns: Sequence[str] = (),
) -> BuildPlan:
    """The plan of a build: every row of the listing is in exactly one shard plan.

    Rows are taken one at a time and packed, so that millions of them fit in memory.

    Args:
        kept_columns: Names of the cells that `ListedClip.kept` has.

    Raises:
        ConfigError: The settings leave too many mel bands without an FFT bin.
    """
    if "logmel" in config.fields:
        check_mel_bands(config.logmel)
    keeper, packer = _Keeper(), RowPacker()
    for row in rows:
        packer.append(keeper.place(row))
    packed = packer.finish()
    return BuildPlan(
        shards=ShardPlans(packed, config.shards.size(packed.num_rows)),
        num_listed=packed.num_rows,
        num_sources=len(keeper.num_clips),
        labels=tuple(sorted(keeper.labels)),
        listing_sha256=packed.sha256,
        build_hash=make_build_hash(packed.sha256, config, kept_columns),
        kept_columns=tuple(kept_columns),
        repairs=dict(keeper.repairs.most_common()),
    )


def software_versions() -> dict[str, str]:
    """Versions of the packages that shape a shard's bytes."""
    return {name: version(name) for name in BYTE_SHAPING_PACKAGES}


def make_build_hash(
    listing_sha256: str, config: BuildConfig, kept_columns: Sequence[str] = ()
) -> str:
    """Hash of listing, settings, schema and software: equal hashes promise equal shards."""
    settings = config.model_dump(mode="json")
    for name in LIMITS_OF_THE_MACHINE:
        del settings["limits"][name]
    facts = {
        "schema_version": SCHEMA_VERSION,
        "listing": listing_sha256,
        "config": settings,
        "software": software_versions(),
        "kept_columns": list(kept_columns),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class _Keeper:
    """Numbers sources, counts their clips and makes keys unique, in listing order.

    What was seen is remembered by 128-bit hashes: one of n rows is taken for another one with a
    probability of n^2 / 2^129, which is 10^-26 for two million.
    """

    def __init__(self) -> None:
        self.labels: set[str] = set()
        self.repairs = Counter[str]()
        self.num_clips = array("I")
        """Of each source."""
        self._sources: dict[bytes, int] = {}
        self._first_line: dict[bytes, int] = {}
        self._keys: set[bytes] = set()

    def place(self, row: ListedClip | MalformedLine) -> list[object]:
        """The planned row, packed: what `_unpack` takes."""
        if isinstance(row, MalformedLine):
            return [row.line_number, f"{row.message}; line: {row.text!r}"]
        self.labels.update(row.labels)
        if row.repair:
            self.repairs[row.repair] += 1
        name = row.source_id
        source_index = self._sources.setdefault(_hash128(name), len(self.num_clips))
        if source_index == len(self.num_clips):
            self.num_clips.append(0)
        clip_index = self.num_clips[source_index]
        self.num_clips[source_index] += 1
        start, end = row.listed_start_s, row.listed_end_s
        packed = [
            row.line_number,
            self._unique_key(row),
            name,
            source_index,
            clip_index,
            row.path,
            start,
            end,
            row.labels,
            row.split,
        ]
        clip = _hash128(f"{_same(start)}|{_same(end)}|{name!r}|{row.path!r}")
        first = self._first_line.setdefault(clip, row.line_number)
        if first != row.line_number or row.kept:
            packed.append(None if first == row.line_number else first)
        if row.kept:
            packed.append(row.kept)
        return packed

    def _unique_key(self, row: ListedClip) -> str:
        key = clip_key(row)
        hashed, num_keys = _hash128(key), len(self._keys)
        self._keys.add(hashed)
        if len(self._keys) == num_keys:
            # other media of the same name: the path tells them apart, else the line does
            salt = f"{row.path}|{row.source_id}|{row.line_number}"
            key = f"{key[: MAX_KEY_CHARS - 11]}-{_short_hash(salt)}"
            self._keys.add(_hash128(key))
        return key


def _same(time_s: float | None) -> float | None:
    return None if time_s is None else time_s + 0.0  # 0, 0.0 and -0.0 are one time


def _unpack(row_index: int, row: list[Any]) -> ClipRef | RejectRow:
    if len(row) == 2:
        line_number, message = row
        return RejectRow(
            row_index=row_index,
            line_number=line_number,
            source_id=None,
            key=None,
            path=None,
            listed_start_s=None,
            listed_end_s=None,
            labels=[],
            split=None,
            reason=FailureReason.MALFORMED_LINE,
            message=message,
            traceback=None,
        )
    line_number, key, source_id, source_index, clip_index, path, start, end, labels, split = row[
        :10
    ]
    first_line = row[10] if len(row) > 10 else None
    ref = ClipRef(
        row_index=row_index,
        line_number=line_number,
        key=key,
        source_id=source_id,
        source_index=source_index,
        clip_index=clip_index,
        path=path,
        listed_start_s=start,
        listed_end_s=end,
        labels=tuple(labels),
        split=split,
        kept=row[11] if len(row) > 11 else {},
    )
    if first_line is None:
        return ref
    return reject(ref, FailureReason.DUPLICATE, f"the same clip is listed on line {first_line}")


def clip_key(row: ListedClip) -> str:
    """Readable key of a clip: its source's name, and its span in milliseconds where one is listed.

    A source named by a path gives the file's name without folder and extension.
    """
    name = row.source_id
    if row.path == row.source_id:
        name = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name.rsplit("/", 1)[-1]) or name
    if row.listed_start_s is not None or row.listed_end_s is not None:
        end = "end" if row.listed_end_s is None else str(round(1000 * row.listed_end_s))
        name += f"_{round(1000 * (row.listed_start_s or 0.0))}_{end}"
    key = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if len(key) > MAX_KEY_CHARS - 11:
        key = f"{key[: MAX_KEY_CHARS - 22]}-{_short_hash(name)}"
    return key


def _hash128(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def reject(
    ref: ClipRef, reason: FailureReason, message: str, traceback: str | None = None
) -> RejectRow:
    """The row of a listed clip that has no sample."""
    return RejectRow(
        row_index=ref.row_index,
        line_number=ref.line_number,
        source_id=ref.source_id,
        key=ref.key,
        path=ref.path,
        listed_start_s=ref.listed_start_s,
        listed_end_s=ref.listed_end_s,
        labels=list(ref.labels),
        split=ref.split,
        reason=reason,
        message=message,
        traceback=traceback,
    )
