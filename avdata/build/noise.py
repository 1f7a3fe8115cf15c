"""A shard set -> the same set with known noise: sounds that changed places, clips that are twice.

::

    SET    shard-000000.tar ... shard-000007.tar
    NOISY  shard-000000.tar ... shard-000007.tar    some clips with the sound of another one
           shard-000008.tar ...                     the clips that are there a second time
           noise.parquet                            what was done to each clip

A noisy set is whole: sidecars, manifest and tars agree, so every reader takes it as it is, also
those that know nothing of avdata. Only bytes are moved, nothing is encoded anew. Running it again
does only what is missing: a shard counts as made by its sidecar.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from avdata.atomic_writing import atomic_file, remove_partial_files, write_atomically
from avdata.build.derive import claim_folder
from avdata.build.derive_config import content_facts
from avdata.build.noise_plan import ClipFacts, NoiseConfig, NoisePlan, plan_noise
from avdata.build.noise_shard import (
    NoiseWork,
    twin_shards,
    write_noisy_shards,
    write_twin_shards,
)
from avdata.errors import BuildError, ShardSetError
from avdata.locking import folder_lock
from avdata.schema import MAX_KEY_CHARS, SCHEMA_VERSION, BuildRecord, DatasetSpec, shard_name
from avdata.shards.build_record import NOISY, read_build_record, settings_of_files
from avdata.shards.foreign_set import is_foreign
from avdata.shards.manifest_rows import ManifestRows
from avdata.shards.reader import DATASET_NAME, ShardSet
from avdata.shards.set_tables import SetTotals, write_tables
from avdata.shards.sidecar import read_sidecar

NOISE_NAME = "noise.parquet"
NOISE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("swapped", pa.bool_(), nullable=False),
        pa.field("sound_of", pa.string(), nullable=False),
        pa.field("twin", pa.string()),
    ]
)
"""One row a clip in the order of the manifest: does it have the sound of another clip, whose (by
the keys of the set it was made of), and which clip of the set is the same one again, if any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseSummary:
    """What a noisy set came to."""

    clips: int
    swapped: int
    duplicated: int
    shards: int
    bytes: int


def make_noisy_set(
    source_dir: Path,
    out_dir: Path,
    config: NoiseConfig,
    *,
    on_plan: Callable[[int], object] = lambda num_clips: None,
    on_rows: Callable[[int], object] = lambda count: None,
) -> NoiseSummary:
    """Make what is missing of the set in `out_dir`; the same settings make the same bytes.

    `on_plan` hears how many clips the set will have, `on_rows` how many more of them are written,
    also in shards that were there.

    Raises:
        ConfigError: The settings mean no noise, or none is possible.
        ShardSetError: The source is not finished, damaged, or an index of tars of others.
        BuildError: `out_dir` holds another set, or another run works in it.
    """
    source = ShardSet(source_dir)
    if is_foreign(source.spec):
        raise ShardSetError(
            f"{source_dir} is an index of tars that others made, which hold sound and picture in "
            "one file; noise takes sets that `avdata build` made"
        )
    if not {"frames", "audio"} <= set(source.spec.fields):
        raise ShardSetError(
            f"{source_dir} has fields {list(source.spec.fields)}; noise needs frames and audio"
        )
    if out_dir.resolve() == source_dir.resolve():
        raise BuildError(f"--out {out_dir} is the set itself; give another folder")
    plan = plan_noise(_facts(source), config, where=str(source_dir))
    on_plan(source.spec.num_clips + len(plan.twins))
    build_hash = noisy_build_hash(config, source.spec)
    busy = BuildError(f"another run is at work in {out_dir}; wait for it, or give another --out")
    with folder_lock(out_dir, busy=busy):
        made_of = read_build_record(source_dir)
        num_shards = source.spec.num_shards + len(twin_shards(source, plan))
        record = BuildRecord(
            build_hash=build_hash,
            listing_name=source.spec.listing_name,
            listing_sha256=made_of.listing_sha256 if made_of else "",
            num_listed=source.spec.num_listed + len(plan.twins),
            num_shards=num_shards,
            config={
                **(settings_of_files(made_of) if made_of else {}),
                NOISY: {"path": str(source_dir.absolute()), **config.model_dump(mode="json")},
            },
        )
        claim_folder(out_dir, record)
        remove_partial_files(out_dir)
        (out_dir / DATASET_NAME).unlink(missing_ok=True)
        work = NoiseWork(
            source=source,
            out_dir=out_dir,
            plan=plan,
            build_hash=build_hash,
            twin_keys=_twin_keys(source, plan),
            rows=ManifestRows(source.location, source.manifest["shard"]),
            codec=source.spec.video.codec if source.spec.video else "jpeg",
        )
        for num_rows in (*write_noisy_shards(work), *write_twin_shards(work)):
            on_rows(num_rows)
        totals = _finish(work, num_shards)
    return NoiseSummary(
        clips=totals.num_clips,
        swapped=plan.num_swapped,
        duplicated=len(plan.twins),
        shards=num_shards,
        bytes=totals.num_bytes,
    )


def _facts(source: ShardSet) -> ClipFacts:
    table = source.manifest
    lengths = [table[name].to_numpy() for name in ("num_audio_samples", "num_logmel_columns")]
    return ClipFacts(
        source_index=table["source_index"].to_numpy(),
        split=table["split"].to_pylist(),
        sound_length=np.stack(lengths, axis=1),
    )


def noisy_build_hash(config: NoiseConfig, source: DatasetSpec) -> str:
    """Hash of the source's build and the settings: equal hashes, equal shards."""
    facts = {
        "schema_version": SCHEMA_VERSION,
        "made_of": content_facts(source),
        NOISY: config.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _twin_keys(source: ShardSet, plan: NoisePlan) -> dict[int, str]:
    """A new key for each clip that is there twice."""
    taken, keys = set(source.keys), {}
    for clip in plan.twins.tolist():
        stem, number = source.keys[clip], 0
        while (key := _suffixed(stem, f"-twin{number or ''}")) in taken:
            number += 1
        taken.add(key)
        keys[clip] = key
    return keys


def _suffixed(stem: str, suffix: str) -> str:
    return stem[: MAX_KEY_CHARS - len(suffix)] + suffix


def _finish(work: NoiseWork, num_shards: int) -> SetTotals:
    """Write the tables and, last of all, the spec."""
    shards = [shard_name(index) for index in range(num_shards)]
    totals = write_tables(
        work.out_dir,
        ((shard, None) for shard in shards),
        (read_sidecar(work.out_dir, shard) for shard in shards),
        work.source.spec.kept_columns,
    )
    _write_truth(work)
    spec, num_twins = work.source.spec, len(work.plan.twins)
    noisy = spec.model_copy(
        update={
            "num_shards": num_shards,
            "num_listed": spec.num_listed + num_twins,
            "num_clips": totals.num_clips,
            "num_sources": spec.num_sources + num_twins,
            "logmel_statistics": totals.logmel_sums.statistics() if totals.logmel_sums else None,
            "build_hash": work.build_hash,
        }
    )
    write_atomically(work.out_dir / DATASET_NAME, noisy.model_dump_json(indent=1).encode())
    return totals


def _write_truth(work: NoiseWork) -> None:
    keys, sound_of = work.source.keys, work.plan.sound_of.tolist()
    own = [(clip, keys[clip], work.twin_keys.get(clip)) for clip in range(len(keys))]
    again = [(clip, key, keys[clip]) for clip, key in work.twin_keys.items()]
    table = pa.Table.from_pylist(
        [
            {
                "key": key,
                "swapped": sound_of[clip] != clip,
                "sound_of": keys[sound_of[clip]],
                "twin": twin,
            }
            for clip, key, twin in (*own, *again)
        ],
        schema=NOISE_SCHEMA,
    )
    with atomic_file(work.out_dir / NOISE_NAME) as file:
        pq.write_table(table, file)
