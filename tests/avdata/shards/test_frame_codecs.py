"""`ShardSet.read_frames` for every frame codec: pictures that show their own number."""

import io
import struct
import types
import typing
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from avdata import ShardSet, ShardSetError
from avdata.atomic_writing import write_atomically
from avdata.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    TableWriter,
)
from avdata.schema import FRAME_CODECS, DatasetSpec, ManifestRow, VideoSpec
from avdata.shards import video_member
from avdata.shards.codec import encode_array
from avdata.shards.frames_in_place import decode_into
from avdata.shards.writer import ShardWriter

BITS, BLOCK_PX = 6, 16
WIDTH_PX, HEIGHT_PX = BITS * BLOCK_PX, 64
GOP = 8
COLORS = np.array([[200, 60, 40], [40, 160, 70], [50, 70, 210], [128, 128, 128]], np.uint8)


def numbered(number: int) -> np.ndarray:
    """A picture whose upper half is its number in black and white, below are four colors."""
    out = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    for bit in range(BITS):
        on = number >> bit & 1
        out[: HEIGHT_PX // 2, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = 235 if on else 16
    for i, color in enumerate(COLORS):
        out[HEIGHT_PX // 2 :, i * 24 : (i + 1) * 24] = color
    return out


def number_of(shown: np.ndarray) -> int:
    height, width = shown.shape[:2]
    xs = [round((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(int(shown[height // 4, x].mean() > 128) << bit for bit, x in enumerate(xs))


def encode(
    count: int,
    form: str,
    *,
    codec: str = "libx264",
    fps: int = 25,
    first_pts: int = 0,
    **options: object,
) -> bytes:
    """A movie of numbered pictures."""
    file = io.BytesIO()
    flags = {"fflags": "+bitexact"}
    with av.open(file, "w", format=form, container_options=flags) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.codec_context.options = {k: str(v) for k, v in options.items()}
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(k), format="rgb24")
            frame.pts, frame.time_base = k + first_pts, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def row(**facts: object) -> ManifestRow:
    """A row with empty values but for `facts`."""
    empty = {str: "", int: 0, float: 0.0, bool: False}
    values: dict[str, object] = {}
    for name, hint in typing.get_type_hints(ManifestRow).items():
        nullable = isinstance(hint, types.UnionType)
        other = {} if typing.get_origin(hint) is dict else []
        values[name] = None if nullable else empty.get(hint, other)
    return ManifestRow(**(values | facts))  # type: ignore[arg-type]


def write_set(
    out: Path,
    video: VideoSpec,
    samples: Sequence[tuple[bytes, np.ndarray, dict[str, object]]],
) -> ShardSet:
    """A set of frames alone: data, index and facts of each sample."""
    data_suffix, index_suffix = FRAME_CODECS[video.codec].suffixes
    rows = []
    with ShardWriter(out / "shard-000000.tar") as writer:
        for i, (data, index, facts) in enumerate(samples):
            members = {data_suffix: data, index_suffix: encode_array(index)}
            members["meta.json"] = b"{}"
            where = writer.add(f"clip-{i}", members)[data_suffix]
            rows.append(
                row(
                    key=f"clip-{i}",
                    shard="shard-000000.tar",
                    row_index=i,
                    source_index=i,
                    frames_offset_bytes=where.offset,
                    frames_bytes=where.size,
                    **facts,
                )
            )
        writer.commit()
    manifest = TableWriter(out / MANIFEST_NAME, MANIFEST_SCHEMA)
    manifest.append(rows)
    manifest.close()
    TableWriter(out / REJECTS_NAME, REJECTS_SCHEMA).close()
    spec = DatasetSpec(
        fields=("frames",),
        video=video,
        num_shards=1,
        num_listed=len(rows),
        num_clips=len(rows),
        num_rejected=0,
        num_sources=len(rows),
        labels=(),
        labels_hash="",
        build_hash="",
        listing_name="",
        software={},
    )
    write_atomically(out / "dataset.json", spec.model_dump_json().encode())
    return ShardSet(out)


# h264: the mp4 as the contract has it, offsets read from its boxes


def packet_offsets(mp4: bytes) -> np.ndarray:
    """Offsets of the packets by the boxes stsz and stco of a one-track, one-chunk-run mp4."""
    at = mp4.index(b"stsz") + 4
    _, same, count = struct.unpack_from(">III", mp4, at)
    sizes = [same] * count if same else list(struct.unpack_from(f">{count}I", mp4, at + 12))
    first = struct.unpack_from(">III", mp4, mp4.index(b"stco") + 4)[2]
    return np.cumsum([first, *sizes]).astype(np.uint32)


def h264_sample(count: int) -> tuple[bytes, np.ndarray, dict[str, object]]:
    data = encode(
        count, "mp4", bf=0, g=GOP, keyint_min=GOP, sc_threshold=0,
        **{"x264-params": "repeat-headers=1:open-gop=0"},
    )  # fmt: skip
    offsets = packet_offsets(data)
    facts: dict[str, object] = {
        "num_frames": count,
        "frame_fps": 25.0,
        "frame_offsets": offsets.tolist(),
        "frame_times_s": [k / 25 for k in range(count)],
        "frame_width_px": WIDTH_PX,
        "frame_height_px": HEIGHT_PX,
    }
    return data, offsets, facts


@pytest.fixture(scope="module")
def h264_set(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    out = tmp_path_factory.mktemp("h264")
    samples = [h264_sample(45), h264_sample(3)]
    return write_set(out, VideoSpec(codec="h264", gop_frames=GOP), samples)


ASKED = [[0], [7, 8], [44], [20, 19, 18], [3, 3, 40], list(range(45)), [9, 12, 15, 18, 21, 24]]


@pytest.mark.parametrize("indices", ASKED)
def test_h264_frames_are_those_that_were_asked(h264_set: ShardSet, indices: list[int]) -> None:
    frames = h264_set.read_frames(0, indices)
    assert frames.dtype == np.uint8
    assert frames.shape == (len(indices), HEIGHT_PX, WIDTH_PX, 3)
    assert [number_of(frame) for frame in frames] == indices


def test_h264_reads_one_range_from_the_key_frame_on(h264_set: ShardSet) -> None:
    data, offsets, _ = h264_sample(45)
    asked = []

    def read(offset: int, size: int) -> bytes:
        asked.append((offset, offset + size))
        return data[offset : offset + size]

    pictures = video_member.decode_h264(read, offsets.astype(int), [19, 20, 21], gop_frames=GOP)
    assert sorted(pictures) == [19, 20, 21]
    assert asked == [(offsets[16], offsets[22])]


def test_damaged_h264_is_an_error_that_names_the_sample(tmp_path: Path) -> None:
    data, offsets, facts = h264_sample(20)
    broken = bytearray(data)
    middle = int(offsets[11])
    broken[middle : middle + 4] = b"\0\1\0\0"
    shards = write_set(
        tmp_path, VideoSpec(codec="h264", gop_frames=GOP), [(bytes(broken), offsets, facts)]
    )
    assert number_of(shards.read_frames(0, [7])[0]) == 7
    with pytest.raises(ShardSetError) as error:
        shards.read_frames(0, [10, 12])
    for part in ("frames 8 to 12 of sample clip-0", "shard-000000.tar cannot be decoded", "verify"):
        assert part in str(error.value)


# copy


def copy_sample(
    data: bytes, index: np.ndarray, times_s: Sequence[float], **facts: object
) -> tuple[bytes, np.ndarray, dict[str, object]]:
    base: dict[str, object] = {
        "num_frames": len(times_s),
        "frame_fps": 25.0,
        "frame_times_s": list(times_s),
        "frame_width_px": WIDTH_PX,
        "frame_height_px": HEIGHT_PX,
        "decoded_start_s": 123.4,  # of the medium: nothing to do with the member
    }
    return data, index, base | facts


X264 = {"bf": 3, "g": 30, "keyint_min": 30, "sc_threshold": 0}


@pytest.fixture(scope="module")
def copy_set(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """60 pictures at 25 fps of which the first 13 lead in; the grid has every second one."""
    index = np.arange(60) / 25 - 0.52
    grid = [2 * k / 25 for k in range(23)]
    webm = {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8", "g": 20}
    samples = [
        copy_sample(encode(60, "matroska", **X264), index, grid),  # type: ignore[arg-type]
        copy_sample(encode(60, "matroska", **webm), index, grid),  # type: ignore[arg-type]
    ]
    return write_set(tmp_path_factory.mktemp("copy"), VideoSpec(codec="copy"), samples)


@pytest.mark.parametrize("sample", [0, 1])
@pytest.mark.parametrize("indices", [[0], [22], [8, 9], [5, 4], [3, 3, 20], list(range(23))])
def test_copied_pictures_are_those_of_the_times(
    copy_set: ShardSet, sample: int, indices: list[int]
) -> None:
    frames = copy_set.read_frames(sample, indices)
    assert frames.shape == (len(indices), HEIGHT_PX, WIDTH_PX, 3)
    assert [number_of(frame) for frame in frames] == [13 + 2 * k for k in indices]


def test_windows_are_equal_to_the_whole(copy_set: ShardSet) -> None:
    whole = copy_set.read_frames(0, range(23))
    for start in range(0, 20, 3):
        window = copy_set.read_frames(0, range(start, start + 3))
        np.testing.assert_array_equal(window, whole[start : start + 3])


def test_copied_pictures_are_scaled_and_set_upright(tmp_path: Path) -> None:
    data = encode(10, "matroska", **X264)  # type: ignore[arg-type]
    index = np.arange(10) / 25
    times = index.tolist()
    lying = {"frame_width_px": 32, "frame_height_px": 48}
    shards = write_set(
        tmp_path,
        VideoSpec(codec="copy"),
        [
            copy_sample(data, index, times, frame_width_px=48, frame_height_px=32),
            copy_sample(data, index, times, rotation_deg=90, **lying),
            copy_sample(data, index, times, rotation_deg=-90, **lying),
            copy_sample(
                data, index, times, rotation_deg=180, frame_width_px=48, frame_height_px=32
            ),
        ],
    )
    plain = shards.read_frames(0, [5, 6])
    assert plain.shape == (2, 32, 48, 3)
    assert [number_of(frame) for frame in plain] == [5, 6]
    for sample, turns in ((1, 1), (2, 3), (3, 2)):
        turned = shards.read_frames(sample, [5, 6])
        np.testing.assert_array_equal(turned, np.rot90(plain, turns, (1, 2)))


def test_a_missing_picture_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = encode(10, "matroska", **X264)  # type: ignore[arg-type]
    index = np.arange(10) / 25
    times = index.tolist()
    times[4] += 0.013
    shards = write_set(tmp_path, VideoSpec(codec="copy"), [copy_sample(data, index, times)])
    assert len(shards.read_frames(0, [0, 1, 2, 3, 5])) == 5
    with pytest.raises(ShardSetError, match=r"frame 4 of sample clip-0 .*no picture at 0\.1730 s"):
        shards.read_frames(0, [3, 4, 5])


def damage_index(data: bytes) -> tuple[bytes, np.ndarray]:
    return data, np.arange(10, dtype=np.float32)


def damage_head(data: bytes) -> tuple[bytes, np.ndarray]:
    return b"#EXTM3U\n" + data[8:], np.arange(10) / 25


def damage_body(data: bytes) -> tuple[bytes, np.ndarray]:
    return data[:300] + bytes(len(data) - 300), np.arange(10) / 25


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_index, "the member frames.npy of sample clip-0 .*float32 of shape"),
        (damage_head, "frames 2 to 3 of sample clip-0 .*no container of a known form"),
        (damage_body, "of sample clip-0 .*cannot be decoded"),
    ],
)
def test_damaged_copies_are_errors(
    damage: Callable[[bytes], tuple[bytes, np.ndarray]], message: str, tmp_path: Path
) -> None:
    data, index = damage(encode(10, "matroska", **X264))  # type: ignore[arg-type]
    sample = copy_sample(data, index, (np.arange(10) / 25).tolist())
    shards = write_set(tmp_path, VideoSpec(codec="copy"), [sample])
    with pytest.raises(ShardSetError, match=message):
        shards.read_frames(0, [2, 3])


# all


def test_colors_of_all_codecs_agree(h264_set: ShardSet, copy_set: ShardSet, tmp_path: Path) -> None:
    jpegs = [simplejpeg.encode_jpeg(numbered(k), quality=90) for k in range(3)]
    offsets = np.cumsum([0, *map(len, jpegs)]).astype(np.uint32)
    facts = {"num_frames": 3, "frame_offsets": offsets.tolist()}
    jpeg_set = write_set(tmp_path, VideoSpec(), [(b"".join(jpegs), offsets, facts)])
    for shards in (jpeg_set, h264_set, copy_set):
        shown = shards.read_frames(0, [1])[0]
        middles = shown[3 * HEIGHT_PX // 4, [12, 36, 60, 84]].astype(int)
        assert np.abs(middles - COLORS).max() <= 8, shards


def test_frames_that_are_not_there(h264_set: ShardSet, copy_set: ShardSet) -> None:
    for shards in (h264_set, copy_set):
        for indices in ([99], [-1, 2]):
            with pytest.raises(IndexError, match=r"of sample clip-0, which has (45|23)"):
                shards.read_frames(0, indices)
        with pytest.raises(IndexError, match="no frames are asked of sample clip-1"):
            shards.read_frames(1, [])


# in place


@pytest.mark.parametrize("indices", [[5], [9, 3, 3, 10], [0, 1, 2]])
@pytest.mark.parametrize("codec", ["h264", "copy"])
def test_frames_in_place_are_the_frames(
    codec: str, indices: list[int], request: pytest.FixtureRequest
) -> None:
    shards: ShardSet = request.getfixturevalue(f"{codec}_set")
    frames = shards.read_frames(0, indices)
    height, width = frames.shape[1:3]
    for more in (0, 24):
        out = np.full((len(indices), height + more, width + more, 3), 7, np.uint8)
        assert shards.read_frames_into(out, 0, indices) == (height, width)
        np.testing.assert_array_equal(out[:, :height, :width], frames)
        assert not out[:, height:].any() and not out[:, :, width:].any()
    with pytest.raises(IndexError, match="no frames are asked of sample clip-0"):
        shards.read_frames_into(out, 0, [])


def test_jpegs_and_pngs_are_decoded_in_place() -> None:
    pictures = [numbered(number) for number in range(3)]
    jpegs = [simplejpeg.encode_jpeg(picture, quality=95) for picture in pictures]
    with io.BytesIO() as file:
        Image.fromarray(pictures[2]).save(file, "PNG")
        png = file.getvalue()
    images, indices = [jpegs[0], jpegs[1], jpegs[0], png], [4, 5, 4, 6]
    for more in (0, 8):
        out = np.full((4, HEIGHT_PX + more, WIDTH_PX + more, 3), 7, np.uint8)
        assert decode_into(out, images, indices) == (HEIGHT_PX, WIDTH_PX)
        for at, image in enumerate(images):
            shown = out[at, :HEIGHT_PX, :WIDTH_PX]
            np.testing.assert_array_equal(shown, video_member.decode_picture(image))
        assert not out[:, HEIGHT_PX:].any() and not out[:, :, WIDTH_PX:].any()


def test_what_cannot_be_decoded_in_place_is_named() -> None:
    jpeg, smaller = (simplejpeg.encode_jpeg(numbered(1)[:rows]) for rows in (64, 48))
    out = np.empty((2, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    with pytest.raises(video_member.FrameError, match="frame 8: it is 96x48, frame 7 is 96x64"):
        decode_into(out, [jpeg, smaller], [7, 8])
    with pytest.raises(video_member.FrameError, match=r"frame 8: it is 96x64, .* for it 96x48"):
        decode_into(out[:, :48], [smaller, jpeg], [7, 8])
    with pytest.raises(video_member.FrameError, match="frame 7"):
        decode_into(out, [jpeg[: len(jpeg) // 2], jpeg], [7, 8])
    with pytest.raises(video_member.FrameError, match="frame 7"):
        decode_into(out, [b"no picture", jpeg], [7, 8])
