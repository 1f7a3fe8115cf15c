"""Frames as H.264 in short groups, and packets copied as they are."""

import io
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from flash_and_beep import MOVIES, make

from avdata.config import LimitsConfig
from avdata.decode.clip import DecodedClip
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec
from avdata.shards.codec import decode_frame

SPS, PPS, IDR = 7, 8, 5


def decode(path: Path, spec: VideoSpec, **span: float) -> DecodedClip:
    return decode_clip(
        path,
        start_s=span.get("start_s"),
        end_s=span.get("end_s"),
        video=spec,
        audio=AudioSpec(),
        clips=ClipsSpec(),
        limits=LimitsConfig(),
    )


def pictures(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data)) as container:
        return list(container.decode(video=0))


def nal_types(packet: bytes) -> list[int]:
    types, at = [], 0
    while at + 4 < len(packet):
        types.append(packet[at + 4] & 31)
        at += 4 + int.from_bytes(packet[at : at + 4], "big")
    return types


@pytest.mark.parametrize("gop", [1, 8, 16])
def test_h264_holds_the_frames_of_the_jpeg_set(gop: int, shared_data: Path) -> None:
    path = shared_data / "clips" / "AVSBench_0BLiYNtFSjA.mp4"
    small = VideoSpec(short_side_px=128, quality=95)
    jpeg = decode(path, small).video
    video = decode(
        path, small.model_copy(update={"codec": "h264", "gop_frames": gop, "crf": 12})
    ).video
    assert jpeg is not None and video is not None
    assert video.num_frames == jpeg.num_frames == 80
    assert np.array_equal(video.frame_times_s, jpeg.frame_times_s)
    frames = pictures(video.frames.data)
    assert len(frames) == 80
    for k in (0, 17, 79):
        a, b = jpeg.frames.offsets[k : k + 2]
        reference = decode_frame(jpeg.frames.data[a:b]).astype(int)
        seen = frames[k].to_ndarray(format="rgb24").astype(int)
        assert np.abs(seen - reference).mean() < 4


def test_every_group_of_h264_stands_for_itself(shared_data: Path) -> None:
    path = shared_data / "clips" / "AVSBench_0BLiYNtFSjA.mp4"
    video = decode(path, VideoSpec(codec="h264", short_side_px=128, gop_frames=8)).video
    assert video is not None
    frames = video.frames
    assert frames.offsets == frames.index.tolist()
    packets = [frames.data[a:b] for a, b in pairwise(frames.offsets)]
    assert len(packets) == video.num_frames
    for i, packet in enumerate(packets):
        types = nal_types(packet)
        assert (IDR in types) == (i % 8 == 0)
        assert ({SPS, PPS} <= set(types)) == (i % 8 == 0)


def test_equal_clips_are_equal_bytes(shared_data: Path) -> None:
    path = shared_data / "clips" / "gizmo.webm"
    for codec in ("jpeg", "h264", "copy"):
        spec = VideoSpec(codec=codec, short_side_px=64)
        first, second = decode(path, spec).video, decode(path, spec).video
        assert first is not None and second is not None
        assert first.frames.data == second.frames.data


COPIED = {
    "clips/SOX5yA1l24A.mp4": "h264",
    "clips/gizmo.webm": "vp9",
    "clips/flower.webm": "vp8",
    "clips/nasa_13013.avi": "mpeg4",
    "odd/hevc_10bit_aac.mp4": "hevc",
    "odd/av1_10bit_opus.webm": "av1",
    "odd/mpeg2_mp2_start_0.5s.mpeg": "mpeg2video",
    "odd/start_10s_mpegts.ts": "h264",
    "odd/edit_list_bipbop.mp4": "h264",
    "odd/late_video_0.5s_mpegts.ts": "h264",
}


@pytest.mark.parametrize("name", COPIED)
def test_copied_packets_are_the_pictures_of_the_medium(name: str, shared_data: Path) -> None:
    path = shared_data / name
    video = decode(path, VideoSpec(codec="copy")).video
    assert video is not None
    assert video.codec in (COPIED[name], f"lib{COPIED[name]}", "libdav1d")
    index = video.frames.index
    seen = {
        round(1000 * float(f.pts * f.time_base)): f
        for f in pictures(video.frames.data)
        if f.time_base
    }
    times_ms = {round(1000 * (t - index[0])) for t in index}
    assert all(min(abs(ms - t) for t in times_ms) <= 1 for ms in seen)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        wanted = {}
        for frame in container.decode(stream):
            if frame.time_base is not None:
                wanted[round(1000 * float(frame.pts * frame.time_base))] = frame
    # the same picture of the medium and of the copy, by its time
    clip = decode(path, VideoSpec(codec="copy"))
    zero_ms = 1000 * (clip.start_s + index[0])
    compared = 0
    for ms, frame in list(seen.items())[:20]:
        at = min(wanted, key=lambda other: abs(other - ms - zero_ms))
        if abs(at - ms - zero_ms) <= 1.5:
            compared += 1
            assert np.array_equal(
                frame.to_ndarray(format="gray"), wanted[at].to_ndarray(format="gray")
            )
    assert compared >= min(15, len(seen) - 2)


@pytest.mark.parametrize("name", ["theora_vorbis.ogg", "vfr_wmv2_wmav2.wmv"])
def test_packets_that_matroska_cannot_hold(name: str, shared_data: Path) -> None:
    with pytest.raises(MediaError, match="cannot be copied into Matroska") as caught:
        decode(shared_data / "odd" / name, VideoSpec(codec="copy"))
    assert caught.value.reason == FailureReason.NOT_COPYABLE


def test_a_copy_starts_at_the_key_frame_before_the_clip(tmp_path: Path) -> None:
    movie = make(tmp_path / "movie", MOVIES["30 fps"])
    clip = decode(movie, VideoSpec(codec="copy"), start_s=1.1, end_s=2.6)
    assert clip.video is not None
    index = clip.video.frames.index
    assert index[0] <= 0 < index[-1]
    assert clip.video.num_frames == 24
    assert (np.abs(clip.video.frame_times_s - 1.1 - np.arange(24) / 16) <= 1 / 60 + 1e-6).all()
    assert len(pictures(clip.video.frames.data)) == len(index)


def test_native_rate_stores_every_picture_once(shared_data: Path) -> None:
    path = shared_data / "clips" / "v_GGSY1Qvo990.mp4"
    clip = decode(path, VideoSpec(fps="native", short_side_px=64))
    assert clip.video is not None
    assert clip.video.fps == pytest.approx(19.62, abs=0.01)
    times = clip.video.frame_times_s
    assert len(times) == 354 or len(times) == 355
    assert len(set(times.tolist())) == len(times)
