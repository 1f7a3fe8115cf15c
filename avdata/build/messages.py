"""What a supervisor and its worker process say to each other, and how it travels in a pipe.

Rows travel as bytes: the supervisor keeps them for the case that another process has to go on, and
never needs to look inside.
"""

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TypeAlias

from avdata.build.index_job import IndexAnswer
from avdata.build.job import ShardJob
from avdata.shards.writer import PartialTar

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneSoFar:
    """How far a shard is, as bytes."""

    tar: PartialTar
    rows: Sequence[bytes]
    """Pickled ManifestRows and RejectRows, in the order they were settled."""
    logmel_sums: bytes
    """Pickled LogMelSums or None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequest:
    """To the process: build this shard, from the start or from where another one left it."""

    job: ShardJob
    so_far: DoneSoFar | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """From the process: everything is loaded, requests may come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """From the process: the shard is open, the first clip begins."""

    tar: PartialTar


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """From the process: one more row is settled; all that is needed to go on behind it."""

    row_index: int
    reason: str | None
    num_bytes: int
    """Of the tar: so many are whole samples."""
    row: bytes
    logmel_sums: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """From the process: the shard and its sidecar are in place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """From the process: a fault that is not a clip's, as a full disk."""

    message: str
    traceback: str


Answer: TypeAlias = Ready | Opened | Settled | Committed | Failed | IndexAnswer


def write_message(pipe: IO[bytes], message: object) -> None:
    """Send one message and do not keep any of it back."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> object | None:
    """The next message, waited for; None at the end of the pipe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    data = pipe.read(size)
    if len(data) < size:
        return None
    message: object = pickle.loads(data)
    return message


class MessageBuffer:
    """Messages out of bytes that come in pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Add what came."""
        del self._bytes[: self._at]
        self._at = 0
        self._bytes += data

    def pop(self) -> object | None:
        """The next whole message; None while there is none."""
        start = self._at + _LENGTH.size
        if len(self._bytes) < start:
            return None
        (size,) = _LENGTH.unpack_from(self._bytes, self._at)
        if len(self._bytes) < start + size:
            return None
        self._at = start + size
        message: object = pickle.loads(bytes(memoryview(self._bytes)[start : self._at]))
        return message
