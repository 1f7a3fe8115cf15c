"""A span of a file is the same part of the whole: its pictures, its rate, its jitter."""

import random
import subprocess
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import pytest

from avdata.config import LimitsConfig
from avdata.decode.clip import DecodedClip
from avdata.decode.with_av import decode_clip
from avdata.schema import ClipsSpec, VideoSpec

CONSTANT_RATE = (
    "clips/rabbit320.mp4",
    "clips/SOX5yA1l24A.mp4",  # 30000/1001, 5 s and more: spans are found by the index
    "clips/cockatoo.mp4",  # 4:4:4, which decodes rightly from its first packet alone
    "clips/nasa_13013.mp4",
    "clips/gizmo.webm",  # times in milliseconds
    "clips/flower.webm",
    "clips/flipping_a_pancake.mkv",
    "odd/theora_flac.ogv",
    "odd/mpeg4_amr.3gp",
    "sets/ucf101_subset/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",  # packed B-frames
)
PYRAMIDS = ("pyramid.mp4", "pyramid.mkv")
NUM_SPANS = 10


def native(path: Path, start_s: float | None = None, end_s: float | None = None) -> DecodedClip:
    return decode_clip(
        path,
        start_s=start_s,
        end_s=end_s,
        video=VideoSpec(short_side_px=16, fps="native"),
        audio=None,
        clips=ClipsSpec(min_coverage=0.1),
        limits=LimitsConfig(),
    )


def pictures(clip: DecodedClip) -> dict[float, bytes]:
    """The stored pictures by their time, repeats once."""
    video = clip.video
    assert video is not None
    offsets = pairwise(video.frames.offsets)
    each = [video.frames.data[start:stop] for start, stop in offsets]
    return dict(zip(video.frame_times_s.round(6).tolist(), each, strict=True))


def write_pyramid(source: Path, out: Path) -> Path:
    """H.264 whose B-frames refer to each other."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), "-an"]
    coded = ["-c:v", "libx264", "-bf", "3", "-x264-params", "b-pyramid=normal:keyint=48"]
    subprocess.run([*command, *coded, "-preset", "veryfast", str(out)], check=True)
    return out


def test_there_are_ten_files() -> None:
    assert len(CONSTANT_RATE) == 10


@pytest.mark.parametrize("name", [*CONSTANT_RATE, *PYRAMIDS])
def test_spans_equal_their_part_of_the_whole(name: str, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / name
    if name in PYRAMIDS:
        path = write_pyramid(shared_data / "clips/rabbit320.mp4", tmp_path / name)
    whole = native(path)
    assert whole.video is not None
    assert whole.video.native_jitter_s == 0
    shown = pictures(whole)
    rng = random.Random(name)
    for _ in range(NUM_SPANS):
        start_s = rng.uniform(0, whole.duration_s - 0.7)
        span = native(path, start_s, start_s + rng.uniform(0.6, 3))
        assert span.video is not None
        assert span.video.native_fps == whole.video.native_fps, start_s
        assert span.video.native_jitter_s == 0, start_s
        inside = {time: jpeg for time, jpeg in pictures(span).items() if time in shown}
        # where times are rounded, a span that starts between two frames repeats some of them
        assert len(inside) > 0.7 * span.video.num_frames
        assert all(shown[time] == jpeg for time, jpeg in inside.items()), start_s
