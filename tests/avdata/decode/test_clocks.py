"""Clocks that restart, jump, start below zero, or state no presentation times.

They are followed or named, and the apps do as the builder does.
"""

import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import pytest
from packet_edits import Edit, read_number, remux, write_counted

from avdata import FailureReason, LimitsConfig, MediaError, stream_pictures, stream_sound
from avdata.decode.clip import DecodedClip, total_s
from avdata.decode.with_av import decode_clip
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec
from avdata.shards.codec import decode_frame

LIMITS = LimitsConfig()
SECONDS = 12.0
RATE_HZ = 8000
CONTAINERS = (".ts", ".mkv", ".mp4")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clocks")
    for suffix in CONTAINERS:
        write_counted(folder / f"base{suffix}", seconds=SECONDS, bframes=2)
    return folder


def decode(
    path: Path, start_s: float | None = None, end_s: float | None = None, fields: str = "both"
) -> DecodedClip:
    return decode_clip(
        path,
        start_s=start_s,
        end_s=end_s,
        video=None if fields == "audio" else VideoSpec(short_side_px=48, fps="native"),
        audio=None if fields == "frames" else AudioSpec(sample_rate_hz=RATE_HZ),
        clips=ClipsSpec(),
        limits=LIMITS,
    )


def numbers(clip: DecodedClip) -> list[int]:
    """What the stored pictures show."""
    assert clip.video is not None
    frames = clip.video.frames
    return [read_number(decode_frame(frames.data[a:b])) for a, b in pairwise(frames.offsets)]


def played(path: Path) -> tuple[list[int], float]:
    """Numbers of the pictures, and seconds of sound, as the apps have them."""
    seen = [
        read_number(pixels)
        for _, pixels in stream_pictures(path, LIMITS, width_px=160, height_px=48)
    ]
    return seen, sum(
        b.shape[1] for b in stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ)
    ) / RATE_HZ


@pytest.mark.parametrize("fields", ["both", "frames", "audio"])
def test_a_clock_that_restarts_is_named(fields: str, bases: Path) -> None:
    path, data = bases / "restarts.ts", (bases / "base.ts").read_bytes()
    path.write_bytes(data + data)
    for span in ((None, None), (13.0, 17.0), (10.0, 14.0), (11.9, 12.6)):
        with pytest.raises(
            MediaError, match=r"clock of its (frames|audio) goes back from 1[12]\.\d+ s"
        ) as seen:
            decode(path, *span, fields=fields)
        assert seen.value.reason == FailureReason.CLOCK_RESTARTS
    before = decode(path, 2.0, 6.0, fields=fields)
    assert before.duration_s == pytest.approx(4, abs=0.04)
    assert before.coverage == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "play",
    [
        lambda path: stream_sound(path, LIMITS, sample_rate_hz=RATE_HZ),
        lambda path: stream_pictures(path, LIMITS, width_px=8, height_px=8),
    ],
)
def test_the_apps_name_it_too(play: Callable[[Path], Iterator[object]], bases: Path) -> None:
    path, data = bases / "restarts.ts", (bases / "base.ts").read_bytes()
    path.write_bytes(data + data)
    with pytest.raises(MediaError) as seen:
        list(play(path))
    assert seen.value.reason == FailureReason.CLOCK_RESTARTS


def moved(by_s: float, from_s: float = 0.0) -> Callable[[Edit], list[Edit]]:
    """Moves the packets that are decoded at `from_s` or later."""

    def edit(packet: Edit) -> list[Edit]:
        if (packet.dts or 0) * packet.tick_s >= from_s:
            packet.move(by_s)
        return [packet]

    return edit


@pytest.mark.parametrize("below_s", [0.2, 4.0])
def test_a_broadcast_clock_below_zero_is_followed(below_s: float, bases: Path) -> None:
    options = {"avoid_negative_ts": "disabled"}
    path = remux(bases / "base.ts", bases / f"below{below_s}.ts", moved(-below_s), options=options)
    whole, part = decode(path), decode(path, 1.0, 3.0)
    assert whole.start_s < 0
    assert numbers(whole) == list(range(300))
    assert whole.samples is not None
    assert whole.samples.any()
    assert part.duration_s == pytest.approx(2)
    assert numbers(part) == [24 + k for k in range(50)]  # sound starts a frame before
    seen, heard_s = played(path)
    assert seen == list(range(300))
    assert heard_s == pytest.approx(SECONDS, abs=0.05)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_jump_of_two_seconds_is_a_gap(suffix: str, bases: Path) -> None:
    path = remux(bases / f"base{suffix}", bases / f"jump{suffix}", moved(2.0, 6.0))
    clip = decode(path)
    assert clip.duration_s == pytest.approx(14, abs=0.08)
    assert total_s(clip.audio_gaps_s) == pytest.approx(2, abs=0.05)
    assert clip.coverage == pytest.approx(12 / 14, abs=0.01)
    seen, heard_s = played(path)
    assert seen == list(range(300))
    assert heard_s == pytest.approx(14, abs=0.05)


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("jump_s", [1000.0, 5000.0])
def test_a_jump_behind_the_longest_clip_is_named(jump_s: float, suffix: str, bases: Path) -> None:
    path = remux(bases / f"base{suffix}", bases / f"far{jump_s:.0f}{suffix}", moved(jump_s, 6.0))
    with pytest.raises(MediaError, match=r"there are \d+\.\d s or more") as seen:
        decode(path)
    assert seen.value.reason == FailureReason.TOO_LONG
    assert decode(path, 2.0, 5.0).coverage == pytest.approx(1)
    assert decode(path, 7.0 + jump_s, 9.0 + jump_s).coverage == pytest.approx(1)
    with pytest.raises(MediaError) as seen:  # sound for 2 s of 5, and it goes on later
        decode(path, 4.0, 9.0)
    assert seen.value.reason == FailureReason.NOT_COVERED


def test_h264_in_avi_is_in_play_order(bases: Path) -> None:
    """AVI states no presentation times, and FFmpeg's guess of the last one is wrong."""
    path = bases / "copied.avi"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(bases / "base.mp4")]
    subprocess.run([*command, "-c", "copy", str(path)], check=True)
    whole, part = decode(path, fields="frames"), decode(path, 7.0, 9.0)
    assert whole.video is not None
    assert whole.video.clock == "dts"
    assert whole.video.native_fps == pytest.approx(25)
    assert numbers(whole) == list(range(300))
    assert numbers(part) == list(range(175, 225))
    assert played(path)[0] == list(range(300))
