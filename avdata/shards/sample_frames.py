"""Frames of a sample of a shard set, whatever `video.codec` the set has."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from avdata.errors import ShardSetError
from avdata.picture_geometry import Orientation
from avdata.shards.foreign_set import is_foreign
from avdata.shards.frames_in_place import decode_into
from avdata.shards.video_member import (
    FrameError,
    Pictures,
    VideoMember,
    decode_copy,
    decode_h264,
    decode_pictures,
)

if TYPE_CHECKING:
    from avdata.shards.reader import ShardSet


def read_sample_frames(
    shards: "ShardSet",
    read: Callable[[int, int, int], bytes],
    sample: int,
    indices: Sequence[int],
) -> np.ndarray:
    """Frames at `indices`, uint8 RGB (t, h, w, 3); each is decoded once.

    Args:
        shards: The set.
        read: (sample, offset, size) -> bytes of the sample's shard.
        sample: Row of the manifest.
        indices: Frames, in any order, repeated or not.

    Raises:
        ShardSetError: A frame does not decode, or the shard is damaged.
        IndexError: The sample has no such frames.
    """
    if not len(indices):
        raise IndexError(f"no frames are asked of sample {shards.keys[sample]}")
    try:
        pictures = _pictures(shards, read, sample, indices)
        return np.stack([pictures[index] for index in indices])
    except FrameError as error:
        raise _damaged(shards, sample, error.what, error.why) from None
    except ValueError as error:  # pictures of several sizes
        raise _damaged(shards, sample, "frames", str(error)) from None


def read_sample_frames_into(
    out: np.ndarray,
    shards: "ShardSet",
    read: Callable[[int, int, int], bytes],
    sample: int,
    indices: Sequence[int],
) -> tuple[int, int]:
    """Write frames at `indices` into the top left of `out`, zeros beside them; height and width.

    JPEGs are decoded in place: nothing is copied where `out` has the size of the frames.

    Args:
        out: uint8 (t, h, w, 3), C order, one picture an index, as large as the frames or larger.
        shards: The set.
        read: (sample, offset, size) -> bytes of the sample's shard.
        sample: Row of the manifest.
        indices: Frames, in any order, repeated or not.

    Raises:
        ShardSetError: A frame does not decode or does not fit, or the shard is damaged.
        IndexError: The sample has no such frames.
    """
    if not len(indices):
        raise IndexError(f"no frames are asked of sample {shards.keys[sample]}")
    video = shards.spec.video
    try:
        if video is None or video.codec == "jpeg":
            first = min(indices)
            jpegs = shards.read_jpegs(sample, first, max(indices) + 1)
            return decode_into(out, [jpegs[index - first] for index in indices], indices)
        pictures = _pictures(shards, read, sample, indices)
        return decode_into(out, [pictures[index] for index in indices], indices)
    except FrameError as error:
        raise _damaged(shards, sample, error.what, error.why) from None


def _pictures(
    shards: "ShardSet",
    read: Callable[[int, int, int], bytes],
    sample: int,
    indices: Sequence[int],
) -> Pictures:
    video = shards.spec.video
    if video is None or video.codec == "jpeg":
        first = min(indices)
        jpegs = shards.read_jpegs(sample, first, max(indices) + 1)
        return decode_pictures([jpegs[index - first] for index in indices], indices)
    table = shards.manifest

    def value(name: str) -> object:
        return table[name][sample].as_py()

    num_frames = _whole(value("num_frames"))
    if not 0 <= min(indices) <= max(indices) < num_frames:
        raise IndexError(
            f"frames {min(indices)} to {max(indices)} of sample {shards.keys[sample]}, which has "
            f"{num_frames}"
        )
    start = _whole(value("frames_offset_bytes"))

    def read_member(offset: int, size: int) -> bytes:
        return read(sample, start + offset, size)

    if video.codec == "h264":
        offsets = shards.frame_offsets(sample)
        return decode_h264(read_member, offsets, indices, gop_frames=video.gop_frames)
    member = VideoMember(
        num_bytes=_whole(value("frames_bytes")),
        read=read_member,
        width_px=_whole(value("frame_width_px")),
        height_px=_whole(value("frame_height_px")),
        orientation=Orientation(
            rotation_deg=_whole(value("rotation_deg") or 0), mirrored=bool(value("mirrored"))
        ),
        start_s=float(str(value("decoded_start_s"))) if is_foreign(shards.spec) else None,
        frame_times_s=shards.frame_times_s(sample),
    )
    return decode_copy(member, indices)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


def _damaged(shards: "ShardSet", sample: int, what: str, why: str) -> ShardSetError:
    place = shards.location.place(shards.manifest["shard"][sample].as_py())
    return ShardSetError(
        f"{what} of sample {shards.keys[sample]} in {place} cannot be decoded "
        f"({why}); run `avdata verify {shards.location}` and build the shard again"
    )
