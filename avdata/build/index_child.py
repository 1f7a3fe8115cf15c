"""The part of a worker process that reads third-party tars for `avdata index`."""

import logging
import os
from collections.abc import Iterator

from avdata.build.boundary import fault_of
from avdata.build.index_job import (
    IndexAnswer,
    IndexRequest,
    SampleRow,
    TarDone,
    TarOpened,
)
from avdata.errors import FailureReason
from avdata.schema import ManifestRow
from avdata.shards.index_config import FrameKind, IndexConfig
from avdata.shards.index_contents import ForeignContents, read_foreign_contents
from avdata.shards.index_sample import SampleIndexing, SamplePlace, frame_kind

logger = logging.getLogger(__name__)


def answer_index(request: IndexRequest, config: IndexConfig) -> Iterator[IndexAnswer]:
    """The headers of a tar, then the row of each of its samples."""
    contents = read_foreign_contents(request.tar.path)
    kinds = (frame_kind(sample) for sample in contents.samples)
    first_kind = next((kind for kind in kinds if kind is not None), None)
    yield TarOpened(contents=contents, kind=first_kind)
    if request.kind is not None and request.first < len(contents.samples):
        descriptor = os.open(request.tar.path, os.O_RDONLY)
        try:
            yield from _rows(request, contents, request.kind, config, descriptor)
        finally:
            os.close(descriptor)
    yield TarDone()


def _rows(
    request: IndexRequest,
    contents: ForeignContents,
    kind: FrameKind,
    config: IndexConfig,
    descriptor: int,
) -> Iterator[SampleRow]:
    missing = contents.missing()
    for index, sample in enumerate(contents.samples[request.first :], request.first):
        place = SamplePlace(
            key=sample.key, shard=request.tar.shard, split=request.tar.split, row_index=index
        )
        work = SampleIndexing(sample, place, config, descriptor, kind, missing.get(sample.key, ()))
        yield _row_or_reject(work, config)


def _row_or_reject(work: SampleIndexing, config: IndexConfig) -> SampleRow:
    try:
        row = work.row()
    except Exception as error:
        fault = fault_of(error, config.limits)
        if fault.reason == FailureReason.UNEXPECTED:
            logger.exception("unexpected fault at %s of %s", work.place.key, work.place.shard)
        rejected = work.reject(fault.reason, fault.message, fault.traceback)
        return SampleRow(row=rejected, members=tuple(rejected.members or ()), not_read=())
    return _row(row, work)


def _row(row: ManifestRow, work: SampleIndexing) -> SampleRow:
    not_read = tuple(work.not_read)
    names = (f"{work.sample.key}.{suffix}" for suffix in work.sample.members)
    members = tuple(name for name in names if name not in not_read)
    return SampleRow(row=row, members=members, not_read=not_read)
