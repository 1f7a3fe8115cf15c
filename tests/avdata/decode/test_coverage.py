"""What becomes of a clip of which the medium holds only a part."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from flash_and_beep import MOVIES, make

from avdata.config import LimitsConfig
from avdata.decode.clip import DecodedClip
from avdata.decode.coverage import ClipSpan, Held, clip_span
from avdata.decode.packets import Span
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec

TEN = Span(origin_s=0.0, start_s=0.0, end_s=10.0)
WHOLE = Span(origin_s=0.0, start_s=0.0, end_s=math.inf, start_is_listed=False)


def held(*ends_s: float, start_s: float = 0.0, claims: Sequence[float | None] = ()) -> list[Held]:
    claims = claims or (None,) * len(ends_s)
    names = ("pictures", "sound")
    return [
        Held(name=name, start_s=start_s, end_s=end, claimed_end_s=claim)
        for name, end, claim in zip(names, ends_s, claims, strict=False)
    ]


def span(clip: ClipSpan) -> tuple[float, float]:
    return clip.start_s, clip.end_s


def test_what_is_all_there_is_kept() -> None:
    clip = clip_span(TEN, held(12.0, 11.0), ClipsSpec(uncovered="reject"))
    assert span(clip) == (0.0, 10.0)
    assert (clip.coverage, clip.truncated) == (1.0, False)


def test_less_than_the_tolerance_is_cut_off_under_every_policy_but_pad() -> None:
    for policy in ("reject", "shorten"):
        clip = clip_span(TEN, held(9.8, 10.0), ClipsSpec(uncovered=policy))
        assert span(clip) == (0.0, 9.8)
    padded = clip_span(TEN, held(9.8, 10.0), ClipsSpec(uncovered="pad"))
    assert span(padded) == (0.0, 10.0)
    assert padded.padded_end_s == pytest.approx(0.2)


def test_shorten_to_what_both_hold() -> None:
    clip = clip_span(TEN, held(7.0, 9.0), ClipsSpec())
    assert span(clip) == (0.0, 7.0)
    assert clip.coverage == pytest.approx(0.7)
    with pytest.raises(MediaError, match=r"4.000 s of the 10.000 s wanted .*min_coverage=0.5"):
        clip_span(TEN, held(4.0, 9.0), ClipsSpec())


def test_pad_to_the_listed_span() -> None:
    late = held(9.0, 9.0, start_s=2.0)
    clip = clip_span(TEN, late, ClipsSpec(uncovered="pad"))
    assert span(clip) == (0.0, 10.0)
    assert (clip.padded_start_s, clip.padded_end_s) == (2.0, 1.0)
    assert clip.coverage == pytest.approx(0.7)


def test_reject_names_what_is_missing() -> None:
    message = (
        r"9.000 s of the 10.000 s .*0.000 s are missing at the start, 1.000 s at the end.*reject"
    )
    with pytest.raises(MediaError, match=message) as caught:
        clip_span(TEN, held(9.0, 12.0), ClipsSpec(uncovered="reject"))
    assert caught.value.reason == FailureReason.NOT_COVERED


def test_a_truncated_medium_is_never_taken_by_accident() -> None:
    broken = held(8.0, 9.0, claims=(20.0, 20.0))
    with pytest.raises(MediaError, match=r"pictures break off at 8.000 s.*says 20.000 s") as caught:
        clip_span(TEN, broken, ClipsSpec())
    assert caught.value.reason == FailureReason.TRUNCATED
    clip = clip_span(TEN, broken, ClipsSpec(truncated="accept"))
    assert clip.truncated
    assert span(clip) == (0.0, 8.0)


def test_a_break_behind_the_span_does_not_matter() -> None:
    clip = clip_span(TEN, held(10.5, 10.5, claims=(20.0, 20.0)), ClipsSpec())
    assert not clip.truncated


def test_a_container_claims_the_end_of_its_longest_stream() -> None:
    assert span(clip_span(WHOLE, held(7.0, 9.9), ClipsSpec(), claimed_end_s=10.0)) == (0.0, 7.0)
    with pytest.raises(MediaError, match="truncated"):
        clip_span(WHOLE, held(7.0, 7.0), ClipsSpec(), claimed_end_s=10.0)


def test_a_read_error_inside_the_span_is_a_break() -> None:
    with pytest.raises(MediaError, match=r"break off at 7.000 s: Input/output error"):
        clip_span(TEN, held(7.0, 7.0), ClipsSpec(), read_error="Input/output error")


def test_without_listed_times_all_that_both_hold_is_wanted() -> None:
    clip = clip_span(WHOLE, held(10.0, 5.0, start_s=0.5), ClipsSpec(uncovered="reject"))
    assert span(clip) == (0.5, 5.0)
    assert clip.coverage == 1.0


def test_nothing_in_common() -> None:
    with pytest.raises(MediaError, match=r"pictures last from 12.000 to 20.000 s") as caught:
        clip_span(TEN, held(20.0, 20.0, start_s=12.0), ClipsSpec())
    assert caught.value.reason == FailureReason.OUTSIDE_MEDIA


def decode(path: Path, start_s: float | None, end_s: float | None, clips: ClipsSpec) -> DecodedClip:
    return decode_clip(
        path,
        start_s=start_s,
        end_s=end_s,
        video=VideoSpec(short_side_px=64),
        audio=AudioSpec(),
        clips=clips,
        limits=LimitsConfig(),
    )


def test_padding_is_silence_and_the_nearest_picture(tmp_path: Path) -> None:
    movie = make(tmp_path / "movie", MOVIES["late audio"])
    whole = decode(movie, None, None, ClipsSpec())
    length_s = whole.end_s
    clip = decode(movie, 0.0, length_s + 1, ClipsSpec(uncovered="pad"))
    assert clip.samples is not None and whole.samples is not None
    assert clip.video is not None and whole.video is not None
    assert clip.duration_s == pytest.approx(length_s + 1, abs=1 / 16)
    assert clip.samples.shape[1] == round(clip.duration_s * 24000)
    first = round(clip.padded_start_s * 24000)
    assert first == pytest.approx((whole.audio.start_s if whole.audio else 0) * 24000, abs=1)
    assert not clip.samples[:, : first - 50].any()
    assert not clip.samples[:, -20000:].any()
    frames = clip.video.frames
    last = frames.data[frames.offsets[-2] :]
    assert last == frames.data[frames.offsets[-3] : frames.offsets[-2]]
    common = whole.samples.shape[1] - 480
    at = round((whole.start_s - clip.start_s) * 24000)
    assert (
        np.abs(clip.samples[0, at : at + common].astype(int) - whole.samples[0, :common]).max()
        < 700
    )


def test_a_cut_file_is_truncated(tmp_path: Path, shared_data: Path) -> None:
    whole = (shared_data / "clips" / "flipping_a_pancake.mkv").read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) * 8 // 10])
    with pytest.raises(MediaError, match="break off") as caught:
        decode(cut, None, None, ClipsSpec())
    assert caught.value.reason == FailureReason.TRUNCATED
    assert decode(cut, 0.0, 5.0, ClipsSpec()).coverage == 1.0
    assert decode(cut, None, None, ClipsSpec(truncated="accept")).truncated


def test_a_medium_without_sound_can_be_stored_with_silence(shared_data: Path) -> None:
    path = shared_data / "odd" / "no_audio_nasa_13013.mp4"
    clip = decode(path, None, None, ClipsSpec(no_audio="silence"))
    assert clip.audio is None
    assert clip.samples is not None
    assert clip.samples.shape == (1, round(clip.duration_s * 24000))
    assert not clip.samples.any()
