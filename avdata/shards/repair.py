"""Take away what marks damaged shards as built, so that the next build makes just them again.

A shard counts as built by its sidecar, and a set as finished by its `dataset.json`: these are all
that a repair deletes. Media, tars and the sidecars of good shards stay as they are.

A sidecar is believed when its checksum is right and it agrees with its tar; else its shard is built
again. Where all of them are believed and the tables are at fault, the tables alone are written
again, at once and without media. (Sidecars of schema version 2 have no checksum: these are believed
as long as no row of a readable table contradicts them.)
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from avdata.atomic_writing import sync_directory
from avdata.errors import ShardSetError
from avdata.locking import folder_lock
from avdata.manifest import MANIFEST_NAME, REJECTS_NAME
from avdata.schema import BuildRecord, DatasetSpec, check_schema_version, shard_name, sidecar_name
from avdata.shards.build_record import BUILD_NAME, read_build_record
from avdata.shards.foreign_set import INDEX_MARK
from avdata.shards.problem import Problem
from avdata.shards.reader import DATASET_NAME, read_dataset_spec
from avdata.shards.set_tables import write_tables
from avdata.shards.sidecar import FIRST_WITH_CHECKSUM, read_sidecar
from avdata.shards.verify import VerifyReport, verify_set
from avdata.shards.verify_shard import NO_ROW, ShardCheck, check_shard
from avdata.shards.verify_tables import check_spec


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """What a set needs to become whole."""

    directory: Path
    problems: tuple[Problem, ...]
    """What was found."""
    shards: tuple[str, ...]
    """Shards to build again."""
    delete: tuple[Path, ...]
    """Markers to take away, in this order."""
    rewrite_tables: bool
    """All shards are whole, and the tables are to be written again from the sidecars."""
    strangers: tuple[Problem, ...]
    """Shards that are not of the set: nothing is known of them, so they are not touched."""
    build: BuildRecord | None
    """What the build was asked for; None when `build.json` is missing or damaged."""


def plan_repair(
    directory: Path,
    *,
    decode: bool = True,
    num_workers: int | None = None,
    on_sample: Callable[[], object] = lambda: None,
) -> Repair:
    """What `repair` would do to the set in `directory`, finished or not; nothing is changed.

    Raises:
        ShardSetError: The folder holds no shard set, one of another schema version, or an index.
    """
    build = read_build_record(directory)
    if build is not None and INDEX_MARK in build.config:
        raise ShardSetError(
            f"{directory} is an index of tars that others made: nothing of it is repaired; run "
            "`avdata index` again when the tars are whole"
        )
    spec, damage = _read_spec(directory, build)
    rewrite_tables = False
    strangers: tuple[Problem, ...] = ()
    if spec is None:
        found = dict(_wrong_markers(directory))
        problems = (damage, *found.values()) if damage else tuple(found.values())
        shards = tuple(found)
    else:
        report = verify_set(directory, decode=decode, num_workers=num_workers, on_sample=on_sample)
        problems, strangers = report.problems, _strangers(report, spec)
        shards = tuple(
            shard
            for shard, wrong in report.of_shards.items()
            if _contradicts_tar(directory, shard, spec, decode)
            or (spec.schema_version < FIRST_WITH_CHECKSUM and _contradicts_tables(wrong))
        )
        rewrite_tables = (
            len(problems) > len(strangers) and not shards and _spec_fits_sidecars(directory, spec)
        )
    markers = [directory / sidecar_name(shard) for shard in shards]
    if len(problems) > len(strangers) and not rewrite_tables:
        markers.insert(0, directory / DATASET_NAME)  # first: without it the set is not finished
    return Repair(
        directory=directory,
        problems=problems,
        shards=shards,
        delete=tuple(path for path in markers if path.exists()),
        rewrite_tables=rewrite_tables,
        strangers=strangers,
        build=build,
    )


def repair(plan: Repair) -> tuple[Problem, ...]:
    """Delete the markers of `plan`, or write its tables again; return what is wrong after that.

    That is something only where sidecars and tables state the same impossible values.

    Raises:
        ShardSetError: A build is at work in the folder.
    """
    busy = ShardSetError(f"a build is at work in {plan.directory}; repair it when that has ended")
    with folder_lock(plan.directory, busy=busy):
        for path in plan.delete:
            path.unlink(missing_ok=True)
        if plan.rewrite_tables:
            spec = read_dataset_spec(plan.directory)
            names = _shard_names(spec)
            write_tables(
                plan.directory,
                ((name, None) for name in names),
                (read_sidecar(plan.directory, name) for name in names),
                spec.kept_columns,
            )
        sync_directory(plan.directory)
    if not plan.rewrite_tables:
        return ()
    return tuple(
        p for p in verify_set(plan.directory, decode=False).problems if p not in plan.strangers
    )


def _shard_names(spec: DatasetSpec) -> list[str]:
    return [shard_name(index) for index in range(spec.num_shards)]


def _spec_fits_sidecars(directory: Path, spec: DatasetSpec) -> bool:
    """Whether `dataset.json` is whole and has the counts of the sidecars, which are all there."""
    num_clips = num_rejected = num_columns = 0
    for name in _shard_names(spec):
        report = read_sidecar(directory, name)
        assert report is not None, f"{name} was found to agree with its sidecar"
        num_clips += len(report.rows)
        num_rejected += len(report.rejects)
        num_columns += report.logmel_sums.num_columns if report.logmel_sums else 0
    counted = spec.logmel_statistics.num_columns if spec.logmel_statistics else 0
    return not list(check_spec(spec)) and (num_clips, num_rejected, num_columns) == (
        spec.num_clips,
        spec.num_rejected,
        counted,
    )


def _read_spec(
    directory: Path, build: BuildRecord | None
) -> tuple[DatasetSpec | None, Problem | None]:
    """The spec of a finished set; else None, and what is wrong with a spec that is there."""
    try:
        spec = read_dataset_spec(directory)
        if build is None or spec.build_hash == build.build_hash:
            return spec, None
        return None, Problem(
            where=f"{DATASET_NAME} build_hash",
            seen=spec.build_hash,
            expected=f"{build.build_hash} as in {BUILD_NAME}",
        )
    except ShardSetError as error:
        path = directory / DATASET_NAME
        _refuse_other_version(path)
        if build is None:
            raise ShardSetError(
                f"{error} There is no readable {BUILD_NAME} either, so nothing can be repaired"
            ) from None
        check_schema_version(build.schema_version, where=str(directory / BUILD_NAME))
        if not path.exists():
            return None, None
        return None, Problem(where=DATASET_NAME, seen=str(error), expected="a readable spec")


def _refuse_other_version(path: Path) -> None:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    if isinstance(data, dict) and isinstance(data.get("schema_version"), int):
        check_schema_version(data["schema_version"], where=str(path))


def _wrong_markers(directory: Path) -> Iterator[tuple[str, Problem]]:
    """Shards of an unfinished set whose sidecar is damaged or tells of another tar."""
    for path in sorted(directory.glob("shard-*.json")):
        shard = f"{path.stem}.tar"
        if problem := _problem_of_marker(directory, shard):
            yield shard, problem


def _problem_of_marker(directory: Path, shard: str) -> Problem | None:
    name = sidecar_name(shard)
    try:
        report = read_sidecar(directory, shard)
    except ShardSetError as error:
        return Problem(where=name, seen=str(error), expected="a readable sidecar")
    assert report is not None, f"{name} was just listed"
    try:
        with (directory / shard).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Problem(where=shard, seen=error.strerror or str(error), expected=f"as in {name}")
    if sha256 == report.sha256:
        return None
    return Problem(where=shard, seen=f"sha256 {sha256}", expected=f"{report.sha256} as in {name}")


def _contradicts_tables(problems: tuple[Problem, ...]) -> bool:
    """Whether tables and sidecar tell different things of a row; one of them is wrong."""
    return any(
        p.where.startswith((MANIFEST_NAME, REJECTS_NAME)) and p.seen != NO_ROW for p in problems
    )


def _contradicts_tar(directory: Path, shard: str, spec: DatasetSpec, decode: bool) -> bool:
    """Whether the sidecar is not there or does not fit its tar, whatever the tables say."""
    check = ShardCheck(
        directory=directory, shard=shard, spec=spec, rows=None, find_rejects=None, decode=decode
    )
    return bool(check_shard(check, lambda: None))


def _strangers(report: VerifyReport, spec: DatasetSpec) -> tuple[Problem, ...]:
    own = set(_shard_names(spec))
    return tuple(p for p in report.of_set if p.where.endswith(".tar") and p.where not in own)
