"""One clock for frames: every decoded frame once, in play order, in builds and in the apps.

The reference is FFmpeg's own program: its frames in the order in which it puts them out.
"""

import random
import subprocess
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from avdata.config import LimitsConfig
from avdata.decode.clip import VideoFacts
from avdata.decode.media import open_media, pick_video
from avdata.decode.picture_stream import timed_pictures
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.frame_clock import PlayOrder, in_play_order
from avdata.schema import ClipsSpec, VideoSpec
from avdata.shards.codec import decode_frame

SIDE_PX = 32
UNEVEN = frozenset(
    {
        "cases/vfr_long_gaps/screen.mp4",
        "clips/nasa_13013.avi",
        "odd/vfr_uneven_frame_durations.mp4",
    }
)
"""Frames of variable distance: stored at their usual rate, some of them several times."""
HOLD = frozenset({"odd/no_audio_hmdb51_SchoolRules_wave.avi"})
"""A packet of one byte says that the first frame stays: it is stored twice."""
WITHOUT_FRAMES = frozenset(
    {
        FailureReason.NO_VIDEO,
        FailureReason.OUTSIDE_MEDIA,  # a track whose packets are cut off
        FailureReason.VIDEO_UNDECODABLE,
        FailureReason.NOT_MEDIA,
        FailureReason.TOO_MANY_PIXELS,
    }
)
LIMITS = LimitsConfig(max_bad_packet_fraction=1, max_missing_fraction=1)


def media(shared_data: Path) -> list[Path]:
    """AVI, mp4 and webm; of the two large sets of equal clips, some."""
    paths = sorted(p for e in ("avi", "mp4", "webm") for p in shared_data.rglob(f"*.{e}"))
    large = ("more_sets", "grid_s1_train")
    few = [p for p in paths if any(name in p.parts for name in large)]
    return [p for p in paths if p not in set(few)] + few[::80]


def decode(path: Path, **spec: object) -> VideoFacts:
    clip = decode_clip(
        path,
        start_s=None,
        end_s=None,
        video=VideoSpec.model_validate({"fps": "native", "short_side_px": SIDE_PX, **spec}),
        audio=None,
        clips=ClipsSpec(min_duration_s=1e-3, truncated="accept", min_coverage=0),
        limits=LIMITS,
    )
    assert clip.video is not None
    return clip.video


def reference(path: Path, stream_index: int, width_px: int, height_px: int) -> np.ndarray:
    """Gray frames (t, h, w) as FFmpeg puts them out."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-threads", "1"]
    command += ["-i", str(path)]
    command += ["-map", f"0:{stream_index}", "-fps_mode", "passthrough"]
    command += ["-vf", f"scale={width_px}:{height_px}:flags=area:out_range=full,format=gray"]
    command += ["-f", "rawvideo", "-"]
    data = subprocess.run(command, check=False, capture_output=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height_px, width_px)


def stored_gray(video: VideoFacts) -> np.ndarray:
    """Stored frames (t, h, w), gray."""
    frames = [video.frames.data[a:b] for a, b in pairwise(video.frames.offsets)]
    weights = np.array([0.299, 0.587, 0.114])
    return np.stack([decode_frame(jpeg) @ weights for jpeg in frames])


def test_native_frames_are_the_decoded_frames_each_once(shared_data: Path) -> None:
    reasons: set[FailureReason] = set()
    compared = num_seen = 0
    for path in media(shared_data):
        name = path.relative_to(shared_data).as_posix()
        try:
            video = decode(path, quality=95)
        except MediaError as error:
            reasons.add(error.reason)
            continue
        want = reference(path, video.stream_index, video.width_px, video.height_px)
        got = stored_gray(video)
        shown = np.unique(video.frame_times_s, return_inverse=True)[1]
        assert (np.diff(video.frame_times_s) >= 0).all(), name
        num_lost = shown[-1] + 1 - len(want)
        if name == "odd/vfr_uneven_frame_durations.mp4":
            assert -2 <= num_lost <= 0  # frames 1 ms apart
            continue
        assert num_lost == 0, name
        damaged = "corrupt" in name or "wrong_extension" in name or bool(video.num_corrupt)
        if name not in UNEVEN | HOLD and not damaged:
            assert len(got) == len(want), name
        compared += 1
        if damaged:
            continue  # what a decoder makes of damage differs from run to run
        num_seen += 1
        # the k-th stored frame looks like the k-th decoded one, and no more like its neighbors
        off = np.abs(got - want[shown]).mean((1, 2))
        later = np.abs(got - want[np.minimum(shown + 1, len(want) - 1)]).mean((1, 2))
        before = np.abs(got - want[np.maximum(shown - 1, 0)]).mean((1, 2))
        assert (off <= np.minimum(later, before) + 1.0).all(), name
    assert compared >= 109
    assert num_seen >= 100
    assert reasons == WITHOUT_FRAMES


PACKED = (
    "sets/ucf101_subset/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
    "sets/ucf101_subset/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c04.avi",
    "odd/no_audio_hmdb51_SchoolRules_wave.avi",
)
OTHERS = ("clips/WUzgd7C1pWA.mp4", "clips/gizmo.webm", "clips/nasa_13013.avi", "clips/friday.mp4")


@pytest.mark.parametrize("name", [*PACKED, *OTHERS])
def test_codecs_agree_on_the_frames(name: str, shared_data: Path) -> None:
    jpeg, h264, copy = (decode(shared_data / name, codec=c) for c in ("jpeg", "h264", "copy"))
    assert jpeg.clock == h264.clock == copy.clock == ("sorted" if name in PACKED else "pts")
    assert np.array_equal(jpeg.frame_times_s, h264.frame_times_s)
    assert np.array_equal(jpeg.frame_times_s, copy.frame_times_s)
    assert jpeg.fps == h264.fps == copy.fps
    assert jpeg.num_dropped == 0


@pytest.mark.parametrize("name", [*PACKED, *OTHERS])
def test_apps_show_the_same_frames_at_the_same_times(name: str, shared_data: Path) -> None:
    times = np.unique(decode(shared_data / name).frame_times_s)
    with open_media(shared_data / name, LIMITS) as container:
        shown = [p.start_s for p in timed_pictures(container, pick_video(container, LIMITS))]
    assert shown == pytest.approx(times.tolist(), abs=1e-9)


@pytest.mark.parametrize("name", PACKED)
def test_packed_frames_at_a_fixed_rate_are_the_nearest_in_time(
    name: str, shared_data: Path
) -> None:
    video = decode(shared_data / name, fps=16)
    at = video.frame_times_s[0] + np.arange(video.num_frames) / 16
    off = np.abs(video.frame_times_s - at)
    assert off[1:].max() <= 0.5 / 25 + 1e-9


def test_play_order_gives_each_frame_a_time() -> None:
    stated = [1, 2, 4, 3, 5, 7, 6, 8]
    order: PlayOrder[int] = PlayOrder()
    got = [out for k, tick in enumerate(stated) for out in order.push(k, tick)]
    got += list(order.finish())
    assert got == [(k, k + 1) for k in range(8)]
    assert (order.clock, order.num_dropped) == ("sorted", 0)


def test_two_frames_of_one_time_are_one() -> None:
    order: PlayOrder[str] = PlayOrder()
    got = [out for k, tick in zip("abcd", [0, 1, 1, 2], strict=True) for out in order.push(k, tick)]
    got += list(order.finish())
    assert got == [("a", 0), ("b", 1), ("d", 2)]
    assert (order.clock, order.num_dropped) == ("pts", 1)


def test_decoding_times_of_any_reordering_are_sorted() -> None:
    rng = random.Random(0)
    for _ in range(50):
        # groups as H.264 reorders them: up to 16 frames change places
        ticks = [t for g in range(0, 64, 16) for t in rng.sample(range(g, g + 16), 16)]
        out = list(in_play_order(((k, t) for k, t in enumerate(ticks)), "dts"))
        assert out == [(k, k) for k in range(64)]
