"""Decoding: exact frames, exact cuts, and a true verdict on every odd file."""

import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from avdata.config import LimitsConfig
from avdata.decode import picture_run
from avdata.decode.clip import DecodedClip
from avdata.decode.playback import media_facts
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec
from avdata.shards.codec import decode_frame
from avdata.synthetic.movie import write_movie

COUNTER_BITS = 10


def counter_picture(number: int) -> np.ndarray:
    """A picture whose columns of blocks spell `number` in binary."""
    picture = np.full((64, 16 * COUNTER_BITS, 3), 16, np.uint8)
    for bit in range(COUNTER_BITS):
        if number >> bit & 1:
            picture[:, 16 * bit : 16 * bit + 16] = 235
    return picture


def read_counter(jpeg: bytes) -> int:
    lit = decode_frame(jpeg).mean((0, 2)).reshape(COUNTER_BITS, -1).mean(1) > 120
    return int(sum(1 << bit for bit in range(COUNTER_BITS) if lit[bit]))


def make_counter(path: Path, *, fps: Fraction, num_frames: int, bframes: int = 3) -> Path:
    duration_s = float(num_frames / fps)
    n = np.arange(round(duration_s * 24000))
    write_movie(
        path,
        frames=(counter_picture(i) for i in range(num_frames)),
        frame_times_s=None,
        fps=fps,
        sound=(0.3 * np.sin(2 * np.pi * 440 * n / 24000)).astype(np.float32)[:, None],
        sample_rate_hz=24000,
        bframes=bframes,
    )
    return path


def jpegs(clip: DecodedClip) -> list[bytes]:
    """The stored frames, one by one."""
    assert clip.video is not None
    frames = clip.video.frames
    return [frames.data[a:b] for a, b in pairwise(frames.offsets)]


def decode(path: Path, **changes: object) -> DecodedClip:
    arguments: dict = {
        "start_s": None,
        "end_s": None,
        "video": VideoSpec(short_side_px=64),
        "audio": AudioSpec(),
        "clips": ClipsSpec(),
        "limits": LimitsConfig(),
    }
    return decode_clip(path, **{**arguments, **changes})


@pytest.mark.parametrize("fps", [Fraction(30), Fraction(30000, 1001), Fraction(25), Fraction(8)])
def test_stored_frames_are_the_nearest_source_frames(fps: Fraction, tmp_path: Path) -> None:
    path = make_counter(tmp_path / "counter.mp4", fps=fps, num_frames=int(4 * fps))
    clip = decode(path)
    assert clip.video is not None
    seen = [read_counter(jpeg) for jpeg in jpegs(clip)]
    source_s = np.arange(int(4 * fps)) / float(fps)
    distance = [
        abs(source_s[number] - (clip.start_s + k / 16))
        - np.abs(source_s - clip.start_s - k / 16).min()
        for k, number in enumerate(seen)
    ]
    assert max(distance) < 1e-6
    assert np.allclose(clip.video.frame_times_s, source_s[seen], atol=1e-3)
    assert clip.video.native_fps == pytest.approx(float(fps), rel=1e-3)


def test_skipping_unreferenced_pictures_changes_no_byte(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((shared_data / "clips").glob("*.mp4"))
    assert len(paths) == 14
    skipped = [decode(path) for path in paths]
    monkeypatch.setattr(picture_run, "unneeded_packets", lambda *_: set())
    for path, fast in zip(paths, skipped, strict=True):
        full = decode(path)
        assert full.video is not None
        assert fast.video is not None
        assert jpegs(full) == jpegs(fast)
        assert (full.start_s, full.end_s) == (fast.start_s, fast.end_s)


def test_a_span_far_inside_equals_the_same_part_of_the_whole(tmp_path: Path) -> None:
    path = make_counter(tmp_path / "long.mp4", fps=Fraction(25), num_frames=500)
    clip = decode(path, start_s=12.0, end_s=14.0)
    assert (clip.start_s, clip.end_s) == (12.0, 14.0)
    assert clip.video is not None
    assert clip.audio is not None
    assert [read_counter(jpeg) for jpeg in jpegs(clip)] == [
        round(np.floor((12 + k / 16) * 25 + 0.5)) for k in range(32)
    ]
    tone = np.sin(2 * np.pi * 440 * (12 + np.arange(48000) / 24000))
    correlation = np.corrcoef(clip.samples[0], tone)[0, 1]
    assert clip.samples.shape == (1, 48000)
    assert correlation > 0.99


def test_bt709_colors_are_stored_as_readers_expect(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "odd" / "audio_shorter_5s_of_10s.mp4"
    clip = decode(path, video=VideoSpec(short_side_px=256, quality=95))
    assert clip.video is not None
    import av

    with av.open(str(path)) as container:
        reference = next(container.decode(video=0)).to_ndarray(
            format="rgb24", width=clip.video.width_px, height=clip.video.height_px
        )
    stored = decode_frame(jpegs(clip)[0]).astype(float)
    assert np.abs(stored.mean((0, 1)) - reference.mean((0, 1))).max() < 2.0


@pytest.mark.parametrize("layout", ["mono", "stereo", "foa"])
def test_channel_layouts(layout: str, shared_data: Path) -> None:
    path = shared_data / "odd" / "ambisonic_bformat_4ch_BF_rec3.ogg"
    clip = decode(path, video=None, audio=AudioSpec(layout=layout))
    assert clip.audio is not None
    assert clip.samples.shape[0] == AudioSpec(layout=layout).num_channels
    assert clip.audio.native_channels == 4
    surround = shared_data / "clips" / "bbb_5.1.mp4"
    if layout == "foa":
        with pytest.raises(MediaError, match=r"6 channels .FL FR FC LFE.* no first-order"):
            decode(surround, video=None, audio=AudioSpec(layout=layout))
    else:
        assert decode(surround, video=None, audio=AudioSpec(layout=layout)).audio is not None


ODD = {
    # file: verdict, and for clips start and end on the media clock as the media's README has them
    "360_equirect_6ch_ground_truth.mp4": (0.0, 10.2),
    "360_spherical_metadata.mp4": FailureReason.NO_AUDIO,
    "ambisonic_4ch_aac.mp4": FailureReason.NO_VIDEO,
    "ambisonic_4ch_opus_mapping2.webm": FailureReason.NO_VIDEO,
    "ambisonic_bformat_4ch_BF_rec3.ogg": FailureReason.NO_VIDEO,
    "audio_5_1_opus.opus": FailureReason.NO_VIDEO,
    "audio_longer_than_video_street.mp4": (0.0, 3.63),
    "audio_shorter_5s_of_10s.mp4": (0.0, 5.02),
    "av1_10bit_opus.webm": (0.02, 0.99),
    "corrupt_bug604067.webm": FailureReason.AUDIO_UNDECODABLE,
    "corrupt_decord.mp4": FailureReason.NO_AUDIO,
    "corrupt_fuzz_1181719.mp4": FailureReason.AUDIO_UNDECODABLE,
    "corrupt_fuzz_1301065-i64max.mp4": FailureReason.NO_VIDEO,
    "corrupt_fuzz_1351094.mp4": FailureReason.NO_AUDIO,
    "corrupt_fuzz_1388991.mp4": (0.03, 30.0),
    "corrupt_fuzz_1389299.mp4": FailureReason.NOT_MEDIA,
    "corrupt_huge_frame_vp9.webm": FailureReason.TOO_MANY_PIXELS,
    "corrupt_truncated_chapter.mkv": FailureReason.NOT_MEDIA,
    "cover_art_as_second_video.mp4": (0.0, 3.08),
    "edit_list_bipbop.mp4": (0.095, 9.97),
    "edit_list_empty_5s.mov": FailureReason.NO_AUDIO,
    "edit_list_removed_bipbop.mp4": (0.0, 9.88),
    "encrypted_cenc.mp4": FailureReason.AUDIO_UNDECODABLE,
    "hevc_10bit_aac.mp4": (0.0, 1.0),
    "late_video_0.5s_mpegts.ts": (20.41, 29.87),
    "mpeg2_ac3_start_1s.mpg": (1.0, 2.54),
    "mpeg2_mp2_start_0.5s.mpeg": (0.53, 8.78),
    "mpeg4_amr.3gp": (0.0, 4.93),
    "multitrack.mkv": (0.02, 15.02),
    "no_audio_arm_wrestling_demo.mp4": FailureReason.NO_AUDIO,
    "no_audio_hmdb51_SchoolRules_wave.avi": FailureReason.NO_AUDIO,
    "no_audio_nasa_13013.mp4": FailureReason.NO_AUDIO,
    "no_audio_rails_video.mp4": FailureReason.NO_AUDIO,
    "no_audio_v_SoccerJuggling_g23_c01.avi": FailureReason.NO_AUDIO,
    "no_video_nasa_13013.mp4": FailureReason.NO_VIDEO,
    "no_video_rails_video.mp4": FailureReason.NO_VIDEO,
    "non_zero_start_8.3s.mp4": FailureReason.NO_AUDIO,
    "not_media_3gpp.mp4": FailureReason.NOT_MEDIA,
    "one_by_one_pixel_-name-with-dash-.mp4": FailureReason.NO_AUDIO,
    "resolution_change_vp8.webm": FailureReason.NO_AUDIO,
    "rotated_180.mov": FailureReason.NO_AUDIO,
    "rotated_90.mov": FailureReason.NO_AUDIO,
    "rotated_90_vfr_with_audio.mp4": (0.226, 5.18),
    "rotated_nasa_13013.mp4": FailureReason.NO_AUDIO,
    "sar_11_12_ac3.mp4": (0.0, 0.7),
    "sar_3_2_rectangular.mp4": (0.0, 5.18),
    "sar_4_3_bipbop.mp4": (0.0, 1.58),
    "start_10s_mpegts.ts": (10.0, 19.89),
    "theora_flac.ogv": (0.0, 3.0),
    "theora_vorbis.ogg": (0.0, 4.0),
    "truncated_64bit.mp4": FailureReason.AUDIO_UNDECODABLE,
    "vfr_uneven_frame_durations.mp4": FailureReason.NO_AUDIO,
    "vfr_wmv2_wmav2.wmv": (0.064, 34.2),
    "wrong_extension_flv.mp4": FailureReason.TRUNCATED,
    "zero_bytes.webm": FailureReason.NOT_MEDIA,
}


def test_every_odd_file_has_a_verdict(shared_data: Path) -> None:
    assert sorted(p.name for p in (shared_data / "odd").iterdir()) == sorted(ODD)


@pytest.mark.parametrize("name", ODD)
def test_odd_file(name: str, shared_data: Path) -> None:
    expected = ODD[name]
    path = shared_data / "odd" / name
    if isinstance(expected, FailureReason):
        with pytest.raises(MediaError) as fault:
            decode(path)
        assert fault.value.reason == expected
        return
    clip = decode(path)
    assert clip.start_s == pytest.approx(expected[0], abs=0.015)
    assert expected[1] - 1 / 16 - 0.015 <= clip.end_s <= expected[1] + 0.015


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("rotated_90.mov", (64, 114)),
        ("rotated_180.mov", (114, 64)),
        ("rotated_nasa_13013.mp4", (64, 114)),
        ("no_audio_arm_wrestling_demo.mp4", (106, 64)),
        ("resolution_change_vp8.webm", (114, 64)),
        ("vfr_uneven_frame_durations.mp4", (64, 136)),
        ("edit_list_empty_5s.mov", (86, 64)),
        ("one_by_one_pixel_-name-with-dash-.mp4", (64, 64)),
        ("360_spherical_metadata.mp4", (114, 64)),
    ],
)
def test_pictures_alone_are_upright_and_square(
    name: str, size: tuple[int, int], shared_data: Path
) -> None:
    clip = decode(
        shared_data / "odd" / name,
        audio=None,
        clips=ClipsSpec(min_duration_s=0.01),
        # 29 of the 100 frames of edit_list_empty_5s.mov are damaged
        limits=LimitsConfig(max_bad_packet_fraction=0.3),
    )
    assert clip.video is not None
    assert (clip.video.width_px, clip.video.height_px) == size
    sizes = {decode_frame(jpeg).shape for jpeg in jpegs(clip)}
    assert sizes == {(size[1], size[0], 3)}


@pytest.mark.parametrize("codec", ["jpeg", "h264", "copy"])
def test_pixels_are_as_wide_as_the_container_alone_says(codec: str, tmp_path: Path) -> None:
    path = make_counter(tmp_path / "square.mp4", fps=Fraction(25), num_frames=50)
    wide = tmp_path / "wide.mkv"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    subprocess.run([*command, "-c", "copy", "-aspect", "10:3", str(wide)], check=True)
    spec = VideoSpec.model_validate({"short_side_px": 48, "codec": codec})
    video = decode(wide, video=spec, audio=None).video
    assert video is not None
    assert video.pixel_aspect == pytest.approx(4 / 3, rel=1e-3)  # 160x64 as 10:3
    assert (video.width_px, video.height_px) == (160, 48)
    facts = media_facts(wide, LimitsConfig()).pictures  # as the applications see it
    assert facts is not None and (facts.width_px, facts.height_px) == (214, 64)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"start_s": 50.0, "end_s": 60.0}, FailureReason.OUTSIDE_MEDIA),
        ({"start_s": 4.0, "end_s": 14.0}, FailureReason.NOT_COVERED),
        ({"start_s": 4.9, "end_s": 5.2}, FailureReason.TOO_SHORT),
        ({"start_s": 0.0, "end_s": 700.0}, FailureReason.TOO_LONG),
        ({"limits": LimitsConfig(max_duration_s=2)}, FailureReason.TOO_LONG),
        ({"limits": LimitsConfig(max_pixels=100)}, FailureReason.TOO_MANY_PIXELS),
        ({"limits": LimitsConfig(max_channels=1)}, None),
    ],
)
def test_reasons(changes: dict[str, object], reason: FailureReason | None, tmp_path: Path) -> None:
    path = make_counter(tmp_path / "five.mp4", fps=Fraction(25), num_frames=125)
    if reason is None:
        assert decode(path, **changes).num_bad_packets == 0
        return
    with pytest.raises(MediaError) as fault:
        decode(path, **changes)
    assert fault.value.reason == reason


@pytest.mark.parametrize("name", ["rotated_90.mov", "rotated_180.mov", "rotated_nasa_13013.mp4"])
def test_pictures_are_turned_as_ffmpeg_turns_them(name: str, shared_data: Path) -> None:
    path = shared_data / "odd" / name
    clip = decode(
        path,
        audio=None,
        video=VideoSpec(short_side_px=256),
        clips=ClipsSpec(min_duration_s=0.01),
    )
    assert clip.video is not None
    height, width = clip.video.height_px, clip.video.width_px
    arguments = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    arguments += ["-vf", f"scale={width}:{height}:flags=area", "-frames:v", "1"]
    arguments += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    output = subprocess.run(arguments, capture_output=True, check=True).stdout
    reference = np.frombuffer(output, np.uint8).reshape(height, width, 3).astype(float)
    assert np.abs(decode_frame(jpegs(clip)[0]) - reference).mean() < 4
