"""Frames of one sample by its members alone, for every `video.codec`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from avdata.errors import ShardSetError
from avdata.picture_geometry import Orientation
from avdata.schema import COPY_SUFFIX, FRAMES_INDEX_SUFFIX, FRAMES_SUFFIX, H264_SUFFIX
from avdata.shards.codec import decode_array
from avdata.shards.stored_sample import StoredSample
from avdata.shards.video_member import (
    FrameError,
    Pictures,
    VideoMember,
    decode_copy,
    decode_h264,
    decode_pictures,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredFrames:
    """Frames that are decoded when they are read."""

    count: int
    read: Callable[[Sequence[int]], list[np.ndarray]]
    """Pictures at some indices, uint8 RGB (h, w, 3)."""


def open_frames(sample: StoredSample) -> StoredFrames | None:
    """Frames of a sample; None when it has none, or not what is needed to place them in time.

    Codec `copy` needs the manifest row. Where nothing says how long the groups of `h264` are, the
    member is decoded from its start.

    Raises:
        ShardSetError: The index does not decode.
    """
    if sample.has(FRAMES_SUFFIX) and sample.has(FRAMES_INDEX_SUFFIX):
        jpegs = sample.read_jpegs()
        return _frames(
            sample,
            len(jpegs),
            lambda indices: decode_pictures([jpegs[k] for k in indices], indices),
        )
    if sample.has(H264_SUFFIX) and sample.has(FRAMES_INDEX_SUFFIX):
        return _h264(sample)
    if sample.has(COPY_SUFFIX) and sample.row is not None and sample.row.num_frames:
        return _copy(sample)
    return None


def _h264(sample: StoredSample) -> StoredFrames | None:
    data, offsets = sample.read(H264_SUFFIX), _index(sample).astype(np.int64)
    count = len(offsets) - 1
    video = sample.spec.video if sample.spec else None
    group = video.gop_frames if video else max(count, 1)
    return _frames(
        sample,
        count,
        lambda indices: decode_h264(
            lambda offset, size: data[offset : offset + size], offsets, indices, gop_frames=group
        ),
    )


def _copy(sample: StoredSample) -> StoredFrames | None:
    row, data, times_s = sample.row, sample.read(COPY_SUFFIX), _index(sample)
    assert row is not None
    member = VideoMember(
        num_bytes=len(data),
        read=lambda offset, size: data[offset : offset + size],
        width_px=row.frame_width_px,
        height_px=row.frame_height_px,
        orientation=Orientation(rotation_deg=row.rotation_deg or 0, mirrored=bool(row.mirrored)),
        start_s=-float(times_s[0]) if len(times_s) else 0.0,
        frame_times_s=np.array(row.frame_times_s, np.float32),
    )
    return _frames(sample, row.num_frames, lambda indices: decode_copy(member, indices))


def _index(sample: StoredSample) -> np.ndarray:
    try:
        return decode_array(sample.read(FRAMES_INDEX_SUFFIX))
    except ValueError as error:
        raise ShardSetError(
            f"{sample.shard}: {sample.key}.{FRAMES_INDEX_SUFFIX} does not decode ({error}); run "
            f"`avdata verify {sample.location}`"
        ) from None


def _frames(
    sample: StoredSample, count: int, decode: Callable[[Sequence[int]], Pictures]
) -> StoredFrames | None:
    def read(indices: Sequence[int]) -> list[np.ndarray]:
        try:
            pictures = decode(indices)
        except FrameError as error:
            raise ShardSetError(
                f"{sample.shard}: {error.what} of sample {sample.key} does not decode "
                f"({error.why}); run `avdata verify {sample.location}`"
            ) from None
        return [pictures[index] for index in indices]

    return StoredFrames(count=count, read=read) if count > 0 else None
