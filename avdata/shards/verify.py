"""A whole shard set against its own promises: tables, checksums, tar structure, every sample."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avdata.cores import available_cores
from avdata.schema import DatasetSpec, ManifestRow, shard_name
from avdata.shards.problem import Problem
from avdata.shards.reader import DATASET_NAME, read_dataset_spec
from avdata.shards.verify_shard import ShardCheck, check_shard
from avdata.shards.verify_tables import SetTables, check_spec, check_tables, read_tables


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What came out of checking a set."""

    num_clips: int
    num_shards: int
    decoded: bool
    """Whether every sample was decoded, or structure and checksums were checked alone."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """Worth knowing, and no fault."""

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_set(
    directory: Path,
    *,
    decode: bool = True,
    num_workers: int | None = None,
    on_sample: Callable[[], object] = lambda: None,
) -> VerifyReport:
    """Check all that a shard set promises; goes on after a problem, to find them all.

    Hashing and decoding release the GIL, so `num_workers` threads (one a core if None) share the
    shards. `on_sample` is called, from any of them, after each sample.

    Raises:
        ShardSetError: There is no finished set of this schema version in `directory`.
    """
    spec = read_dataset_spec(directory)
    tables = read_tables(directory)
    problems = [*check_spec(spec), *tables.problems, *check_tables(spec, tables)]
    problems += _check_strangers(directory, spec)
    checks = _shard_checks(directory, spec, tables, decode=decode)
    with ThreadPoolExecutor(num_workers or available_cores()) as pool:
        for found in pool.map(lambda check: check_shard(check(), on_sample), checks):
            problems += found
    return VerifyReport(
        num_clips=spec.num_clips,
        num_shards=spec.num_shards,
        decoded=decode,
        problems=tuple(problems),
        notes=tuple(_notes(directory)),
    )


def _shard_checks(
    directory: Path, spec: DatasetSpec, tables: SetTables, *, decode: bool
) -> Iterator[Callable[[], ShardCheck]]:
    """One maker a shard: rows become objects in the worker, for one shard at a time."""
    manifest, rejects = tables.manifest, tables.rejects
    positions = _positions(manifest) if manifest is not None else {}
    find_rejects = _reject_finder(rejects) if rejects is not None else None

    def make(shard: str) -> ShardCheck:
        rows = None
        if manifest is not None:
            taken = manifest.take(positions.get(shard, np.zeros(0, np.int64)))
            rows = [ManifestRow(**row) for row in taken.to_pylist()]
        return ShardCheck(
            directory=directory,
            shard=shard,
            spec=spec,
            rows=rows,
            find_rejects=find_rejects,
            decode=decode,
        )

    return (partial(make, shard_name(index)) for index in range(spec.num_shards))


def _positions(manifest: Any) -> dict[str, np.ndarray]:
    """Rows of each shard, in table order."""
    names = np.array(manifest["shard"].to_pylist(), dtype=object)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}


def _reject_finder(rejects: Any) -> Callable[[Sequence[int]], list[dict[str, Any]]]:
    """Rows of the rejects by row_index; those that are not there are left out."""
    position = {index: at for at, index in enumerate(rejects["row_index"].to_pylist())}

    def find(row_indices: Sequence[int]) -> list[dict[str, Any]]:
        there = [position[index] for index in row_indices if index in position]
        found: list[dict[str, Any]] = rejects.take(np.array(there, np.int64)).to_pylist()
        return found

    return find


def _check_strangers(directory: Path, spec: DatasetSpec) -> Iterator[Problem]:
    """Shards that are not of the set: a glob of `shard-*.tar` would take them for data."""
    known = {shard_name(index) for index in range(spec.num_shards)}
    for path in sorted(directory.glob("shard-*.tar")):
        if path.name not in known:
            yield Problem(
                where=path.name,
                seen="a shard",
                expected=f"none beyond the {spec.num_shards} of {DATASET_NAME}",
            )


def _notes(directory: Path) -> Iterator[str]:
    for path in sorted(directory.glob("*.partial*")):
        yield (
            f"{path.name} was left by a build that was stopped; it is no part of the set and can "
            "be deleted"
        )
