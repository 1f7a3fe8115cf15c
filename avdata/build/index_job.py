"""Requests and answers between `avdata index` and its processes; light, as `build.messages` is."""

from dataclasses import dataclass
from pathlib import Path

from avdata.schema import ManifestRow, RejectRow
from avdata.shards.index_config import FrameKind, IndexConfig
from avdata.shards.index_contents import ForeignContents


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexContext:
    """Facts that all tars of an index share."""

    config: IndexConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignTar:
    """One tar of the folder."""

    path: Path
    shard: str
    """The path relative to the folder of the set."""
    split: str | None
    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRequest:
    """To the process: read this tar, and make the rows of its samples from `first` on."""

    tar: ForeignTar
    kind: FrameKind | None
    """Kind of frames of the set; None to be told that of the tar, and no rows."""
    first: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TarOpened:
    """Answer of the process: the headers of the tar."""

    contents: ForeignContents
    kind: FrameKind | None
    """Kind of frames of the first sample that has some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRow:
    """Answer of the process: the row of one sample."""

    row: ManifestRow | RejectRow
    members: tuple[str, ...]
    """Names of the members that the row stands for."""
    not_read: tuple[str, ...]
    """Names of the other members of the sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TarDone:
    """Answer of the process: all that was asked for was answered."""


IndexAnswer = TarOpened | SampleRow | TarDone
