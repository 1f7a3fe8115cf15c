"""The shards of a noisy set: the source's with other sounds, and those of its twins."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avdata.build.derive import num_committed_rows
from avdata.build.derive_sample import placed_row
from avdata.build.noise_plan import NoisePlan
from avdata.errors import ShardSetError
from avdata.manifest import manifest_row
from avdata.schema import (
    AUDIO_SUFFIX,
    LOGMEL_SUFFIX,
    META_SUFFIX,
    ManifestRow,
    shard_name,
)
from avdata.shards.codec import decode_array, decode_meta, encode_meta
from avdata.shards.manifest_rows import ManifestRows
from avdata.shards.reader import ShardSet
from avdata.shards.sidecar import LogMelSums, ShardReport, read_sidecar, write_sidecar
from avdata.shards.tar_contents import TarSample, read_contents
from avdata.shards.writer import ShardWriter

_SOUND_COLUMNS = (
    "audio_codec",
    "native_sample_rate_hz",
    "native_channels",
    "native_layout",
    "ambisonic_form",
    "num_audio_forms",
    "audio_gap_s",
    "sound_missing",
    "silence_fraction",
    "clipping_fraction",
    "dual_mono",
    "mono_loss_db",
)
"""Facts of a manifest row that go with the sound."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NoiseWork:
    """A noisy set in the making."""

    source: ShardSet
    out_dir: Path
    plan: NoisePlan
    build_hash: str
    twin_keys: dict[int, str]
    """Clip -> key of its twin."""
    rows: ManifestRows
    codec: str


def twin_shards(source: ShardSet, plan: NoisePlan) -> list[np.ndarray]:
    """The clips of each added shard; they are as long as the longest of the source."""
    _, counts = np.unique(source.manifest["shard"].to_numpy(), return_counts=True)
    size = int(counts.max())
    return [plan.twins[start : start + size] for start in range(0, len(plan.twins), size)]


def write_noisy_shards(work: NoiseWork) -> Iterator[int]:
    """The source's shards, some of their clips with another sound; yields clips a shard."""
    names = np.asarray(work.source.manifest["shard"].to_pylist(), dtype=object)
    for index in range(work.source.spec.num_shards):
        shard = shard_name(index)
        clips = np.flatnonzero(names == shard)
        if num_committed_rows(work.out_dir, shard, work.build_hash) is not None:
            yield len(clips)
            continue
        report = _whole_report(work.source.directory, shard)
        rows = [_row_with_its_sound(work, clip) for clip in clips.tolist()]
        yield _write_shard(work, shard, clips.tolist(), rows, rejects_of=report)


def write_twin_shards(work: NoiseWork) -> Iterator[int]:
    """Shards of the clips that are there a second time; yields clips a shard."""
    spec, first = work.source.spec, 0
    for index, clips in enumerate(twin_shards(work.source, work.plan), spec.num_shards):
        shard, rows = shard_name(index), []
        numbered = list(enumerate(clips.tolist(), first))
        first += len(clips)
        if num_committed_rows(work.out_dir, shard, work.build_hash) is not None:
            yield len(clips)
            continue
        for number, clip in numbered:
            row = _row_with_its_sound(work, clip)
            rows.append(
                replace(
                    row,
                    shard=shard,
                    key=work.twin_keys[clip],
                    source_id=f"{row.source_id}#{work.twin_keys[clip]}",
                    source_index=spec.num_sources + number,
                    clip_index=0,
                    row_index=spec.num_listed + number,
                )
            )
        yield _write_shard(work, shard, clips.tolist(), rows, rejects_of=None)


def _row_with_its_sound(work: NoiseWork, clip: int) -> ManifestRow:
    """Row of a clip with the facts of the sound that it gets; byte ranges are not yet right."""
    own, sound = work.rows.take([clip, int(work.plan.sound_of[clip])])
    return manifest_row({**own, **{name: sound[name] for name in _SOUND_COLUMNS}})


def _write_shard(
    work: NoiseWork,
    shard: str,
    clips: list[int],
    rows: list[ManifestRow],
    *,
    rejects_of: ShardReport | None,
) -> int:
    """Write and commit one shard; `rows` are as they should be, but for their byte ranges."""
    sums: LogMelSums | None = None
    placed = []
    with ExitStack() as stack, ShardWriter(work.out_dir / shard) as writer:
        members_of = _Members(work, stack)
        for clip, row in zip(clips, rows, strict=True):
            members = members_of(clip, row)
            if LOGMEL_SUFFIX in members:
                more = LogMelSums.of(decode_array(members[LOGMEL_SUFFIX]))
                sums = more if sums is None else sums + more
            placed.append(placed_row(row, writer.add(row.key, members), work.codec))
        sha256, num_bytes = writer.commit()
    write_sidecar(
        work.out_dir,
        ShardReport(
            shard=shard,
            build_hash=work.build_hash,
            sha256=sha256,
            num_bytes=num_bytes,
            rows=placed,
            rejects=rejects_of.rejects if rejects_of else [],
            logmel_sums=sums,
        ),
    )
    return len(placed)


class _Members:
    """Members of noisy samples, read from the shards of the source."""

    def __init__(self, work: NoiseWork, stack: ExitStack) -> None:
        self._work, self._stack = work, stack
        self._open: dict[str, tuple[int, dict[str, TarSample]]] = {}

    def __call__(self, clip: int, row: ManifestRow) -> dict[str, bytes]:
        """Own members of a clip, the sound of another one where the plan says so."""
        source, sound = self._work.source, int(self._work.plan.sound_of[clip])
        handle, samples = self._shard(source.manifest["shard"][clip].as_py())
        own = samples[source.keys[clip]].members
        members = {s: os.pread(handle, at.size, at.offset) for s, at in own.items()}
        if sound != clip:
            members[AUDIO_SUFFIX] = source.read_bytes(sound, "audio")
            if LOGMEL_SUFFIX in members:
                members[LOGMEL_SUFFIX] = source.read_bytes(sound, "logmel")
        if row.key != source.keys[clip]:
            facts: Mapping[str, object] = {
                name: getattr(row, name)
                for name in ("key", "source_id", "source_index", "clip_index")
            }
            members[META_SUFFIX] = encode_meta({**decode_meta(members[META_SUFFIX]), **facts})
        return members

    def _shard(self, name: str) -> tuple[int, dict[str, TarSample]]:
        if name not in self._open:
            path = self._work.source.directory / name
            samples = {sample.key: sample for sample in read_contents(path).samples}
            self._open[name] = self._stack.enter_context(path.open("rb")).fileno(), samples
        return self._open[name]


def _whole_report(directory: Path, shard: str) -> ShardReport:
    """The sidecar of a shard, once its tar has the bytes that it states.

    Raises:
        ShardSetError: It does not, or there is no sidecar.
    """
    report, what = read_sidecar(directory, shard), "it has no sidecar"
    if report is not None:
        try:
            with (directory / shard).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == report.sha256:
                    return report
            what = "its bytes are not those that its sidecar states"
        except OSError as error:
            what = error.strerror or str(error)
    raise ShardSetError(
        f"{directory / shard}: {what}; run `avdata verify --repair {directory}` and build it again"
    )
