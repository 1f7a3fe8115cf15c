"""Third-party WebDataset tars -> manifest, rejects and spec: a shard set without a copy.

::

    DIR/00000.tar DIR/train/00001.tar ...   stay as they are; the folder below DIR is the split
    OUT/manifest.parquet                    `shard` is the path of a tar, relative to OUT
    OUT/rejects.parquet  OUT/dataset.json  OUT/build.json

Every member of a tar is accounted for: those that a sample is made of are counted in its row of the
manifest, the others are named in a row of the rejects. `build.json` states both numbers per tar.

Nothing is decoded but one picture of each video: what does not decode further on is found by
`avtrain`, which then names the sample.
"""

import hashlib
import json
import os
import queue
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import av

from avdata.atomic_writing import write_atomically
from avdata.build.index_job import ForeignTar, IndexContext, SampleRow
from avdata.build.index_process import TarFindings, TarReader
from avdata.config import LIMITS_OF_THE_MACHINE
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
from avdata.shards.foreign_set import INDEX_MARK, INDEX_SOFTWARE, TarRecord
from avdata.shards.index_config import FrameKind, IndexConfig
from avdata.shards.index_contents import LeftOut
from avdata.shards.index_names import KIND_OF_ENDING, ending_of, last_ending
from avdata.shards.reader import DATASET_NAME

SHOWN_NAMES = 5
"""Names of members in a message; the row lists all."""
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSummary:
    """Counts of an index: ``samples == ok + rejected`` and
    ``members == members_in_samples + members_in_rows``."""

    samples: int
    ok: int
    rejected: int
    reasons: dict[str, int]
    """Rejected samples by reason, most frequent first."""
    tars: int
    damaged_tars: int
    frames: str
    """Codec of the frames: copy or jpeg."""
    members: int
    """Entries of all tars, directories aside."""
    members_in_samples: int
    """Members that the samples of the manifest are made of."""
    members_in_rows: int
    """Members that rows of the rejects name: those of rejected samples, and those left out."""
    not_read: dict[str, dict[str, int]]
    """Members left out, of samples or alone: reason -> ending -> count, most frequent first."""
    unlabeled: int
    """Samples of the manifest without a label."""


def index_tars(
    directory: Path,
    out: Path,
    config: IndexConfig,
    *,
    num_workers: int | None = None,
    on_tar: Callable[[], object] = lambda: None,
) -> IndexSummary:
    """Make the tars below `directory` a shard set in `out`.

    Samples are read in processes with the limits of a build: one that crashes, hangs or takes too
    much memory is a rejected row. So is a tar that is damaged.

    Raises:
        ShardSetError: There are no tars, one is compressed, or `out` holds a build.
        BuildError: Processes do not start.
    """
    tars = find_tars(directory, out)
    busy = ShardSetError(f"another `avdata index` is at work in {out}; wait for it")
    with folder_lock(out, busy=busy):
        _check_out(out)
        (out / DATASET_NAME).unlink(missing_ok=True)
        with _TarReaders(config, min(num_workers or available_cores(), len(tars))) as readers:
            return _write_set(directory, out, config, tars, readers, on_tar)


def find_tars(directory: Path, out: Path) -> list[ForeignTar]:
    """All tars below `directory`, by path.

    Raises:
        ShardSetError: There are none, or one is compressed.
    """
    if not directory.is_dir():
        raise ShardSetError(f"{directory} is no folder; give the folder of WebDataset tars")
    paths = sorted(path for path in directory.rglob("*") if path.is_file() or path.is_symlink())
    packed = [path for path in paths if path.name.lower().endswith(COMPRESSED)]
    if packed:
        raise ShardSetError(
            f"{packed[0]} is compressed ({len(packed)} such files): samples in it cannot be read "
            "by their place. Unpack it to .tar (as by gunzip); media do not get smaller by it"
        )
    tars = [path for path in paths if path.suffix.lower() == ".tar" and not path.is_dir()]
    if not tars:
        raise ShardSetError(f"{directory} holds no .tar files; give the folder of WebDataset tars")
    found = []
    for path in tars:
        inside = path.relative_to(directory)
        found.append(
            ForeignTar(
                path=path,
                shard=Path(os.path.relpath(path.absolute(), out.absolute())).as_posix(),
                split=inside.parts[0] if len(inside.parts) > 1 else None,
                num_bytes=path.stat().st_size if path.is_file() else 0,
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


class _TarReaders:
    """Reads tars in several processes; a context manager that ends them."""

    def __init__(self, config: IndexConfig, num_workers: int) -> None:
        self._num_workers = num_workers
        self._idle: queue.SimpleQueue[TarReader] = queue.SimpleQueue()
        self._readers = [TarReader(IndexContext(config=config)) for _ in range(num_workers)]
        for reader in self._readers:
            self._idle.put(reader)
        # a process dies with the thread that started it: these live as long as the processes
        self._pool = ThreadPoolExecutor(num_workers)

    def __enter__(self) -> "_TarReaders":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # as Ctrl-C: what is read now is not wanted
            for reader in self._readers:
                reader.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for reader in self._readers:
            reader.close()

    def kind(self, tars: Iterable[ForeignTar]) -> FrameKind | None:
        """Kind of frames of the first sample that has some."""
        kinds = (self._pool.submit(self._read, tar, None).result().kind for tar in tars)
        return next((kind for kind in kinds if kind is not None), None)

    def in_order(
        self, tars: Iterable[ForeignTar], kind: FrameKind
    ) -> Iterator[tuple[ForeignTar, TarFindings]]:
        """Findings of all tars, in order, with few of them in memory."""
        pending: deque[tuple[ForeignTar, Future[TarFindings]]] = deque()
        for tar in tars:
            pending.append((tar, self._pool.submit(self._read, tar, kind)))
            if len(pending) > 2 * self._num_workers:
                first, findings = pending.popleft()
                yield first, findings.result()
        while pending:
            first, findings = pending.popleft()
            yield first, findings.result()

    def _read(self, tar: ForeignTar, kind: FrameKind | None) -> TarFindings:
        reader = self._idle.get()
        try:
            return reader.read(tar, kind)
        finally:
            self._idle.put(reader)


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

    def number(self, tar: ForeignTar, made: SampleRow) -> ManifestRow | RejectRow:
        """The row with its numbers; its key gets the tar's name where it was there before."""
        row = made.row
        key = row.key
        assert key is not None
        if key in self._keys:
            key = f"{Path(tar.shard).with_suffix('').as_posix().lstrip('./')}/{key}"
        source = key if row.source_id == row.key else row.source_id or key
        index, line = self.num_rows, self.num_rows + 1
        self.num_rows += 1
        if key in self._keys and isinstance(row, ManifestRow):
            row = _repeated(row, members=list(made.members))
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

    def number_left_out(self, rows: Iterable[RejectRow]) -> list[RejectRow]:
        """The rows of members, or of a tar, with their numbers."""
        numbered = []
        for row in rows:
            numbered.append(replace(row, row_index=self.num_rows, line_number=self.num_rows + 1))
            self.num_rows += 1
        return numbered


def _repeated(row: ManifestRow, *, members: list[str]) -> RejectRow:
    return replace(
        _row_of_members(row.shard, row.split, FailureReason.DUPLICATE, members),
        source_id=row.source_id,
        key=row.key,
        labels=row.labels,
        message=f"samples of several tars would be called {row.key!r}; name folders and samples "
        "apart",
    )


def _row_of_members(
    shard: str, split: str | None, reason: FailureReason, members: list[str]
) -> RejectRow:
    """A row without key and message."""
    return RejectRow(
        row_index=0,
        line_number=0,
        source_id=None,
        key=None,
        path=shard,
        listed_start_s=None,
        listed_end_s=None,
        labels=[],
        split=split,
        reason=str(reason),
        message="",
        traceback=None,
        members=members,
    )


_NO_SUCH_ENDING = (
    "no sample is made of members with that ending; " + ", ".join(KIND_OF_ENDING) + " are read"
)
_NO_ROLE = (
    "its sample is made of other members: frames come of the video (or the pictures, if the set is "
    "of pictures), audio of an audio member or the video, labels as --label says"
)


def _left_out_rows(tar: ForeignTar, findings: TarFindings) -> list[RejectRow]:
    """Rows of the members that no sample of the tar is made of, and of its damage.

    One row per sample, reason and cause; what is merely not read is one row per ending.
    """
    left = list(findings.contents.left_out)
    for made in findings.rows:
        for name in made.not_read:
            why = _NO_ROLE if last_ending(name) in KIND_OF_ENDING else _NO_SUCH_ENDING
            left.append(LeftOut(name=name, key=None, reason=FailureReason.NOT_READ, why=why))
    groups: dict[tuple[object, ...], list[LeftOut]] = {}
    for member in left:
        ending = ending_of(member.name) if member.key is None else ""
        groups.setdefault((member.reason, member.key, member.why, ending), []).append(member)
    rows = [_left_out_row(tar, members) for members in groups.values()]
    if findings.contents.damage is not None:
        damaged = _row_of_members(tar.shard, tar.split, FailureReason.DAMAGED_TAR, [])
        rows.append(replace(damaged, message=findings.contents.damage))
    return rows


def _left_out_row(tar: ForeignTar, members: list[LeftOut]) -> RejectRow:
    first, names = members[0], [member.name for member in members]
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    row = _row_of_members(tar.shard, tar.split, first.reason, names)
    plural = "s" if len(names) > 1 else ""
    text = f"{len(names)} member{plural} not read ({shown}): {first.why}"
    return replace(row, key=first.key, source_id=first.key, message=text)


class _Counts:
    """Counts of an index while it runs."""

    def __init__(self) -> None:
        self.ok = self.rejected = self.unlabeled = self.damaged_tars = 0
        self.members = self.in_samples = self.in_rows = 0
        self.reasons: Counter[str] = Counter()
        self.not_read: dict[str, Counter[str]] = {}

    def add(
        self,
        findings: TarFindings,
        rows: list[ManifestRow | RejectRow],
        left_out: list[RejectRow],
    ) -> TarRecord:
        """Count a tar; its members."""
        kept = [row for row in rows if isinstance(row, ManifestRow)]
        refused = [row for row in rows if isinstance(row, RejectRow)]
        self.ok += len(kept)
        self.rejected += len(refused)
        self.unlabeled += sum(not row.labels for row in kept)
        self.reasons.update(row.reason for row in refused)
        self.damaged_tars += findings.contents.damage is not None
        for row in left_out:
            endings = Counter(ending_of(name) or "without ending" for name in row.members or ())
            self.not_read.setdefault(row.reason, Counter()).update(endings)
        in_samples = sum(row.num_members or 0 for row in kept)
        in_rows = sum(len(row.members or ()) for row in [*refused, *left_out])
        members = findings.contents.num_members
        assert members == in_samples + in_rows, (members, in_samples, in_rows)
        self.members += members
        self.in_samples += in_samples
        self.in_rows += in_rows
        return TarRecord(
            num_bytes=0, members=members, members_in_samples=in_samples, members_in_rows=in_rows
        )

    def not_read_by_reason(self) -> dict[str, dict[str, int]]:
        return {
            reason: dict(endings.most_common())
            for reason, endings in self.not_read.items()
            if endings
        }


def _write_set(
    directory: Path,
    out: Path,
    config: IndexConfig,
    tars: list[ForeignTar],
    readers: _TarReaders,
    on_tar: Callable[[], object],
) -> IndexSummary:
    kind = (readers.kind(tars) if "frames" in config.fields else None) or "video"
    labels: set[str] = set()
    numbering, counts, rates = _Numbering(), _Counts(), set[float | None]()
    settings = config.model_dump_json(exclude={"limits": set(LIMITS_OF_THE_MACHINE)})
    digest = hashlib.sha256(settings.encode())
    manifest = TableWriter(out / MANIFEST_NAME, MANIFEST_SCHEMA)
    rejects = TableWriter(out / REJECTS_NAME, REJECTS_SCHEMA)
    records: dict[str, TarRecord] = {}
    for tar, findings in readers.in_order(tars, kind):
        rows = [numbering.number(tar, made) for made in findings.rows]
        left_out = numbering.number_left_out(_left_out_rows(tar, findings))
        counted = counts.add(findings, rows, left_out)
        records[tar.shard] = counted.model_copy(update={"num_bytes": tar.num_bytes})
        kept = [row for row in rows if isinstance(row, ManifestRow)]
        manifest.append(kept)
        rejects.append(row for row in [*rows, *left_out] if isinstance(row, RejectRow))
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
        num_clips=counts.ok,
        num_rejected=numbering.num_rows - counts.ok,
        num_sources=numbering.num_sources,
        labels=tuple(sorted(labels)),
        labels_hash=hashlib.sha256(json.dumps(sorted(labels)).encode()).hexdigest(),
        build_hash=digest.hexdigest(),
        listing_name=directory.resolve().name,
        software={INDEX_SOFTWARE: str(SCHEMA_VERSION), "av": av.__version__},
    )
    _write_record(out, config, spec, records)
    write_atomically(out / DATASET_NAME, spec.model_dump_json(indent=1).encode())
    return IndexSummary(
        samples=counts.ok + counts.rejected,
        ok=counts.ok,
        rejected=counts.rejected,
        reasons=dict(counts.reasons.most_common()),
        tars=len(tars),
        damaged_tars=counts.damaged_tars,
        frames=codec,
        members=counts.members,
        members_in_samples=counts.in_samples,
        members_in_rows=counts.in_rows,
        not_read=counts.not_read_by_reason(),
        unlabeled=counts.unlabeled,
    )


def _write_record(
    out: Path, config: IndexConfig, spec: DatasetSpec, records: dict[str, TarRecord]
) -> None:
    sizes = {shard: record.num_bytes for shard, record in records.items()}
    tars = {shard: record.model_dump() for shard, record in records.items()}
    record = BuildRecord(
        build_hash=spec.build_hash,
        listing_name=spec.listing_name,
        listing_sha256=hashlib.sha256(json.dumps(sizes).encode()).hexdigest(),
        num_listed=spec.num_listed,
        num_shards=len(records),
        config={INDEX_MARK: config.model_dump(mode="json"), "tars": tars},
    )
    write_atomically(out / BUILD_NAME, record.model_dump_json(indent=1).encode())
