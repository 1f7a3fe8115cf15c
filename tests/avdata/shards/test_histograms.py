"""Histograms of manifest columns: known bins, nothing lost, and what they say for training."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.errors import ShardSetError
from avdata.manifest import MANIFEST_SCHEMA
from avdata.schema import DatasetSpec, VideoSpec
from avdata.shards.histograms import (
    MAX_BINS,
    MAX_TEXTS,
    check_columns,
    histogram,
    text_counts,
)
from avdata.shards.histograms_picture import BAR, draw_histograms
from avdata.shards.row_filter import RowFilter
from avdata.shards.training_advice import advise, advised_columns, concerns


def of(name: str, values: list[float | None], kind: pa.DataType | None = None):
    return histogram(name, pa.chunked_array([pa.array(values, kind or pa.float64())]))


def test_shares_have_bins_from_0_to_1() -> None:
    seen = of("silence_fraction", [0.0, 0.02, 0.05, 0.5, 1.0, None])
    assert len(seen.edges) == 21
    assert seen.edges[1] == 0.05
    assert seen.counts[0] == 2
    assert seen.counts[1] == 1
    assert seen.counts[10] == 1
    assert seen.counts[19] == 1
    assert (seen.num_values, seen.num_missing) == (5, 1)
    assert (seen.min, seen.median, seen.max) == (0.0, 0.05, 1.0)


def test_shares_that_lie_together_have_finer_bins() -> None:
    seen = of("clipping_fraction", [0.0, 0.001, 0.004])
    assert seen.edges[0] == 0
    assert seen.edges[-1] == pytest.approx(0.004)
    assert sum(count > 0 for count in seen.counts) == 3


def test_round_borders() -> None:
    seen = of("duration_s", [0.3, 9.7, 5.0])
    assert seen.edges == tuple(k / 2 for k in range(21))
    assert [k for k, count in enumerate(seen.counts) if count] == [0, 10, 19]


def test_whole_numbers_have_whole_bins() -> None:
    seen = of("num_bad_packets", [0, 1, 2, 2], pa.int64())
    assert seen.edges == (0, 1, 2)
    assert seen.counts == (1, 3)


def test_a_long_tail_is_gathered_in_the_last_bin() -> None:
    values = [*np.linspace(20, 30, 1000).tolist(), 90000.0]
    seen = of("native_fps", values)
    assert seen.max == 90000
    assert seen.edges[-1] < 100
    assert sum(seen.counts) == 1001
    assert seen.counts[-1] == 1


def test_yes_or_no() -> None:
    seen = of("dual_mono", [True, False, True, None], pa.bool_())
    assert seen.is_bool
    assert seen.counts == (1, 2)
    assert seen.num_missing == 1


@pytest.mark.parametrize("values", [[2.5, 2.5], [1e-16, 3e-16], [25.0]])
def test_one_value(values: list[float]) -> None:
    seen = of("native_jitter_s", values)
    assert seen.is_constant
    assert seen.counts == (len(values),)


@pytest.mark.parametrize("values", [[], [None, None], [math.nan, math.inf]])
def test_no_value(values: list[float | None]) -> None:
    seen = of("av_offset_s", values)
    assert seen.num_values == 0
    assert not seen.is_constant
    assert seen.num_missing == len(values)


@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=60),
    st.sampled_from(["duration_s", "silence_fraction", "native_fps", "frames_bytes"]),
)
def test_every_value_is_in_one_bin(values: list[float], name: str) -> None:
    seen = of(name, values)
    assert sum(seen.counts) == len(values)
    assert 1 <= len(seen.counts) <= MAX_BINS
    assert list(seen.edges) == sorted(set(seen.edges))


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=60))
def test_every_whole_value_is_in_one_bin(values: list[int]) -> None:
    seen = of("num_frames", values, pa.int64())
    assert sum(seen.counts) == len(values)
    assert len(seen.counts) <= MAX_BINS


def test_unknown_column() -> None:
    with pytest.raises(ShardSetError, match=r"no column 'duratoin_s'; near it are duration_s"):
        check_columns(["coverage", "duratoin_s"])
    with pytest.raises(ShardSetError, match=r"'frame_times_s' holds list<.*>; shown are columns"):
        check_columns(["frame_times_s"])


def test_every_column_but_lists_of_numbers_is_shown() -> None:
    others = {"frame_offsets", "frame_times_s"}
    check_columns([name for name in MANIFEST_SCHEMA.names if name not in others])
    for name in others:
        with pytest.raises(ShardSetError, match=f"column '{name}' holds list"):
            check_columns([name])


@given(
    st.lists(st.none() | st.sampled_from(["h264", "aac", "", "a\nb"]), max_size=60),
    st.integers(0, 60),
)
def test_texts_are_counted_as_plain_python_does(values: list[str | None], cut: int) -> None:
    chunks = pa.chunked_array([values[:cut], values[cut:]], pa.string())
    seen = text_counts("video_codec", chunks)
    want = Counter(value for value in values if value is not None)
    assert dict(zip(seen.texts, seen.counts, strict=True)) == want
    assert list(seen.counts) == sorted(seen.counts, reverse=True)
    assert (seen.num_values, seen.num_missing) == (want.total(), values.count(None))
    assert seen.num_distinct == len(want)


@given(
    st.lists(st.none() | st.lists(st.sampled_from(["cat", "dog", "cow"]), max_size=4), max_size=40),
    st.integers(0, 40),
)
def test_a_clip_counts_for_each_of_its_labels(values: list[list[str] | None], cut: int) -> None:
    chunks = pa.chunked_array([values[:cut], values[cut:]], pa.list_(pa.string()))
    seen = text_counts("labels", chunks)
    want = Counter(label for labels in values for label in set(labels or ()))
    assert dict(zip(seen.texts, seen.counts, strict=True)) == want
    assert seen.num_values == sum(bool(labels) for labels in values)
    assert seen.num_values + seen.num_missing == len(values)


def test_only_the_most_frequent_of_many_texts_are_kept() -> None:
    values = [f"id {i}" for i in range(1000)] + ["often"] * 3
    seen = text_counts("source_id", pa.chunked_array([values]))
    assert (seen.texts[:2], seen.counts[:2]) == (("often", "id 0"), (3, 1))
    assert (len(seen.texts), seen.num_distinct, seen.num_values) == (MAX_TEXTS, 1001, 1003)


def test_picture_has_a_panel_a_column() -> None:
    some = of("duration_s", [1.0, 2.0])
    one, five = draw_histograms([some]), draw_histograms([some] * 5)
    assert five.width > one.width
    assert five.height > one.height
    assert draw_histograms([of("coverage", []), of("coverage", [1.0])]).height == one.height


def test_picture_has_a_bar_a_text() -> None:
    values = ["h264"] * 90 + ["mpeg4"] * 45 + [f"codec {i}" for i in range(20)]
    counts = text_counts("video_codec", pa.chunked_array([values]))
    pixels = np.asarray(draw_histograms([], [counts]))
    bars = (pixels == BAR).all(axis=2).sum(axis=1)
    first, second = (int(bars[top : top + 14].max()) for top in (74, 92))
    assert first > 200
    assert abs(second / first - 0.5) < 0.1
    empty = text_counts("video_codec", pa.chunked_array([[None]], pa.string()))
    assert draw_histograms([of("coverage", [1.0])], [counts, empty]).width > pixels.shape[1]


SPEC = DatasetSpec(
    fields=("frames",),
    video=VideoSpec(fps=16),
    num_shards=1,
    num_listed=4,
    num_clips=4,
    num_rejected=0,
    num_sources=4,
    labels=(),
    labels_hash="",
    build_hash="",
    listing_name="",
    software={},
)


GOOD: dict[str, object] = {
    "sound_missing": False,
    "silence_fraction": 0.0,
    "clipping_fraction": 0.0,
    "still_fraction": 0.0,
    "black_fraction": 0.0,
    "av_offset_s": 0.0,
    "coverage": 1.0,
    "duration_s": 5.0,
    "effective_duration_s": 5.0,
    "native_fps": 25.0,
}
"""What every clip has; all other columns have no value."""


def manifest_of(num_rows: int, **changes: object) -> pa.Table:
    """The columns that are advised about, in their own types."""
    columns = {}
    for name in advised_columns(SPEC):
        values = changes.get(name, [GOOD.get(name)] * num_rows)
        columns[name] = pa.array(values, MANIFEST_SCHEMA.field(name).type)
    return pa.table(columns)


def advice_for(**changes: list):
    return advise(manifest_of(4, **changes), SPEC)


def test_nothing_stands_out() -> None:
    assert advice_for() == ()


@pytest.mark.parametrize(
    ("column", "values", "text", "where"),
    [
        (
            "silence_fraction",
            [0.9, 1.0, 0.89, None],
            "2 of 4 clips are silent for 90 % or more",
            "silence_fraction < 0.9",
        ),
        (
            "dual_mono",
            [True, None, False, None],
            "1 of 4 clips have the same sound in both channels",
            "not dual_mono",
        ),
        (
            "av_offset_s",
            [-0.3, 0.3, 0.1, 0.0],
            "2 of 4 clips have streams that start more than 100 ms apart",
            "av_offset_s >= -0.1 and av_offset_s <= 0.1",
        ),
        ("native_fps", [15.0, 24.0, 25.0, 15.99], "1 of 4 clips had fewer", "native_fps >= 15.84"),
        ("coverage", [0.5] * 4, "4 of 4 clips hold less", None),
        (
            "audio_gap_s",
            [0.25, 0.26, 4.0, None],
            "2 of 4 clips miss more than 5 % of their audio",
            "audio_gap_s <= 0.05 * duration_s",
        ),
        (
            "frame_gap_s",
            [0.0, 0.26, 0.0, None],
            "1 of 4 clips miss more than 5 % of their frames",
            "frame_gap_s <= 0.05 * duration_s",
        ),
        (
            "num_corrupt_frames",
            [0, 1, 22, None],
            "2 of 4 clips have frames that the decoder flags as corrupt or concealed",
            "not num_corrupt_frames > 0",
        ),
        (
            "num_dropped_frames",
            [0, 1, 0, None],
            "1 of 4 clips have frames that could not be placed in time",
            "not num_dropped_frames > 0",
        ),
        (
            "excess_s",
            [0.0, 1.5, 1.6, None],
            "1 of 4 clips are from files cut 1.5 s or more too long",
            "not excess_s > 1.5",
        ),
        (
            "mono_loss_db",
            [0.0, 3.0, 100.0, None],
            "1 of 4 clips lose more than 6 dB when their channels are mixed",
            "not mono_loss_db > 6",
        ),
        (
            "num_audio_forms",
            [1, 2, 1, None],
            "1 of 4 clips change the sample rate or the channels of their audio",
            "not num_audio_forms > 1",
        ),
        ("interlaced", [True, False, False, None], "1 of 4 clips are interlaced", "not interlaced"),
        (
            "frame_clock",
            ["pts", "dts", "rate", None],
            "1 of 4 clips state no times of their frames",
            "not frame_clock in ('rate',)",
        ),
        (
            "color_transfer",
            ["bt709", "smpte2084", "arib-std-b67", None],
            "2 of 4 clips are coded for HDR displays (PQ or HLG)",
            "not color_transfer in ('smpte2084', 'arib-std-b67')",
        ),
    ],
)
def test_advice(column: str, values: list, text: str, where: str | None) -> None:
    (piece,) = advice_for(**{column: values})
    assert piece.column == column
    assert piece.text.startswith(text)
    assert piece.where == where
    # a comparison leaves out what has no value, `not` keeps it
    comparison = where is not None and not where.startswith("not ")
    assert piece.num_missing == (values.count(None) if comparison else 0)


@pytest.mark.parametrize(
    ("video", "means"),
    [
        (VideoSpec(), "video.tone_map=hable"),
        (VideoSpec(codec="copy"), "video.tone_map=hable and video.codec=jpeg or h264"),
        (VideoSpec(tone_map="hable"), None),
    ],
)
def test_advice_on_tone_mapping(video: VideoSpec, means: str | None) -> None:
    table = manifest_of(4, color_transfer=["smpte2084"] * 4)
    advice = advise(table, SPEC.model_copy(update={"video": video}))
    assert [piece.where for piece in advice] == ([] if means is None else [None])
    assert means is None or advice[0].means.endswith(f"build them with {means}")


def test_conditions_leave_exactly_the_clips_without_the_concern() -> None:
    generator = np.random.default_rng(0)
    checked = 0
    for concern in concerns(SPEC):
        kind, values = MANIFEST_SCHEMA.field(concern.column).type, []
        for k in range(50):
            times = generator.choice([-2.0, -1.0, 0.0, 0.5, 1.0, 1.5])
            if k % 7 == 3:
                values.append(None)
            elif concern.texts:
                values.append(str(generator.choice([*concern.texts, "another"])))
            elif concern.test == "is":
                values.append(bool(generator.random() < 0.5))
            else:
                limit = 5 * concern.limit if concern.test == "share" else concern.limit or 1
                values.append(
                    int(2 * limit * times) if pa.types.is_integer(kind) else limit * times
                )
        table = manifest_of(50, **{concern.column: values})
        (piece,) = advise(table, SPEC)
        assert piece.column == concern.column
        assert 0 < piece.num_clips < 50
        kept = RowFilter(piece.where, MANIFEST_SCHEMA).mask(table)
        assert kept.sum() == 50 - piece.num_clips - piece.num_missing
        assert piece.num_missing == (0 if concern.keeps_missing else values.count(None))
        checked += 1
    assert checked == 20
