"""Do the stored frames of one sample decode to what its manifest row says, for every codec?"""

import io
from collections.abc import Iterator, Mapping

import av
import numpy as np
import simplejpeg
from av.container import InputContainer

from avdata.schema import FRAME_CODECS, DatasetSpec, ManifestRow
from avdata.shards.codec import decode_array

UNDECODABLE = (
    ValueError,
    RuntimeError,
    EOFError,
    TypeError,
    OverflowError,
    MemoryError,
    av.FFmpegError,
)
"""What decoders raise at damaged bytes."""

Finding = tuple[str, str, str]
"""The member's suffix, what was seen, and what is expected."""

MATROSKA_SLACK_S = 0.0015
"""Matroska rounds times to milliseconds."""


def check_frames(
    members: Mapping[str, bytes], row: ManifestRow, spec: DatasetSpec
) -> Iterator[Finding]:
    """What is wrong with the members of field `frames`; one that is not there is skipped."""
    codec = spec.video.codec if spec.video else "jpeg"
    data_suffix, index_suffix = FRAME_CODECS[codec].suffixes
    index: np.ndarray | None = None
    if index_suffix in members:
        try:
            index = decode_array(members[index_suffix])
            check = _check_times if codec == "copy" else _check_offsets
            for seen, expected in check(index, row):
                yield index_suffix, seen, expected
        except UNDECODABLE as error:
            yield index_suffix, _undecodable(error), "whole, undamaged data"
    if data_suffix in members:
        data = members[data_suffix]
        try:
            if codec == "copy":
                found = _check_copy(data, row, index)
            else:
                found = (_check_jpegs if codec == "jpeg" else _check_h264)(data, row)
            for seen, expected in found:
                yield data_suffix, seen, expected
        except UNDECODABLE as error:
            yield data_suffix, _undecodable(error), "whole, undamaged data"


def _undecodable(error: Exception) -> str:
    return f"does not decode ({type(error).__name__}: {error})"


def _check_jpegs(data: bytes, row: ManifestRow) -> Iterator[tuple[str, str]]:
    """What is wrong with a stream of JPEGs."""
    offsets = np.array(row.frame_offsets, np.int64)
    if finding := _wrong_count(row):
        yield finding
        return
    if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) <= 0).any():
        yield (
            f"frame_offsets of the manifest run from {offsets[0]} to {offsets[-1]}",
            f"a rise from 0 to the member's {len(data)} bytes",
        )
        return
    promised = (row.frame_height_px, row.frame_width_px)
    for k in range(row.num_frames):
        jpeg = data[offsets[k] : offsets[k + 1]]
        try:
            # gray reads all coded data and leaves out the conversion of colors
            seen = simplejpeg.decode_jpeg(jpeg, colorspace="GRAY").shape[:2]
        except UNDECODABLE as error:
            yield f"frame {k} does not decode ({error})", "a whole JPEG"
            continue
        if seen != promised:
            yield f"frame {k} is {seen[1]}x{seen[0]}", f"{promised[1]}x{promised[0]}"


def _check_h264(data: bytes, row: ManifestRow) -> Iterator[tuple[str, str]]:
    """What is wrong with an mp4 of H.264: its packets lie where the manifest says, and decode."""
    if finding := _wrong_count(row):
        yield finding
        return
    offsets = np.array(row.frame_offsets, np.int64)
    if offsets[0] < 0 or offsets[-1] > len(data) or (np.diff(offsets) <= 0).any():
        yield (
            f"frame_offsets of the manifest run from {offsets[0]} to {offsets[-1]}",
            f"a rise within the member's {len(data)} bytes",
        )
        return
    places: list[int] = []
    sizes: list[tuple[int, int]] = []
    with _open(data) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                places += [packet.pos or 0, (packet.pos or 0) + packet.size]
            sizes += [(picture.width, picture.height) for picture in packet.decode()]
    if places != np.stack([offsets[:-1], offsets[1:]], 1).ravel().tolist():
        yield "packets at other bytes than frame_offsets of the manifest", "those"
    if len(sizes) != row.num_frames:
        yield f"{len(sizes)} pictures decode", f"num_frames = {row.num_frames}"
    promised = (row.frame_width_px, row.frame_height_px)
    if strange := set(sizes) - {promised}:
        width, height = min(strange)
        yield f"pictures are {width}x{height}", f"{promised[0]}x{promised[1]}"


def _check_copy(
    data: bytes, row: ManifestRow, index: np.ndarray | None
) -> Iterator[tuple[str, str]]:
    """What is wrong with the medium's own packets: each picture that a frame shows must decode.

    Others may be damaged, as they were in the medium.
    """
    if row.frame_offsets:
        yield f"{len(row.frame_offsets)} frame_offsets in the manifest", "none for codec copy"
    times_s: list[float] = []
    with _open(data) as container:
        for packet in container.demux(container.streams.video[0]):
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                continue
            # readers do not take what was predicted from pictures that are not there
            times_s += [p.time for p in pictures if p.time is not None and not p.is_corrupt]
    if index is None or not len(index):
        return
    decoded = np.array([-np.inf, *sorted(times_s), np.inf])
    wanted = np.unique(np.asarray(row.frame_times_s, np.float64)) - index[0]
    at = np.searchsorted(decoded, wanted)
    distance = np.minimum(wanted - decoded[at - 1], decoded[at] - wanted)
    missing = wanted[distance > MATROSKA_SLACK_S]
    if len(missing):
        yield (
            f"{len(missing)} pictures do not decode, the first at {missing[0] + index[0]:.3f} s",
            f"all {len(wanted)} that frames show",
        )


def _open(data: bytes) -> InputContainer:
    container = av.open(io.BytesIO(data), "r")
    if not container.streams.video:
        container.close()
        raise ValueError("no video stream")
    container.streams.video[0].thread_type = "NONE"
    return container


def _check_offsets(index: np.ndarray, row: ManifestRow) -> Iterator[tuple[str, str]]:
    """What is wrong with the index of codecs jpeg and h264."""
    if index.dtype != np.uint32 or index.ndim != 1:
        yield f"{index.dtype} array of shape {index.shape}", "uint32, one axis"
    elif index.tolist() != row.frame_offsets:
        yield "other offsets than the manifest's", f"those {len(row.frame_offsets)}"


def _check_times(index: np.ndarray, row: ManifestRow) -> Iterator[tuple[str, str]]:
    """What is wrong with the index of codec copy: every frame shows a picture of it."""
    if index.dtype != np.float64 or index.ndim != 1 or not len(index):
        yield f"{index.dtype} array of shape {index.shape}", "float64, one axis, not empty"
        return
    if not np.isfinite(index).all() or (np.diff(index) < 0).any():
        yield "times that do not rise", "the time of each picture, in order"
        return
    shown = np.asarray(row.frame_times_s, np.float32)
    if strange := int(np.count_nonzero(~np.isin(shown, index.astype(np.float32)))):
        yield f"{strange} frame_times_s of the manifest are no picture's time", "none"


def _wrong_count(row: ManifestRow) -> tuple[str, str] | None:
    if len(row.frame_offsets) == row.num_frames + 1:
        return None
    return (
        f"{len(row.frame_offsets)} frame_offsets in the manifest",
        f"num_frames + 1 = {row.num_frames + 1}",
    )
