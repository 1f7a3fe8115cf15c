"""Is one shard what its sidecar and its manifest rows say?"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME
from avdata.schema import (
    FIELDS,
    DatasetSpec,
    ManifestRow,
    RejectRow,
    member_suffixes,
    sidecar_name,
)
from avdata.shards.field_members import data_suffixes
from avdata.shards.problem import Problem
from avdata.shards.sidecar import ShardReport, read_sidecar
from avdata.shards.tar_contents import TarSample, read_contents
from avdata.shards.verify_sample import check_sample_data
from avdata.shards.writer import ByteRange

NO_ROW = "no such row"
"""What is seen where a table lacks a row of a sidecar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCheck:
    """What one shard is checked against."""

    directory: Path
    shard: str
    spec: DatasetSpec
    rows: Sequence[ManifestRow] | None
    """Its rows of the manifest; None when the manifest cannot be read."""
    find_rejects: Callable[[Sequence[int]], list[dict[str, Any]]] | None
    """Rows of the rejects by row_index; None when they cannot be read."""
    decode: bool
    """Also decode every sample."""


def check_shard(check: ShardCheck, on_sample: Callable[[], object]) -> list[Problem]:
    """What is wrong with a shard; `on_sample` is called after each sample of its rows."""
    problems: list[Problem] = []
    report = _read_report(check, problems)
    if report is not None:
        problems += _check_report(check, report)
    rows = check.rows if check.rows is not None else (report.rows if report else [])
    samples = _check_structure(check, rows, problems)
    for row in rows:
        if check.decode and row.key in samples:
            try:
                data = _read_members(check.directory / check.shard, samples[row.key])
            except OSError as error:
                problems.append(
                    Problem(
                        where=f"{check.shard} {row.key}",
                        seen=f"cannot be read ({error.strerror})",
                        expected="a readable file",
                    )
                )
            else:
                problems += check_sample_data(data, row, check.spec)
        on_sample()
    return problems


def _read_report(check: ShardCheck, problems: list[Problem]) -> ShardReport | None:
    name = sidecar_name(check.shard)
    try:
        report = read_sidecar(check.directory, check.shard)
    except ShardSetError as error:
        problems.append(Problem(where=name, seen=str(error), expected="a readable sidecar"))
        return None
    if report is None:
        problems.append(
            Problem(where=name, seen="no such file", expected="the sidecar of a committed shard")
        )
    return report


def _check_report(check: ShardCheck, report: ShardReport) -> Iterator[Problem]:
    """The sidecar against the tar's bytes, the spec and the manifest."""
    name = sidecar_name(check.shard)
    if report.build_hash != check.spec.build_hash:
        yield Problem(
            where=name, seen=f"build_hash {report.build_hash}", expected=check.spec.build_hash
        )
    if report.shard != check.shard:
        yield Problem(where=name, seen=f"shard {report.shard!r}", expected=repr(check.shard))
    path = check.directory / check.shard
    if path.is_file():
        if (num_bytes := path.stat().st_size) != report.num_bytes:
            yield Problem(
                where=check.shard,
                seen=f"{num_bytes} bytes",
                expected=f"{report.num_bytes} as in {name}",
            )
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != report.sha256:
            yield Problem(
                where=check.shard,
                seen=f"sha256 {sha256}",
                expected=f"{report.sha256} as in {name}",
            )
    if check.rows is not None:
        seen = [asdict(row) for row in check.rows]
        yield from _compare_rows(MANIFEST_NAME, name, seen, report.rows)
    if check.find_rejects is not None:
        seen = check.find_rejects([row.row_index for row in report.rejects])
        yield from _compare_rows(REJECTS_NAME, name, seen, report.rejects)


def _compare_rows(
    table: str,
    sidecar: str,
    seen: Sequence[dict[str, Any]],
    promised: Sequence[ManifestRow] | Sequence[RejectRow],
) -> Iterator[Problem]:
    seen_rows = {row["row_index"]: row for row in seen}
    promised_rows = {row.row_index: asdict(row) for row in promised}
    for index, row in promised_rows.items():
        where = f"{table} row_index {index} ({row['key']})"
        if index not in seen_rows:
            yield Problem(where=where, seen=NO_ROW, expected=f"the row of {sidecar}")
            continue
        for column, value in row.items():
            if not _same(seen_rows[index][column], value, column):
                yield Problem(
                    where=f"{where} {column}",
                    seen=_short(seen_rows[index][column]),
                    expected=f"{_short(value)} as in {sidecar}",
                )
    for index in [index for index in seen_rows if index not in promised_rows]:
        yield Problem(
            where=f"{table} row_index {index} ({seen_rows[index]['key']})",
            seen="a row",
            expected=f"none: {sidecar} does not have it",
        )


def _same(seen: object, promised: object, column: str) -> bool:
    if column == "frame_times_s":  # float32 in the table, float64 in the sidecar
        return np.array_equal(np.asarray(seen, np.float32), np.asarray(promised, np.float32))
    return seen == promised


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_structure(
    check: ShardCheck, rows: Sequence[ManifestRow], problems: list[Problem]
) -> dict[str, TarSample]:
    """Compare the tar's headers with `rows`; returns the samples by key that are there."""
    shard = check.shard
    try:
        contents = read_contents(check.directory / shard)
    except ShardSetError as error:
        problems.append(Problem(where=shard, seen=str(error), expected="a whole tar"))
        return {}
    for name in contents.strays:
        problems.append(Problem(where=f"{shard} {name}", seen="a stray member", expected="none"))
    for name in contents.repeated:
        problems.append(Problem(where=f"{shard} {name}", seen="a repeated member", expected="one"))
    samples: dict[str, TarSample] = {}
    for sample in contents.samples:
        if sample.key in samples:
            problems.append(
                Problem(
                    where=f"{shard} {sample.key}",
                    seen="its members are not adjacent, or the key is there twice",
                    expected="one stretch of members a key",
                )
            )
            continue
        samples[sample.key] = sample
    row_keys = [row.key for row in rows]
    for key in [key for key in samples if key not in set(row_keys)]:
        problems.append(
            Problem(where=f"{shard} {key}", seen="a sample without a row", expected="one row each")
        )
    stored = [sample.key for sample in contents.samples if sample.key in set(row_keys)]
    if sorted(stored) == sorted(row_keys) and stored != row_keys:
        problems.append(
            Problem(where=shard, seen="samples in another order", expected="the manifest's order")
        )
    for row in rows:
        if row.key not in samples:
            problems.append(
                Problem(where=f"{shard} {row.key}", seen="no such sample", expected="its members")
            )
        else:
            problems += _check_members(check, row, samples[row.key])
    return samples


def _check_members(check: ShardCheck, row: ManifestRow, sample: TarSample) -> Iterator[Problem]:
    where = f"{check.shard} {row.key}"
    codec = check.spec.video.codec if check.spec.video else "jpeg"
    fields = tuple(name for name in check.spec.fields if name in FIELDS)
    promised = member_suffixes(fields, codec)
    if sorted(sample.members) != promised:
        yield Problem(
            where=where, seen=f"members {sorted(sample.members)}", expected=f"members {promised}"
        )
    nowhere = ByteRange(offset=0, size=0)
    for field, suffix in data_suffixes(codec).items():
        offset, size = getattr(row, f"{field}_offset_bytes"), getattr(row, f"{field}_bytes")
        seen = sample.members.get(suffix, nowhere)
        if (seen.offset, seen.size) != (offset, size):
            yield Problem(
                where=f"{where}.{suffix}",
                seen=f"{seen.size} bytes at {seen.offset}",
                expected=f"{size} bytes at {offset} as in the manifest",
            )


def _read_members(shard: Path, sample: TarSample) -> dict[str, bytes]:
    data = {}
    with shard.open("rb") as file:
        for suffix, where in sample.members.items():
            file.seek(where.offset)
            data[suffix] = file.read(where.size)
    return data
