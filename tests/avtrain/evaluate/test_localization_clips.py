"""Which clips are looked at: they show all moments, and controls are far enough away."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtrain.errors import DataError
from avtrain.evaluate.boxes import Box, Moment
from avtrain.evaluate.boxes_file import BoxesFile
from avtrain.evaluate.localization_clips import (
    OTHER,
    OWN,
    SHIFTED,
    SILENT,
    MomentClip,
    moment_clips,
    sample_moments,
)

BOX = Box(x0=0, y0=0, x1=0.5, y1=0.5)


class Source:
    """Samples of the given lengths, each of its own source."""

    clip_s, min_shift_s, has_magnitude = 2.0, 1.0, True

    def __init__(self, *lengths_s: float, sources: Sequence[int] | None = None) -> None:
        self.lengths_s = lengths_s
        count = len(lengths_s)
        self.table = SimpleNamespace(
            keys=[f"clip-{i}" for i in range(count)],
            source_index=np.array(sources if sources is not None else range(count)),
        )

    def last_start_s(self, sample: int) -> float | None:
        last_s = self.lengths_s[sample] - self.clip_s
        return last_s if last_s >= 0 else None


def at(*times_s: float) -> tuple[Moment, ...]:
    return tuple(Moment(time_s=time_s, sounding=(BOX,)) for time_s in times_s)


def clips_of(source: Source, *times_s: float, seed: int = 0) -> list[MomentClip]:
    moments = {i: at(*times_s) for i in range(len(source.lengths_s))}
    return moment_clips(source, moments, seed=seed)


def test_one_moment_is_in_the_middle_as_far_as_the_sample_goes() -> None:
    source = Source(10.0)
    assert clips_of(source, 5.0)[0].request.start_s == pytest.approx(4.0)
    assert clips_of(source, 0.3)[0].request.start_s == 0
    assert clips_of(source, 9.9)[0].request.start_s == pytest.approx(8.0)


def test_moments_near_each_other_share_a_clip() -> None:
    first, second = clips_of(Source(10.0), 3.0, 4.5, 4.7)
    assert [m.time_s for m in first.moments] == [3.0, 4.5]  # within 1.6 s
    assert first.request.start_s == pytest.approx(2.75)
    assert [m.time_s for m in second.moments] == [4.7]


@given(
    st.lists(st.floats(0, 9.99), min_size=1, max_size=12),
    st.floats(2.0, 10.0),
    st.integers(0, 5),
)
def test_each_moment_is_in_one_clip_and_shifts_are_far(
    times_s: list[float], length_s: float, seed: int
) -> None:
    times_s = [time_s * length_s / 10 for time_s in times_s]
    source = Source(length_s, length_s)
    clips = [clip for clip in clips_of(source, *times_s, seed=seed) if clip.request.sample == 0]
    seen = sorted(moment.time_s for clip in clips for moment in clip.moments)
    assert seen == sorted(times_s)
    for clip in clips:
        start_s, sounds = clip.request.start_s, clip.request.sounds
        assert 0 <= start_s <= length_s - 2 + 1e-9
        for moment in clip.moments:
            assert start_s - 1e-9 <= moment.time_s <= start_s + 2 + 1e-9
        assert sounds[OWN].start_s == start_s
        assert sounds[SILENT] is None
        assert sounds[OTHER].sample == 1
        if sounds[SHIFTED] is None:
            assert clip.absent == {"shifted"}
            assert start_s < 1 and start_s + 1 > length_s - 2
        else:
            assert clip.absent == set()
            shifted_s = sounds[SHIFTED].start_s
            assert 0 <= shifted_s <= length_s - 2 + 1e-9
            assert abs(shifted_s - start_s) >= 1 - 1e-9


def test_shifts_follow_from_the_seed() -> None:
    source = Source(10.0)
    one, same, other = (
        clips_of(source, 5.0, seed=seed)[0].request.sounds[SHIFTED] for seed in (0, 0, 1)
    )
    assert one == same != other


def test_one_source_has_no_other_sound() -> None:
    [first, *_] = clips_of(Source(10.0, 10.0, sources=[7, 7]), 5.0)
    assert first.absent == {"other"}


def test_samples_that_are_too_short_have_no_clip() -> None:
    assert [clip.request.sample for clip in clips_of(Source(1.5, 3.0), 1.0)] == [1]


def moments_of(file: BoxesFile, samples: Sequence[int] = (0, 1), **more: object):
    given = {
        "source_ids": ["s0", "s1"],
        "starts_s": [0.0, 3.0],
        "durations_s": [4.0, 4.0],
        "where": "set",
    } | more
    return sample_moments(file, Source(4.0, 4.0).table, samples, **given)


def test_moments_are_found_by_key_and_by_source() -> None:
    file = BoxesFile(moments={"clip-0": at(1.0), "s1": at(2.0, 9.0)}, on_media_clock=False)
    found = moments_of(file)
    assert [m.time_s for m in found[0]] == [1.0]
    assert [m.time_s for m in found[1]] == [2.0]  # 9 s is beyond the sample
    file = BoxesFile(moments={"s0": at(2.0), "s1": at(2.0, 5.0)}, on_media_clock=True)
    assert [m.time_s for m in moments_of(file)[1]] == [2.0]  # starts at 3 s of its medium
    middle = Moment(time_s=None, sounding=(BOX,))
    file = BoxesFile(moments={"clip-1": (middle,)}, on_media_clock=False)
    assert moments_of(file)[1][0].time_s == 2.0


def test_names_that_do_not_fit_are_said() -> None:
    file = BoxesFile(moments={"elsewhere": at(1.0)}, on_media_clock=False)
    with pytest.raises(DataError, match="its keys are as 'clip-0', the boxes name 'elsewhere'"):
        moments_of(file)
    file = BoxesFile(moments={"s0": at(1.0)}, on_media_clock=False)
    with pytest.raises(DataError, match="source s0, of which set has several samples"):
        moments_of(file, source_ids=["s0", "s0"])
