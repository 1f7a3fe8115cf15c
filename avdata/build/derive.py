"""A shard set -> a set with other features of the same clips; neither video nor media are touched.

Running it again does only what is missing: a shard counts as made by its sidecar.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from avdata.atomic_writing import remove_partial_files, write_atomically
from avdata.build.derive_config import DeriveConfig, derive_config, derived_build_hash
from avdata.build.derive_shard import DeriveJob, derive_shard
from avdata.build.plan import software_versions
from avdata.errors import BuildError, ShardSetError
from avdata.features.logmel import use_one_thread
from avdata.locking import folder_lock
from avdata.schema import BuildRecord, DatasetSpec, shard_name
from avdata.shards.build_record import BUILD_NAME, DERIVED, read_build_record, settings_of_files
from avdata.shards.foreign_set import is_foreign
from avdata.shards.reader import DATASET_NAME, read_dataset_spec
from avdata.shards.set_tables import SetTotals, write_tables
from avdata.shards.sidecar import read_sidecar


@dataclass(frozen=True, kw_only=True, slots=True)
class DeriveSummary:
    """What a derived set came to."""

    ok: int
    rejected: int
    reasons: dict[str, int]
    shards: int
    built_shards: int
    """Shards that this run made; the others were there."""
    bytes: int
    seconds: float


def derive_set(
    source_dir: Path,
    out_dir: Path,
    assignments: Sequence[str],
    *,
    num_workers: int,
    on_rows: Callable[[int], object] = lambda count: None,
) -> DeriveSummary:
    """Make what is missing of the set in `out_dir`, with `num_workers` processes.

    `assignments` are settings as in `derive_config`.
    `on_rows` hears how many more listed clips are settled, also of shards that were there.

    Raises:
        ConfigError: The settings are not valid, or stored sound cannot give them.
        ShardSetError: The source is not finished, or a shard of it is damaged.
        BuildError: `out_dir` holds another set, or another run works in it.
    """
    started = time.monotonic()
    source = read_dataset_spec(source_dir)
    if is_foreign(source):
        raise ShardSetError(
            f"{source_dir} is an index of tars that others made; derive takes sets that "
            "`avdata build` or `avdata derive` made"
        )
    config = derive_config(source, assignments)
    if out_dir.resolve() == source_dir.resolve():
        raise BuildError(f"--out {out_dir} is the set itself; give another folder")
    build_hash = derived_build_hash(config, source)
    shards = [shard_name(index) for index in range(source.num_shards)]
    busy = BuildError(f"another run is at work in {out_dir}; wait for it, or give another --out")
    with folder_lock(out_dir, busy=busy):
        made_of = read_build_record(source_dir)
        record = BuildRecord(
            build_hash=build_hash,
            listing_name=source.listing_name,
            listing_sha256=made_of.listing_sha256 if made_of else "",
            num_listed=source.num_listed,
            num_shards=source.num_shards,
            config={
                **(settings_of_files(made_of) if made_of else {}),
                **config.model_dump(mode="json"),
                DERIVED: {"path": str(source_dir.absolute()), "set": list(assignments)},
            },
        )
        claim_folder(out_dir, record)
        remove_partial_files(out_dir)
        jobs = []
        for shard in shards:
            num_rows = num_committed_rows(out_dir, shard, build_hash)
            if num_rows is None:
                jobs.append(
                    DeriveJob(
                        source_dir=source_dir.absolute(),
                        source=source,
                        out_dir=out_dir.absolute(),
                        shard=shard,
                        config=config,
                        build_hash=build_hash,
                    )
                )
            else:
                on_rows(num_rows)
        if jobs:
            (out_dir / DATASET_NAME).unlink(missing_ok=True)
            run = _in_processes if num_workers > 1 and len(jobs) > 1 else _in_this_process
            for num_rows in run(jobs, min(num_workers, len(jobs))):
                on_rows(num_rows)
        sidecars = (read_sidecar(out_dir, shard) for shard in shards)
        totals = write_tables(
            out_dir, ((shard, None) for shard in shards), sidecars, source.kept_columns
        )
        spec = _derived_spec(source, config, totals, build_hash)
        write_atomically(out_dir / DATASET_NAME, spec.model_dump_json(indent=1).encode())
    return DeriveSummary(
        ok=totals.num_clips,
        rejected=totals.num_rejected,
        reasons=totals.reasons,
        shards=len(shards),
        built_shards=len(jobs),
        bytes=totals.num_bytes,
        seconds=round(time.monotonic() - started, 3),
    )


def claim_folder(out_dir: Path, record: BuildRecord) -> None:
    """Write `build.json`, unless the folder holds something else."""
    path = out_dir / BUILD_NAME
    there = read_build_record(out_dir)
    if there is None and (path.exists() or any(out_dir.glob("*.tar"))):
        raise BuildError(
            f"{out_dir} holds tar files and no readable {BUILD_NAME}; give an empty or a new --out"
        )
    if there is not None and there.build_hash != record.build_hash:
        raise BuildError(
            f"{out_dir} holds another set: other settings, another source, one with other clips "
            "than now, or other software versions. Repeat that command to resume it, or give "
            "another --out"
        )
    write_atomically(path, record.model_dump_json(indent=1).encode())


def num_committed_rows(out_dir: Path, shard: str, build_hash: str) -> int | None:
    """Rows of a shard that is in place; None when it is to be made."""
    try:
        report = read_sidecar(out_dir, shard)
    except ShardSetError:
        return None
    if report is None or report.build_hash != build_hash:
        return None
    tar = out_dir / shard
    if not tar.is_file() or tar.stat().st_size != report.num_bytes:
        return None
    return len(report.rows) + len(report.rejects)


def _derived_spec(
    source: DatasetSpec, config: DeriveConfig, totals: SetTotals, build_hash: str
) -> DatasetSpec:
    needs_sound = {"audio", "logmel"} & set(config.fields)
    return source.model_copy(
        update={
            "fields": config.fields,
            "video": source.video if "frames" in config.fields else None,
            "audio": config.audio if needs_sound else None,
            "logmel": config.logmel,
            "logmel_statistics": totals.logmel_sums.statistics() if totals.logmel_sums else None,
            "num_clips": totals.num_clips,
            "num_rejected": totals.num_rejected,
            "build_hash": build_hash,
            "software": _software(source),
        }
    )


def _software(source: DatasetSpec) -> dict[str, str]:
    """Versions that shaped the source, and those of now where they are others."""
    now = software_versions()
    changed = {f"derive: {k}": v for k, v in now.items() if source.software.get(k) != v}
    return {**source.software, **changed}


def _in_this_process(jobs: list[DeriveJob], num_workers: int) -> Iterator[int]:
    use_one_thread()
    for job in jobs:
        yield derive_shard(job)


def _in_processes(jobs: list[DeriveJob], num_workers: int) -> Iterator[int]:
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=spawn, initializer=_start_worker)
    try:
        for done in as_completed([pool.submit(derive_shard, job) for job in jobs]):
            yield done.result()
    except BrokenProcessPool:
        raise BuildError(
            "a worker process died, perhaps for lack of memory; run the same command again, with "
            "fewer --workers"
        ) from None
    finally:  # after an interrupt too: shards under way are finished, the others dropped
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread a process; Ctrl-C is left to the parent, which lets shards in hand be finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_one_thread()
