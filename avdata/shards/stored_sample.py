"""One sample opened by name: out of a shard set, or out of a tar that lies alone."""

import difflib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avdata.errors import ShardSetError
from avdata.manifest import manifest_row
from avdata.schema import (
    AUDIO_SUFFIX,
    FIELDS,
    FRAMES_INDEX_SUFFIX,
    FRAMES_SUFFIX,
    LOGMEL_SUFFIX,
    META_SUFFIX,
    DatasetSpec,
    ManifestRow,
    sidecar_name,
)
from avdata.shards.codec import decode_array, decode_audio, decode_meta
from avdata.shards.foreign_set import is_foreign
from avdata.shards.index_contents import read_foreign_contents
from avdata.shards.reader import DATASET_NAME, ShardSet, read_dataset_spec
from avdata.shards.sidecar import read_sidecar
from avdata.shards.tar_contents import TarSample, read_contents_at, read_contents_between
from avdata.shards.verify_frames import UNDECODABLE
from avdata.shards.writer import TAR_BLOCK_BYTES, TAR_HEADER_BYTES
from avdata.storage import LocalFolder, Location, open_location


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSample:
    """A sample's place, and what the files around its shard say of it."""

    location: Location
    """Folder of the shard."""
    shard_name: str
    sample: TarSample
    row: ManifestRow | None
    """None for a tar without manifest and sidecar."""
    spec: DatasetSpec | None
    """None for a tar without `dataset.json` beside it."""

    @property
    def key(self) -> str:
        return self.sample.key

    @property
    def shard(self) -> str:
        """Path or URL of the shard."""
        return self.location.place(self.shard_name)

    def has(self, suffix: str) -> bool:
        """Whether the sample has a member `{key}.{suffix}`."""
        return suffix in self.sample.members

    def read(self, suffix: str) -> bytes:
        """Bytes of the member `{key}.{suffix}`.

        Raises:
            ShardSetError: There is no such member.
        """
        if suffix not in self.sample.members:
            raise ShardSetError(
                f"{self.shard}: sample {self.key} has no {suffix}; it has "
                f"{list(self.sample.members)}"
            )
        where = self.sample.members[suffix]
        return self.location.read_range(self.shard_name, where.offset, where.size)

    def read_meta(self) -> dict[str, object]:
        """Facts of the sample; empty when it carries none."""
        if not self.has(META_SUFFIX):
            return {}
        try:
            return decode_meta(self.read(META_SUFFIX))
        except ValueError as error:
            raise self._damaged(META_SUFFIX, error) from None

    def read_jpegs(self) -> list[bytes]:
        """JPEGs of all frames."""
        data = self.read(FRAMES_SUFFIX)
        try:
            offsets = decode_array(self.read(FRAMES_INDEX_SUFFIX)).tolist()
        except UNDECODABLE as error:
            raise self._damaged(FRAMES_INDEX_SUFFIX, error) from None
        return [data[a:b] for a, b in itertools.pairwise(offsets)]

    def read_audio(self) -> tuple[np.ndarray, int]:
        """Sound as int16 (c, n), and its rate in Hz."""
        try:
            return decode_audio(self.read(AUDIO_SUFFIX))
        except UNDECODABLE as error:
            raise self._damaged(AUDIO_SUFFIX, error) from None

    def read_logmel(self) -> np.ndarray:
        """Log-mel, (c, t, f)."""
        try:
            logmel = decode_array(self.read(LOGMEL_SUFFIX))
        except UNDECODABLE as error:
            raise self._damaged(LOGMEL_SUFFIX, error) from None
        if logmel.ndim != 3 or not logmel.size:
            raise self._damaged(LOGMEL_SUFFIX, ValueError(f"shape {logmel.shape}, not (c, t, f)"))
        return logmel

    def _damaged(self, suffix: str, error: Exception) -> ShardSetError:
        return ShardSetError(
            f"{self.shard}: {self.key}.{suffix} does not decode ({error}); run "
            f"`avdata verify {self.location}`"
        )


class ShardPlace(NamedTuple):
    """Where one tar is."""

    location: Location
    name: str


def open_sample(target: Path | str, key: str | None) -> StoredSample:
    """Sample `key`, or the first one, of a shard set or of one tar.

    Raises:
        ShardSetError: There is no such set, tar or sample.
    """
    if is_set(target):
        return _from_set(ShardSet(target), key)
    location, name = shard_place(target)
    samples = read_contents_at(location, name).samples
    found = _pick([sample.key for sample in samples], key, location.place(name))
    return _from_tar(location, name, samples[found])


def is_set(target: Path | str) -> bool:
    """Whether a path or URL means a shard set, not one tar."""
    return target.is_dir() if isinstance(target, Path) else not target.endswith(".tar")


def shard_place(target: Path | str) -> ShardPlace:
    """Folder and name of one tar, by path or URL."""
    if isinstance(target, Path):
        return ShardPlace(LocalFolder(target.parent), target.name)
    folder, _, name = target.rpartition("/")
    return ShardPlace(open_location(folder), name)


def _from_set(shard_set: ShardSet, key: str | None) -> StoredSample:
    location = shard_set.location
    found = _pick(shard_set.keys, key, str(location))
    row = manifest_row(shard_set.manifest.slice(found, 1).to_pylist()[0])
    for sample in _samples_around(location, row, is_foreign(shard_set.spec)):
        # of third-party tars the manifest may have another key, and names the member in any case
        names = {f"{row.shard}:{sample.key}.{suffix}" for suffix in sample.members}
        if row.media in names or sample.key == row.key:
            return StoredSample(
                location=location,
                shard_name=row.shard,
                sample=sample,
                row=row,
                spec=shard_set.spec,
            )
    raise ShardSetError(
        f"{location.place(row.shard)} lacks sample {row.key} of the manifest; run "
        f"`avdata verify {location}`"
    )


def _samples_around(location: Location, row: ManifestRow, foreign: bool) -> tuple[TarSample, ...]:
    """Samples of the row's shard, or only the row's where requests count."""
    if foreign and isinstance(location, LocalFolder):
        return read_foreign_contents(location.path / row.shard).samples
    if location.is_remote:
        members = [
            (getattr(row, f"{field}_offset_bytes"), getattr(row, f"{field}_bytes"))
            for field in FIELDS
            if getattr(row, f"{field}_bytes")
        ]
        start = min(offset for offset, _ in members) - TAR_HEADER_BYTES
        stop = max(offset + size + -size % TAR_BLOCK_BYTES for offset, size in members)
        try:
            return read_contents_between(location, row.shard, start, stop).samples
        except ShardSetError:  # a tar of others, with longer headers
            pass
    return read_contents_at(location, row.shard).samples


def _from_tar(location: Location, name: str, sample: TarSample) -> StoredSample:
    row = None
    if name.endswith(".tar") and location.size(sidecar_name(name)) is not None:
        report = read_sidecar(location, name)
        rows = report.rows if report else []
        row = next((row for row in rows if row.key == sample.key), None)
    has_spec = row is not None and location.size(DATASET_NAME) is not None
    return StoredSample(
        location=location,
        shard_name=name,
        sample=sample,
        row=row,
        spec=read_dataset_spec(location) if has_spec else None,
    )


def _pick(keys: list[str], key: str | None, where: str) -> int:
    if not keys:
        raise ShardSetError(f"{where} holds no samples; there is nothing to show")
    if key is None:
        return 0
    if key in keys:
        return keys.index(key)
    near = difflib.get_close_matches(key, keys[:100_000], n=3, cutoff=0.4)
    inside = [name for name in keys if key in name][:3]
    nearest = list(dict.fromkeys([*inside, *near])) or keys[:3]
    raise ShardSetError(
        f"{where} has no sample {key!r} among its {len(keys)}; the closest keys are "
        f"{', '.join(nearest)}"
    )
