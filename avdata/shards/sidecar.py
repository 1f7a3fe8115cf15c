"""`shard-000000.json`: what a committed shard holds. Its presence means "committed"."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from avdata.atomic_writing import write_atomically
from avdata.errors import ShardSetError
from avdata.schema import (
    SCHEMA_VERSION,
    LogMelStatistics,
    ManifestRow,
    RejectRow,
    check_schema_version,
    sidecar_name,
)


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


def write_sidecar(directory: Path, report: ShardReport) -> None:
    """Commit a shard whose tar is in place."""
    data = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(report)}, separators=(",", ":"))
    write_atomically(directory / sidecar_name(report.shard), data.encode())


def read_sidecar(directory: Path, shard: str) -> ShardReport | None:
    """Report of a committed shard; None when there is no sidecar.

    Raises:
        ShardSetError: The sidecar cannot be read or is of another schema version.
    """
    path = directory / sidecar_name(shard)
    try:
        data = json.loads(path.read_bytes())
        check_schema_version(data.pop("schema_version", None), where=str(path))
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
            f"sidecar {path} is damaged ({type(error).__name__}: {error}); delete it and run the "
            "same `avdata build` again"
        ) from None
