"""One sample opened by name: out of a shard set, or out of a tar that lies alone."""

import difflib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avdata.errors import ShardSetError
from avdata.schema import (
    AUDIO_SUFFIX,
    FRAMES_INDEX_SUFFIX,
    FRAMES_SUFFIX,
    LOGMEL_SUFFIX,
    META_SUFFIX,
    DatasetSpec,
    ManifestRow,
)
from avdata.shards.codec import decode_array, decode_audio, decode_meta
from avdata.shards.reader import DATASET_NAME, ShardSet, read_dataset_spec
from avdata.shards.sidecar import read_sidecar
from avdata.shards.tar_contents import TarSample, read_contents
from avdata.shards.verify_sample import UNDECODABLE


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSample:
    """A sample's place, and what the files around its shard say of it."""

    shard: Path
    sample: TarSample
    row: ManifestRow | None
    """None for a tar without manifest and sidecar."""
    spec: DatasetSpec | None
    """None for a tar without `dataset.json` beside it."""

    @property
    def key(self) -> str:
        return self.sample.key

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
        with self.shard.open("rb") as file:
            file.seek(where.offset)
            return file.read(where.size)

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
            f"`avdata verify {self.shard.parent}`"
        )


def open_sample(target: Path, key: str | None) -> StoredSample:
    """Sample `key`, or the first one, of a shard set or of one tar.

    Raises:
        ShardSetError: There is no such set, tar or sample.
    """
    if target.is_dir():
        return _from_set(ShardSet(target), key)
    samples = read_contents(target).samples
    found = _pick([sample.key for sample in samples], key, target)
    return _from_tar(target, samples[found])


def _from_set(shard_set: ShardSet, key: str | None) -> StoredSample:
    found = _pick(shard_set.keys, key, shard_set.directory)
    row = ManifestRow(**shard_set.manifest.slice(found, 1).to_pylist()[0])
    shard = shard_set.directory / row.shard
    for sample in read_contents(shard).samples:
        if sample.key == row.key:
            return StoredSample(shard=shard, sample=sample, row=row, spec=shard_set.spec)
    raise ShardSetError(
        f"{shard} lacks sample {row.key} of the manifest; run `avdata verify {shard_set.directory}`"
    )


def _from_tar(shard: Path, sample: TarSample) -> StoredSample:
    directory, row = shard.parent, None
    if shard.suffix == ".tar" and (shard.with_suffix(".json")).exists():
        report = read_sidecar(directory, shard.name)
        rows = report.rows if report else []
        row = next((row for row in rows if row.key == sample.key), None)
    spec = read_dataset_spec(directory) if row and (directory / DATASET_NAME).exists() else None
    return StoredSample(shard=shard, sample=sample, row=row, spec=spec)


def _pick(keys: list[str], key: str | None, where: Path) -> int:
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
