"""`derive_shard`: one shard of a set -> the shard derived from it, from start to sidecar."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from avdata.build.derive_config import DeriveConfig
from avdata.build.derive_sample import derive_sample, placed_row
from avdata.errors import ShardSetError
from avdata.schema import DatasetSpec, ManifestRow, RejectRow
from avdata.shards.sidecar import LogMelSums, ShardReport, read_sidecar, write_sidecar
from avdata.shards.tar_contents import TarSample, read_contents
from avdata.shards.writer import ShardWriter


@dataclass(frozen=True, kw_only=True, slots=True)
class DeriveJob:
    """One shard to derive. Small and picklable."""

    source_dir: Path
    source: DatasetSpec
    out_dir: Path
    shard: str
    config: DeriveConfig
    build_hash: str


def derive_shard(job: DeriveJob) -> int:
    """Derive, write and commit one shard; returns how many clips it holds or rejects.

    Raises:
        ShardSetError: The source's shard is missing or damaged: nothing is made of it.
    """
    report = _whole_source(job)
    path = job.source_dir / job.shard
    stored = {sample.key: sample for sample in read_contents(path).samples}
    codec = job.source.video.codec if job.source.video else "jpeg"
    rows: list[ManifestRow] = []
    rejects = list(report.rejects)
    sums: LogMelSums | None = None
    with path.open("rb") as file, ShardWriter(job.out_dir / job.shard) as writer:
        for row in report.rows:
            if row.key not in stored:
                raise _damaged(job, f"sample {row.key} is not there")
            members = _read(file.fileno(), stored[row.key])
            try:
                made = derive_sample(row, members, job.config, job.source)
            except (ValueError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
                raise _damaged(job, f"sample {row.key} does not decode ({error})") from None
            if isinstance(made, RejectRow):
                rejects.append(made)
                continue
            ranges = writer.add(row.key, made.members)
            rows.append(placed_row(made.row, ranges, codec))
            if made.logmel_sums is not None:
                sums = made.logmel_sums if sums is None else sums + made.logmel_sums
        sha256, num_bytes = writer.commit()
    write_sidecar(
        job.out_dir,
        ShardReport(
            shard=job.shard,
            build_hash=job.build_hash,
            sha256=sha256,
            num_bytes=num_bytes,
            rows=rows,
            rejects=sorted(rejects, key=lambda row: row.row_index),
            logmel_sums=sums,
        ),
    )
    return len(report.rows) + len(report.rejects)


def _whole_source(job: DeriveJob) -> ShardReport:
    """The source's sidecar, once its tar has the bytes that it states."""
    report = read_sidecar(job.source_dir, job.shard)
    if report is None:
        raise _damaged(job, "it has no sidecar")
    try:
        with (job.source_dir / job.shard).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _damaged(job, error.strerror or str(error)) from None
    if sha256 != report.sha256:
        raise _damaged(job, "its bytes are not those that its sidecar states")
    return report


def _read(handle: int, sample: TarSample) -> dict[str, bytes]:
    return {
        suffix: os.pread(handle, where.size, where.offset)
        for suffix, where in sample.members.items()
    }


def _damaged(job: DeriveJob, what: str) -> ShardSetError:
    return ShardSetError(
        f"{job.source_dir / job.shard}: {what}; run `avdata verify --repair {job.source_dir}` and "
        "build it again, then this command goes on"
    )
