"""Check an index of third-party tars against its promises.

Such tars have no sidecars and any names; what is there to check is that they are still the files
that were indexed, that each of their members is in a sample or in a row, and that every sample can
be read as a clip.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avdata.cores import available_cores
from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME
from avdata.schema import BuildRecord
from avdata.shards.build_record import BUILD_NAME
from avdata.shards.foreign_set import TarRecord
from avdata.shards.index_contents import read_foreign_contents
from avdata.shards.problem import Problem
from avdata.shards.reader import ShardSet
from avdata.shards.verify_tables import read_tables

AGAIN = "run `avdata index` again"
FRAMES_AT_A_TIME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFindings:
    """Faults of an index."""

    of_set: tuple[Problem, ...]
    of_tars: Mapping[str, tuple[Problem, ...]]


def check_index(
    directory: Path,
    *,
    decode: bool,
    num_workers: int | None,
    on_sample: Callable[[], object],
) -> IndexFindings:
    """Find all faults of the index in `directory`."""
    shards = ShardSet(directory)
    tables = read_tables(directory)
    of_set = list(tables.problems)
    if tables.manifest is None or tables.rejects is None:
        return IndexFindings(of_set=tuple(of_set), of_tars={})
    spec = shards.spec
    for name, table, promised in (
        (MANIFEST_NAME, tables.manifest, spec.num_clips),
        (REJECTS_NAME, tables.rejects, spec.num_rejected),
    ):
        if table.num_rows != promised:
            seen = f"{table.num_rows} rows"
            of_set.append(Problem(where=name, seen=seen, expected=f"{promised}; {AGAIN}"))
    of_tars: dict[str, list[Problem]] = {}
    for tar, problem in _changed_tars(directory):
        of_tars.setdefault(tar, []).append(problem)
    for tar, problem in _uncounted_members(directory, tables.manifest, tables.rejects):
        if tar not in of_tars:  # of another tar nothing can be expected
            of_tars[tar] = [problem]
    if not of_set:
        names: list[str] = tables.manifest["shard"].to_pylist()

        def check(sample: int) -> Problem | None:
            whole = names[sample] not in of_tars  # of another tar nothing can be expected
            found = _check_sample(shards, sample) if decode and whole else None
            on_sample()
            return found

        with ThreadPoolExecutor(num_workers or available_cores()) as pool:
            checked = list(pool.map(check, range(len(shards))))
        for name, faulty in zip(names, checked, strict=True):
            if faulty is not None:
                of_tars.setdefault(name, []).append(faulty)
    return IndexFindings(
        of_set=tuple(of_set), of_tars={name: tuple(found) for name, found in of_tars.items()}
    )


def _changed_tars(directory: Path) -> Iterator[tuple[str, Problem]]:
    try:
        tars = _recorded_tars(directory)
    except (OSError, ValueError) as error:
        seen = f"cannot be read ({error})"
        yield BUILD_NAME, Problem(where=BUILD_NAME, seen=seen, expected=f"the record; {AGAIN}")
        return
    for name, record in tars.items():
        path = directory / name
        size = record if isinstance(record, int) else record.num_bytes
        if not path.is_file():
            yield name, Problem(where=name, seen="no such file", expected=f"a tar; {AGAIN}")
        elif path.stat().st_size != size:
            seen = f"{path.stat().st_size} bytes"
            yield name, Problem(where=name, seen=seen, expected=f"{size} as indexed; {AGAIN}")


def _recorded_tars(directory: Path) -> dict[str, int | TarRecord]:
    """Facts of each tar; its size alone, where an earlier version indexed it."""
    record = BuildRecord.model_validate_json((directory / BUILD_NAME).read_bytes())
    tars = record.config.get("tars")
    return {
        str(name): facts if isinstance(facts, int) else TarRecord.model_validate(facts)
        for name, facts in (tars.items() if isinstance(tars, dict) else ())
    }


def _uncounted_members(
    directory: Path, manifest: Any, rejects: Any
) -> Iterator[tuple[str, Problem]]:
    """Tars whose members are not those that `build.json` and the tables account for."""
    try:
        tars = _recorded_tars(directory)
    except (OSError, ValueError):
        return  # told by `_changed_tars`
    in_samples, named = Counter[str](), dict[str, list[str]]()
    for shard, count in zip(
        manifest["shard"].to_pylist(), manifest["num_members"].to_pylist(), strict=True
    ):
        in_samples[shard] += count or 0
    for shard, names in zip(
        rejects["path"].to_pylist(), rejects["members"].to_pylist(), strict=True
    ):
        named.setdefault(shard, []).extend(names or ())
    for shard, record in tars.items():
        if isinstance(record, int):
            continue  # the index of an earlier version counts no members
        names = named.get(shard, [])
        if problem := _count_problem(directory, shard, record, in_samples[shard], names):
            yield shard, problem


def _count_problem(
    directory: Path, shard: str, record: TarRecord, in_samples: int, named: list[str]
) -> Problem | None:
    """The first count that does not agree: of the tables, or of the tar's headers."""
    seen, promised = (in_samples, len(named)), (record.members_in_samples, record.members_in_rows)
    if seen != promised or record.members != sum(promised):
        return Problem(
            where=f"{shard} members",
            seen=f"{seen[0]} in {MANIFEST_NAME}, {seen[1]} in {REJECTS_NAME}",
            expected=f"{promised[0]} and {promised[1]} of {record.members}; {AGAIN}",
        )
    contents = read_foreign_contents(directory / shard)
    names = contents.names()
    if len(names) != record.members:
        seen_there = f"{len(names)} members"
        return Problem(where=shard, seen=seen_there, expected=f"{record.members}; {AGAIN}")
    if strange := Counter(named) - Counter(names):
        return Problem(
            where=f"{REJECTS_NAME} members",
            seen=f"{next(iter(strange))!r}",
            expected=f"members that {shard} holds; {AGAIN}",
        )
    return None


def _check_sample(shards: ShardSet, sample: int) -> Problem | None:
    """The first thing that keeps a sample from being read as a clip."""
    row = (
        shards.manifest.select(["num_frames", "num_audio_samples"]).slice(sample, 1).to_pylist()[0]
    )
    try:
        for start in range(0, row["num_frames"], FRAMES_AT_A_TIME):
            stop = min(start + FRAMES_AT_A_TIME, row["num_frames"])
            shards.read_frames(sample, range(start, stop))
        if row["num_audio_samples"]:
            shards.read_audio(sample)
    except (ShardSetError, ValueError, RuntimeError) as error:
        return Problem(
            where=shards.keys[sample], seen=f"does not decode ({error})", expected="a whole clip"
        )
    return None
