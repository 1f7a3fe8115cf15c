"""Somebody else's WebDataset tars -> manifest, rejects and spec: a shard set without a copy.

::

    DIR/00000.tar DIR/train/00001.tar ...   stay as they are; the folder below DIR is the split
    OUT/manifest.parquet                    `shard` is the path of a tar, relative to OUT
    OUT/rejects.parquet  OUT/dataset.json  OUT/build.json

Nothing is decoded but one picture of each video: what does not decode further on is found by
`avtrain`, which then names the sample.
"""

import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import av

from avdata.atomic_writing import write_atomically
from avdata.cores import available_cores
from avdata.errors import FailureReason, ShardSetError
from avdata.locking import folder_lock
from avdata.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    TableWriter,
)
from avdata.schema import SCHEMA_VERSION, BuildRecord, DatasetSpec, ManifestRow, RejectRow
from avdata.shards.build_record import BUILD_NAME
from avdata.shards.foreign_set import INDEX_MARK, INDEX_SOFTWARE
from avdata.shards.index_sample import (
    FrameKind,
    IndexConfig,
    SamplePlace,
    frame_kind,
    index_sample,
)
from avdata.shards.reader import DATASET_NAME
from avdata.shards.tar_contents import read_contents

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
END_OF_TAR_BYTES = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSummary:
    """What an index came to: ``samples == ok + rejected``."""

    samples: int
    ok: int
    rejected: int
    reasons: dict[str, int]
    """Rejected samples by reason, most frequent first."""
    tars: int
    frames: str
    """Codec of the frames: copy or jpeg."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tar:
    """One tar of the folder."""

    path: Path
    shard: str
    split: str | None
    num_bytes: int


def index_tars(
    directory: Path,
    out: Path,
    config: IndexConfig,
    *,
    num_workers: int | None = None,
    on_tar: Callable[[], object] = lambda: None,
) -> IndexSummary:
    """Make the tars below `directory` a shard set in `out`.

    Raises:
        ShardSetError: There are no tars, one is compressed or damaged, or `out` holds a build.
    """
    tars = find_tars(directory, out)
    busy = ShardSetError(f"another `avdata index` is at work in {out}; wait for it")
    with folder_lock(out, busy=busy):
        _check_out(out)
        (out / DATASET_NAME).unlink(missing_ok=True)
        kind = _first_kind(tars) if "frames" in config.fields else "video"
        return _write_set(directory, out, config, tars, kind, num_workers, on_tar)


def find_tars(directory: Path, out: Path) -> list[_Tar]:
    """All tars below `directory`, by path.

    Raises:
        ShardSetError: There are none, or one is compressed.
    """
    if not directory.is_dir():
        raise ShardSetError(f"{directory} is no folder; give the folder of WebDataset tars")
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    packed = [path for path in paths if path.name.endswith(COMPRESSED)]
    if packed:
        raise ShardSetError(
            f"{packed[0]} is compressed ({len(packed)} such files): samples in it cannot be read "
            "by their place. Unpack it to .tar (as by gunzip); media do not get smaller by it"
        )
    tars = [path for path in paths if path.suffix == ".tar"]
    if not tars:
        raise ShardSetError(f"{directory} holds no .tar files; give the folder of WebDataset tars")
    found = []
    for path in tars:
        inside = path.relative_to(directory)
        found.append(
            _Tar(
                path=path,
                shard=Path(os.path.relpath(path.absolute(), out.absolute())).as_posix(),
                split=inside.parts[0] if len(inside.parts) > 1 else None,
                num_bytes=path.stat().st_size,
            )
        )
    return found


def _check_out(out: Path) -> None:
    path = out / BUILD_NAME
    if not path.exists():
        return
    try:
        record = BuildRecord.model_validate_json(path.read_bytes())
    except ValueError:
        record = None
    if record is None or INDEX_MARK not in record.config:
        raise ShardSetError(
            f"{out} holds a build of `avdata build`, which needs no index; give another --out"
        )


def _first_kind(tars: list[_Tar]) -> FrameKind:
    """What the frames of the set are: that of the first sample that has some."""
    for tar in tars:
        for sample in read_contents(tar.path).samples:
            if kind := frame_kind(sample):
                return kind
    raise ShardSetError(
        f"no sample of {tars[0].path.parent} has frames: neither mp4, mkv, webm, mov, avi nor jpg, "
        "png members; for sound alone give --fields audio"
    )


def _index_tar(tar: _Tar, config: IndexConfig, kind: FrameKind) -> list[ManifestRow | RejectRow]:
    """Rows of one tar; `row_index` counts from its first sample."""
    contents = read_contents(tar.path)
    last = max(
        (m.offset + m.size for sample in contents.samples for m in sample.members.values()),
        default=0,
    )
    if last + END_OF_TAR_BYTES > tar.num_bytes:
        raise ShardSetError(f"{tar.path} has no end mark: it was cut or is still being written")
    rows: list[ManifestRow | RejectRow] = []
    descriptor = os.open(tar.path, os.O_RDONLY)
    try:
        for index, sample in enumerate(contents.samples):
            place = SamplePlace(key=sample.key, shard=tar.shard, split=tar.split, row_index=index)
            rows.append(index_sample(sample, place, config, descriptor, kind))
    finally:
        os.close(descriptor)
    return rows


def _in_order(
    tars: list[_Tar], config: IndexConfig, kind: FrameKind, num_workers: int
) -> Iterator[tuple[_Tar, list[ManifestRow | RejectRow]]]:
    """Rows of all tars, in order, with few of them in memory."""
    pending: deque[tuple[_Tar, Future[list[ManifestRow | RejectRow]]]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for tar in tars:
                pending.append((tar, pool.submit(_index_tar, tar, config, kind)))
                if len(pending) > 2 * num_workers:
                    first, rows = pending.popleft()
                    yield first, rows.result()
            while pending:
                first, rows = pending.popleft()
                yield first, rows.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Numbering:
    """Gives rows their place in the whole set."""

    def __init__(self) -> None:
        self.num_rows = 0
        self._keys: set[str] = set()
        self._sources: dict[str, int] = {}
        self._clips: Counter[str] = Counter()

    @property
    def num_sources(self) -> int:
        return len(self._sources)

    def number(self, tar: _Tar, row: ManifestRow | RejectRow) -> ManifestRow | RejectRow:
        """The row with its numbers; its key gets the tar's name where it was there before."""
        key = row.key or ""
        if key in self._keys:
            key = f"{Path(tar.shard).with_suffix('').as_posix().lstrip('./')}/{key}"
        source = key if row.source_id == row.key else row.source_id or key
        index, line = self.num_rows, self.num_rows + 1
        self.num_rows += 1
        if key in self._keys and isinstance(row, ManifestRow):
            return _repeated(row, row_index=index)
        self._keys.add(key)
        source_index = self._sources.setdefault(source, len(self._sources))
        clip_index = self._clips[source]
        self._clips[source] += 1
        if isinstance(row, RejectRow):
            return replace(row, key=key, source_id=source, row_index=index, line_number=line)
        return replace(
            row,
            key=key,
            source_id=source,
            source_index=source_index,
            clip_index=clip_index,
            row_index=index,
            line_number=line,
        )


def _repeated(row: ManifestRow, *, row_index: int) -> RejectRow:
    return RejectRow(
        row_index=row_index,
        line_number=row_index + 1,
        source_id=row.source_id,
        key=row.key,
        path=row.shard,
        listed_start_s=None,
        listed_end_s=None,
        labels=row.labels,
        split=row.split,
        reason=str(FailureReason.DUPLICATE),
        message=f"key {row.key!r} is in {row.shard} more than once, or its members do not adjoin",
        traceback=None,
    )


def _write_set(
    directory: Path,
    out: Path,
    config: IndexConfig,
    tars: list[_Tar],
    kind: FrameKind,
    num_workers: int | None,
    on_tar: Callable[[], object],
) -> IndexSummary:
    reasons: Counter[str] = Counter()
    labels: set[str] = set()
    numbering, num_clips, rates = _Numbering(), 0, set[float | None]()
    digest = hashlib.sha256(config.model_dump_json().encode())
    manifest = TableWriter(out / MANIFEST_NAME, MANIFEST_SCHEMA)
    rejects = TableWriter(out / REJECTS_NAME, REJECTS_SCHEMA)
    for tar, found in _in_order(tars, config, kind, num_workers or available_cores()):
        rows = [numbering.number(tar, row) for row in found]
        kept = [row for row in rows if isinstance(row, ManifestRow)]
        refused = [row for row in rows if isinstance(row, RejectRow)]
        manifest.append(kept)
        rejects.append(refused)
        num_clips += len(kept)
        reasons.update(row.reason for row in refused)
        labels.update(label for row in rows for label in row.labels)
        rates.update(row.frame_fps for row in kept)
        for row in kept:
            places = (row.frames_offset_bytes, row.frames_bytes, row.audio_offset_bytes)
            digest.update(json.dumps([tar.shard, row.key, *places]).encode())
        on_tar()
    manifest.close()
    rejects.close()
    codec = "copy" if kind == "video" else "jpeg"
    one_rate = rates <= {config.video.fps}
    video = config.video.model_copy(
        update={"codec": codec} if one_rate else {"codec": codec, "fps": "native"}
    )
    spec = DatasetSpec(
        fields=config.fields,
        video=video if "frames" in config.fields else None,
        audio=config.audio if "audio" in config.fields else None,
        num_shards=len(tars),
        num_listed=numbering.num_rows,
        num_clips=num_clips,
        num_rejected=numbering.num_rows - num_clips,
        num_sources=numbering.num_sources,
        labels=tuple(sorted(labels)),
        labels_hash=hashlib.sha256(json.dumps(sorted(labels)).encode()).hexdigest(),
        build_hash=digest.hexdigest(),
        listing_name=directory.resolve().name,
        software={INDEX_SOFTWARE: str(SCHEMA_VERSION), "av": av.__version__},
    )
    _write_record(out, config, spec, tars)
    write_atomically(out / DATASET_NAME, spec.model_dump_json(indent=1).encode())
    return IndexSummary(
        samples=spec.num_listed,
        ok=num_clips,
        rejected=spec.num_rejected,
        reasons=dict(reasons.most_common()),
        tars=len(tars),
        frames=codec,
    )


def _write_record(out: Path, config: IndexConfig, spec: DatasetSpec, tars: list[_Tar]) -> None:
    facts = {tar.shard: tar.num_bytes for tar in tars}
    record = BuildRecord(
        build_hash=spec.build_hash,
        listing_name=spec.listing_name,
        listing_sha256=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        num_listed=spec.num_listed,
        num_shards=len(tars),
        config={INDEX_MARK: config.model_dump(mode="json"), "tars": facts},
    )
    write_atomically(out / BUILD_NAME, record.model_dump_json(indent=1).encode())
