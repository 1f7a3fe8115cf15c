"""Is an index of somebody else's tars what it promises to be?

Tars of others have no sidecars and any names; what is there to check is that they are still the
files that were indexed, and that every sample can be read as a clip.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from avdata.cores import available_cores
from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME
from avdata.schema import BuildRecord
from avdata.shards.build_record import BUILD_NAME
from avdata.shards.problem import Problem
from avdata.shards.reader import ShardSet
from avdata.shards.verify_tables import read_tables

AGAIN = "run `avdata index` again"
FRAMES_AT_A_TIME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFindings:
    """What is wrong with an index."""

    of_set: tuple[Problem, ...]
    of_tars: Mapping[str, tuple[Problem, ...]]


def check_index(
    directory: Path,
    *,
    decode: bool,
    num_workers: int | None,
    on_sample: Callable[[], object],
) -> IndexFindings:
    """What is wrong with the index in `directory`; goes on after a problem, to find them all."""
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
        record = BuildRecord.model_validate_json((directory / BUILD_NAME).read_bytes())
    except (OSError, ValueError) as error:
        seen = f"cannot be read ({error})"
        yield BUILD_NAME, Problem(where=BUILD_NAME, seen=seen, expected=f"the record; {AGAIN}")
        return
    tars = record.config.get("tars")
    for name, size in tars.items() if isinstance(tars, dict) else ():
        path = directory / name
        if not path.is_file():
            yield name, Problem(where=name, seen="no such file", expected=f"a tar; {AGAIN}")
        elif path.stat().st_size != size:
            seen = f"{path.stat().st_size} bytes"
            yield name, Problem(where=name, seen=seen, expected=f"{size} as indexed; {AGAIN}")


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
