"""`shard-000000.json`: what a committed shard holds. Its presence means "committed"."""

import hashlib
import json
from collections import deque
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from avdata.errors import ShardSetError
from avdata.schema import (
    SCHEMA_VERSION,
    LogMelStatistics,
    ManifestRow,
    RejectRow,
    check_schema_version,
    sidecar_name,
)
from avdata.storage import Location, open_location

_SIDECARS_AHEAD = 16
"""Of a far set: a request takes long and hardly any work."""


FIRST_WITH_CHECKSUM = 3
"""Sidecars of earlier schema versions state no checksum of themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMelSums:
    """Sums over the stored log-mel of some samples, per mel bin, in float64."""

    num_columns: int
    total: tuple[float, ...]
    total_squares: tuple[float, ...]

    @staticmethod
    def of(logmel: np.ndarray) -> "LogMelSums":
        """Sums of one log-mel (c, t, f)."""
        columns = logmel.reshape(-1, logmel.shape[-1]).astype(np.float64)
        return LogMelSums(
            num_columns=len(columns),
            total=tuple(columns.sum(0).tolist()),
            total_squares=tuple(np.square(columns).sum(0).tolist()),
        )

    def __add__(self, other: "LogMelSums") -> "LogMelSums":
        return LogMelSums(
            num_columns=self.num_columns + other.num_columns,
            total=tuple(np.add(self.total, other.total).tolist()),
            total_squares=tuple(np.add(self.total_squares, other.total_squares).tolist()),
        )

    def statistics(self) -> LogMelStatistics:
        """Mean and standard deviation per mel bin."""
        mean = np.divide(self.total, self.num_columns)
        variance = np.divide(self.total_squares, self.num_columns) - mean**2
        return LogMelStatistics(
            num_columns=self.num_columns,
            mean=tuple(mean.tolist()),
            std=tuple(np.sqrt(np.maximum(variance, 0)).tolist()),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """Everything the set's manifest needs to know of one shard."""

    shard: str
    build_hash: str
    sha256: str
    num_bytes: int
    rows: list[ManifestRow]
    rejects: list[RejectRow]
    logmel_sums: LogMelSums | None


def write_sidecar(where: Path | str | Location, report: ShardReport) -> None:
    """Commit a shard whose tar is in place.

    The file states the checksum of all that follows it: a sidecar that was changed is not believed.
    """
    facts = {"schema_version": SCHEMA_VERSION, **asdict(report)}
    data = json.dumps(facts, separators=(",", ":"))[1:].encode()
    open_location(where).write(sidecar_name(report.shard), _checksum_part(data) + data)


def _checksum_part(data: bytes) -> bytes:
    """The start of a sidecar that goes on with `data`."""
    return f'{{"checksum":"{hashlib.sha256(data).hexdigest()}",'.encode()


def _check_checksum(data: bytes, checksum: object) -> None:
    """Refuse the bytes of a sidecar that do not fit its checksum; version 2 has none."""
    if checksum is None:
        return
    start = len(_checksum_part(b""))
    if data[:start] != _checksum_part(data[start:]):
        raise ValueError("its checksum is not that of its text")


def read_sidecars(
    where: Path | str | Location, shards: Iterable[str], names: Container[str]
) -> Iterator[ShardReport | None]:
    """Reports of shards in their order, None for those whose sidecar is not among `names`.

    From far, a few are on their way at a time.

    Raises:
        ShardSetError: As for `read_sidecar`.
    """
    location = open_location(where)

    def read(shard: str) -> ShardReport | None:
        return read_sidecar(location, shard) if sidecar_name(shard) in names else None

    if not location.is_remote:
        yield from map(read, shards)
        return
    with ThreadPoolExecutor(_SIDECARS_AHEAD) as pool:
        ahead: deque[Future[ShardReport | None]] = deque()
        for shard in shards:
            ahead.append(pool.submit(read, shard))
            if len(ahead) == _SIDECARS_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def read_sidecar(where: Path | str | Location, shard: str) -> ShardReport | None:
    """Report of a committed shard; None when there is no sidecar.

    Raises:
        ShardSetError: The sidecar cannot be read or is of another schema version.
    """
    location, name = open_location(where), sidecar_name(shard)
    try:
        stored = location.read(name)
        data = json.loads(stored)
        _check_checksum(stored, data.pop("checksum", None))
        check_schema_version(data.pop("schema_version", None), where=location.place(name))
        sums = data.pop("logmel_sums")
        rows = [ManifestRow(**row) for row in data.pop("rows")]
        rejects = [RejectRow(**row) for row in data.pop("rejects")]
        return ShardReport(
            rows=rows,
            rejects=rejects,
            logmel_sums=LogMelSums(
                num_columns=sums["num_columns"],
                total=tuple(sums["total"]),
                total_squares=tuple(sums["total_squares"]),
            )
            if sums
            else None,
            **data,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ShardSetError(
            f"sidecar {location.place(name)} is damaged ({type(error).__name__}: {error}); delete "
            "it and run the same `avdata build` again"
        ) from None
