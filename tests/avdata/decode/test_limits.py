"""Media that ask for more than the limits allow: each limit has its reason, before the work."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avdata.config import LimitsConfig
from avdata.decode.clip import DecodedClip
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec
from avdata.synthetic.movie import write_movie


def decode(path: Path, **limits: object) -> DecodedClip:
    return decode_clip(
        path,
        start_s=None,
        end_s=None,
        video=VideoSpec(short_side_px=16),
        audio=None,
        clips=ClipsSpec(),
        limits=LimitsConfig.model_validate(limits),
    )


def refusal(path: Path, **limits: object) -> MediaError:
    with pytest.raises(MediaError) as caught:
        decode(path, **limits)
    return caught.value


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of 64x48 with stereo sound."""
    path = tmp_path_factory.mktemp("limits") / "movie.mp4"
    rng = np.random.default_rng(0)
    write_movie(
        path,
        frames=(rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(75)),
        frame_times_s=None,
        fps=Fraction(25),
        sound=rng.normal(0, 0.1, (72000, 2)).astype(np.float32),
        sample_rate_hz=24000,
    )
    return path


def test_what_is_within_the_limits_is_decoded(movie: Path) -> None:
    clip = decode(
        movie, max_pixels=64 * 48, max_duration_s=3.1, max_streams=2, max_decoded_bytes=2_000_000
    )
    assert clip.video is not None
    assert clip.end_s == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("limit", "reason", "message"),
    [
        ({"max_pixels": 64 * 48 - 1}, "too_many_pixels", "64x48; limits.max_pixels=3071"),
        ({"max_duration_s": 2.0}, "too_long", "limits.max_duration_s=2.0"),
        ({"max_streams": 1}, "too_many_streams", "2 streams; limits.max_streams=1"),
        ({"max_decoded_bytes": 300_000}, "too_many_bytes", "limits.max_decoded_bytes=300000"),
    ],
)
def test_every_limit_has_its_reason(
    movie: Path, limit: dict[str, object], reason: str, message: str
) -> None:
    error = refusal(movie, **limit)
    assert error.reason == reason
    assert message in error.message


def test_a_listed_span_longer_than_the_limit_is_refused_unread(movie: Path) -> None:
    with pytest.raises(MediaError, match=r"too_long.*limits.max_duration_s=2.0"):
        decode_clip(
            movie,
            start_s=0.0,
            end_s=2.5,
            video=VideoSpec(),
            audio=None,
            clips=ClipsSpec(),
            limits=LimitsConfig(max_duration_s=2.0),
        )


def decode_sound(path: Path, **limits: object) -> DecodedClip:
    return decode_clip(
        path,
        start_s=None,
        end_s=None,
        video=None,
        audio=AudioSpec(),
        clips=ClipsSpec(),
        limits=LimitsConfig.model_validate(limits),
    )


def write_silence(path: Path, *, layout: str, seconds: int, num_streams: int = 1) -> None:
    """Silence in FLAC: next to no bytes, whatever its length."""
    with av.open(str(path), "w") as container:
        streams = [
            container.add_stream("flac", rate=8000, layout=layout) for _ in range(num_streams)
        ]
        channels = streams[0].codec_context.layout.nb_channels
        for start in range(0, seconds * 8000, 4000):
            for stream in streams:
                frame = av.AudioFrame.from_ndarray(
                    np.zeros((1, 4000 * channels), np.int16), format="s16", layout=layout
                )
                frame.sample_rate, frame.pts = 8000, start
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "six.mkv"
    write_silence(path, layout="5.1", seconds=2)
    assert decode_sound(path, max_channels=6).samples is not None
    with pytest.raises(
        MediaError, match=r"too_many_channels: 6 audio channels; limits.max_channels=5"
    ):
        decode_sound(path, max_channels=5)


def test_a_file_of_seventy_tracks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tracks.mkv"
    write_silence(path, layout="mono", seconds=1, num_streams=70)
    with pytest.raises(MediaError, match=r"too_many_streams: 70 streams; limits.max_streams=64"):
        decode_sound(path)
    assert decode_sound(path, max_streams=70).samples is not None


def test_a_small_file_that_decodes_to_much_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "still.mp4"
    picture = np.full((1536, 2048, 3), 90, np.uint8)
    write_movie(
        path,
        frames=(picture for _ in range(24)),
        frame_times_s=None,
        fps=Fraction(1),
        sound=None,
        sample_rate_hz=24000,
        preset="ultrafast",
    )
    assert path.stat().st_size < 200_000
    decoded_bytes = 24 * 2048 * 1536 * 3 // 2
    error = refusal(path, max_decoded_bytes=decoded_bytes - 1)
    assert error.reason == FailureReason.TOO_MANY_BYTES
    assert f"limits.max_decoded_bytes={decoded_bytes - 1}" in error.message
    assert decode(path, max_decoded_bytes=decoded_bytes * 2).video is not None


def test_sound_that_decodes_to_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "silence.mkv"
    write_silence(path, layout="5.1", seconds=60)
    decoded_bytes = 4 * 6 * 8000 * 60
    assert path.stat().st_size < decoded_bytes / 200
    with pytest.raises(MediaError, match="too_many_bytes"):
        decode_sound(path, max_decoded_bytes=decoded_bytes // 2)
    assert decode_sound(path, max_decoded_bytes=decoded_bytes * 2).samples is not None


def test_pictures_that_grow_in_mid_stream_are_refused(shared_data: Path) -> None:
    path = shared_data / "odd" / "resolution_change_vp8.webm"
    assert decode(path).video is not None
    error = refusal(path, max_pixels=1920 * 1080 - 1)
    assert error.reason == FailureReason.TOO_MANY_PIXELS
    huge = shared_data / "odd" / "corrupt_huge_frame_vp9.webm"
    assert refusal(huge).reason == FailureReason.TOO_MANY_PIXELS
