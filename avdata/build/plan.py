"""Listing -> shard plans. Order, keys and sizes depend on listing and settings alone."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from avdata.config import LIMITS_OF_THE_MACHINE, BuildConfig
from avdata.errors import FailureReason
from avdata.schema import (
    MAX_KEY_CHARS,
    SCHEMA_VERSION,
    ClipRef,
    ListedClip,
    MalformedLine,
    RejectRow,
    shard_name,
)

BYTE_SHAPING_PACKAGES = ("av", "numpy", "simplejpeg", "soundfile", "torch", "torchaudio")
"""Another version of these may give other bytes."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """All shards of a build, and the facts of the listing that the set's spec states."""

    shards: tuple[ShardPlan, ...]
    num_listed: int
    num_sources: int
    labels: tuple[str, ...]
    """Sorted."""
    listing_sha256: str
    """Hash of the rows as they were understood, not of the file's bytes."""
    build_hash: str


def make_plan(rows: Iterable[ListedClip | MalformedLine], config: BuildConfig) -> BuildPlan:
    """The plan of a build: every row of the listing is in exactly one shard plan."""
    keeper = _Keeper()
    digest = hashlib.sha256()
    shards: list[ShardPlan] = []
    refs: list[ClipRef] = []
    rejects: list[RejectRow] = []
    rows = list(rows)
    size = config.shards.size(len(rows))

    def close_shard() -> None:
        if refs or rejects:
            shards.append(
                ShardPlan(shard_index=len(shards), clips=tuple(refs), rejects=tuple(rejects))
            )
            refs.clear()
            rejects.clear()

    num_listed = 0
    for row_index, row in enumerate(rows):
        num_listed += 1
        digest.update(repr(row).encode())
        planned = keeper.place(row_index, row)
        if isinstance(planned, ClipRef):
            refs.append(planned)
        else:
            rejects.append(planned)
        if len(refs) + len(rejects) == size:
            close_shard()
    close_shard()
    listing_sha256 = digest.hexdigest()
    return BuildPlan(
        shards=tuple(shards),
        num_listed=num_listed,
        num_sources=len(keeper.sources),
        labels=tuple(sorted(keeper.labels)),
        listing_sha256=listing_sha256,
        build_hash=_build_hash(listing_sha256, config),
    )


def software_versions() -> dict[str, str]:
    """Versions of the packages that shape a shard's bytes."""
    return {name: version(name) for name in BYTE_SHAPING_PACKAGES}


def _build_hash(listing_sha256: str, config: BuildConfig) -> str:
    settings = config.model_dump(mode="json")
    for name in LIMITS_OF_THE_MACHINE:
        del settings["limits"][name]
    facts = {
        "schema_version": SCHEMA_VERSION,
        "listing": listing_sha256,
        "config": settings,
        "software": software_versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class _Keeper:
    """Numbers sources, counts their clips and makes keys unique, in listing order."""

    def __init__(self) -> None:
        self.sources: dict[str, int] = {}
        self.labels: set[str] = set()
        self._num_clips: list[int] = []
        self._seen: dict[tuple[str, str | None, float | None, float | None], int] = {}
        self._keys: set[str] = set()

    def place(self, row_index: int, row: ListedClip | MalformedLine) -> ClipRef | RejectRow:
        if isinstance(row, MalformedLine):
            return RejectRow(
                row_index=row_index,
                line_number=row.line_number,
                source_id=None,
                key=None,
                path=None,
                listed_start_s=None,
                listed_end_s=None,
                labels=[],
                split=None,
                reason=FailureReason.MALFORMED_LINE,
                message=f"{row.message}; line: {row.text!r}",
                traceback=None,
            )
        self.labels.update(row.labels)
        source_index = self.sources.setdefault(row.source_id, len(self.sources))
        if source_index == len(self._num_clips):
            self._num_clips.append(0)
        clip_index = self._num_clips[source_index]
        self._num_clips[source_index] += 1
        ref = ClipRef(
            row_index=row_index,
            line_number=row.line_number,
            key=self._unique_key(row),
            source_id=row.source_id,
            source_index=source_index,
            clip_index=clip_index,
            path=row.path,
            listed_start_s=row.listed_start_s,
            listed_end_s=row.listed_end_s,
            labels=row.labels,
            split=row.split,
        )
        first = self._seen.setdefault(
            (row.source_id, row.path, row.listed_start_s, row.listed_end_s), row.line_number
        )
        if first != row.line_number:
            return reject(ref, FailureReason.DUPLICATE, f"the same clip is listed on line {first}")
        return ref

    def _unique_key(self, row: ListedClip) -> str:
        key = clip_key(row)
        if key in self._keys:
            # other media of the same name: the path tells them apart, else the line does
            salt = f"{row.path}|{row.source_id}|{row.line_number}"
            key = f"{key[: MAX_KEY_CHARS - 11]}-{_short_hash(salt)}"
        self._keys.add(key)
        return key


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
