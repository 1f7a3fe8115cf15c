"""A whole shard set against its own promises: tables, checksums, tar structure, every sample."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avdata.cores import available_cores
from avdata.schema import DatasetSpec, shard_name
from avdata.shards.foreign_set import is_foreign
from avdata.shards.problem import Problem
from avdata.shards.reader import DATASET_NAME, read_dataset_spec
from avdata.shards.verify_index import check_index
from avdata.shards.verify_shard import ShardCheck, check_shard
from avdata.shards.verify_tables import SetTables, check_spec, check_tables, read_tables


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What came out of checking a set."""

    num_clips: int
    num_shards: int
    decoded: bool
    """Whether every sample was decoded, or structure and checksums were checked alone."""
    of_set: tuple[Problem, ...]
    """Faults of the spec, the tables, and of files that are not of the set."""
    of_shards: Mapping[str, tuple[Problem, ...]]
    """Faults of shards, of their sidecars and of their rows, by shard."""
    notes: tuple[str, ...]
    """Worth knowing, and no fault."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (*self.of_set, *(p for found in self.of_shards.values() for p in found))

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
    if is_foreign(spec):
        found_there = check_index(
            directory, decode=decode, num_workers=num_workers, on_sample=on_sample
        )
        return VerifyReport(
            num_clips=spec.num_clips,
            num_shards=spec.num_shards,
            decoded=decode,
            of_set=(*check_spec(spec), *found_there.of_set),
            of_shards=found_there.of_tars,
            notes=tuple(_notes(directory)),
        )
    tables = read_tables(directory, spec.kept_columns)
    problems = [*check_spec(spec), *tables.problems, *check_tables(spec, tables)]
    problems += _check_strangers(directory, spec)
    of_shards = {}
    checks = _shard_checks(directory, spec, tables, decode=decode)
    with ThreadPoolExecutor(num_workers or available_cores()) as pool:
        results = pool.map(lambda check: check_shard(check(), on_sample), checks)
        for index, found in enumerate(results):
            if found:
                of_shards[shard_name(index)] = tuple(found)
    return VerifyReport(
        num_clips=spec.num_clips,
        num_shards=spec.num_shards,
        decoded=decode,
        of_set=tuple(problems),
        of_shards=of_shards,
        notes=tuple(_notes(directory)),
    )


def _shard_checks(
    directory: Path, spec: DatasetSpec, tables: SetTables, *, decode: bool
) -> Iterator[Callable[[], ShardCheck]]:
    """One maker a shard: rows become objects in the worker, for one shard at a time."""
    rows, rejects = tables.rows, tables.rejects
    find_rejects = _reject_finder(rejects) if rejects is not None else None

    def make(shard: str) -> ShardCheck:
        return ShardCheck(
            directory=directory,
            shard=shard,
            spec=spec,
            rows=None if rows is None else rows.of(shard),
            find_rejects=find_rejects,
            decode=decode,
        )

    return (partial(make, shard_name(index)) for index in range(spec.num_shards))


def _reject_finder(rejects: Any) -> Callable[[Sequence[int]], list[dict[str, Any]]]:
    """Rows of the rejects by row_index; those that are not there are left out."""
    indices = rejects["row_index"].to_numpy()
    order = np.argsort(indices, kind="stable")
    ordered = indices[order]

    def find(row_indices: Sequence[int]) -> list[dict[str, Any]]:
        wanted = np.asarray(row_indices, np.int64)
        at = np.searchsorted(ordered, wanted)
        there = at < len(ordered)
        there[there] = ordered[at[there]] == wanted[there]
        found: list[dict[str, Any]] = rejects.take(order[at[there]]).to_pylist()
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
