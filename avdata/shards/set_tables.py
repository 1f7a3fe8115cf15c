"""The sidecars of a set's shards -> its two tables, and what they come to."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from avdata.errors import BuildError
from avdata.manifest import (
    MANIFEST_NAME,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    TableWriter,
    manifest_schema,
)
from avdata.shards.sidecar import LogMelSums, ShardReport


@dataclass(frozen=True, kw_only=True, slots=True)
class SetTotals:
    """What the shards of a set hold together."""

    num_clips: int
    reasons: dict[str, int]
    """Rejected clips by reason, most frequent first."""
    num_bytes: int
    logmel_sums: LogMelSums | None

    @property
    def num_rejected(self) -> int:
        return sum(self.reasons.values())


def write_tables(
    directory: Path,
    shards: Iterable[tuple[str, int | None]],
    reports: Iterable[ShardReport | None],
    kept_columns: Iterable[str] = (),
) -> SetTotals:
    """Write manifest and rejects into `directory`; one sidecar is held at a time.

    Args:
        directory: A local folder.
        shards: Name of every shard, and how many rows of a listing it settles, if that is known.
        reports: Their sidecars.
        kept_columns: Columns of the listing that the manifest carries.

    Raises:
        BuildError: A shard has no sidecar, or one that settles other rows.
    """
    reasons = Counter[str]()
    num_clips = num_bytes = 0
    sums: LogMelSums | None = None
    manifest = TableWriter(directory / MANIFEST_NAME, manifest_schema(kept_columns))
    rejects = TableWriter(directory / REJECTS_NAME, REJECTS_SCHEMA)
    for (shard, num_rows), report in zip(shards, reports, strict=True):
        if report is None:
            raise BuildError(f"{shard} was not built; run the same command again")
        settled = len(report.rows) + len(report.rejects)
        if num_rows is not None and settled != num_rows:
            raise BuildError(
                f"{shard} settles {settled} of {num_rows} rows; delete its sidecar and run the "
                "same command again"
            )
        manifest.append(report.rows)
        rejects.append(report.rejects)
        reasons.update(row.reason for row in report.rejects)
        num_clips += len(report.rows)
        num_bytes += report.num_bytes
        if report.logmel_sums is not None:
            sums = report.logmel_sums if sums is None else sums + report.logmel_sums
    manifest.close()
    rejects.close()
    return SetTotals(
        num_clips=num_clips,
        reasons=dict(reasons.most_common()),
        num_bytes=num_bytes,
        logmel_sums=sums,
    )
