"""Streams of every real file are found where the media's README measured them to be.

The README's figures come from decoding every file from start to end, by other code.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from avdata.config import LimitsConfig
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec

ROW = re.compile(r"\| `(?:clips|odd)/([^`]+)` \| [^|]* \| [^|]* \| ([^|]*) \|")
VIDEO = re.compile(r"V (\w+) (\d+)x(\d+).*? (\d+) frames?, ([\d.]+)-([\d.]+) s")
AUDIO = re.compile(r"A (\w+) (\d+) Hz (\d+) ch, ([\d.]+) s(?: from ([\d.]+) s)?")
NUM_FILES = 75

TAKES_ALL = ClipsSpec(min_duration_s=1e-3, truncated="accept", min_coverage=0)
"""Every stream to the end, whatever its header says."""
OTHER_THAN_MEASURED = {
    "corrupt_fuzz_1388991.mp4": "its damaged sound has gaps, which are kept as silence",
    "one_by_one_pixel_-name-with-dash-.mp4": "the README gives no times: 1 fps",
}


@dataclass(frozen=True)
class Measured:
    """The first stream of each kind, as the README has it."""

    video: re.Match[str] | None
    audio: re.Match[str] | None
    nothing_decodes: bool


@lru_cache
def measured(readme: Path) -> dict[str, Measured]:
    rows = {}
    for name, streams in ROW.findall(readme.read_text()):
        rows[name] = Measured(
            video=VIDEO.search(streams),
            audio=AUDIO.search(streams),
            nothing_decodes="does not open" in streams or "no frame decodes" in streams,
        )
    return rows


def names() -> list[str]:
    readme = Path(__file__).parents[4] / "shared" / "data" / "README.md"
    return sorted(measured(readme)) if readme.exists() else []


def test_every_file_is_in_the_readme(shared_data: Path) -> None:
    found = {p.name for folder in ("clips", "odd") for p in (shared_data / folder).iterdir()}
    assert found == set(measured(shared_data / "README.md"))
    assert len(found) == NUM_FILES


@pytest.mark.parametrize("name", names())
def test_streams_lie_where_they_were_measured(name: str, shared_data: Path) -> None:
    facts = measured(shared_data / "README.md")[name]
    path = next(p for d in ("clips", "odd") if (p := shared_data / d / name).exists())

    def decode(video: VideoSpec | None, audio: AudioSpec | None):
        return decode_clip(
            path,
            start_s=None,
            end_s=None,
            video=video,
            audio=audio,
            clips=TAKES_ALL,
            limits=LimitsConfig(max_bad_packet_fraction=0.99),
        )

    if facts.nothing_decodes and facts.video is None and facts.audio is None:
        with pytest.raises(MediaError):
            decode(VideoSpec(short_side_px=64), AudioSpec())
    if facts.video is not None:
        _, width, height, num_frames, first_s, last_s = facts.video.groups()
        seen = decode(VideoSpec(short_side_px=64), None).video
        assert seen is not None
        assert seen.start_s == pytest.approx(float(first_s), abs=0.006)
        if name not in OTHER_THAN_MEASURED:
            gap_s = (float(last_s) - float(first_s)) / max(int(num_frames) - 1, 1)
            assert seen.end_s == pytest.approx(float(last_s) + gap_s, abs=0.006 + gap_s)
        if name != "resolution_change_vp8.webm":  # the README has its largest size
            assert (seen.native_width_px, seen.native_height_px) == (int(width), int(height))
    if facts.audio is not None:
        _, rate_hz, channels, length_s, start_s = facts.audio.groups()
        clip = decode(None, AudioSpec())
        assert clip.audio is not None
        assert clip.audio.native_sample_rate_hz == int(rate_hz)
        assert clip.audio.native_channels == int(channels)
        if start_s is not None:
            assert clip.audio.start_s == pytest.approx(float(start_s), abs=0.006)
        if name not in OTHER_THAN_MEASURED:
            length = clip.audio.end_s - clip.audio.start_s
            assert length == pytest.approx(float(length_s), abs=0.04)
    if facts.video is None and facts.audio is not None:
        with pytest.raises(MediaError) as fault:
            decode(VideoSpec(short_side_px=64), AudioSpec())
        assert fault.value.reason in (FailureReason.NO_VIDEO, FailureReason.VIDEO_UNDECODABLE)
    if facts.audio is None and facts.video is not None:
        with pytest.raises(MediaError) as fault:
            decode(VideoSpec(short_side_px=64), AudioSpec())
        assert fault.value.reason in (FailureReason.NO_AUDIO, FailureReason.AUDIO_UNDECODABLE)
