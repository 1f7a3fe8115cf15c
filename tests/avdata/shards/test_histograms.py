"""Histograms of manifest columns: known bins, nothing lost, and what they say for training."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.errors import ShardSetError
from avdata.schema import DatasetSpec, VideoSpec
from avdata.shards.histograms import MAX_BINS, check_columns, histogram
from avdata.shards.histograms_picture import draw_histograms
from avdata.shards.training_advice import advise, concerns


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
    with pytest.raises(ShardSetError, match=r"'labels' holds list<.*>; histograms are of numbers"):
        check_columns(["labels"])


def test_picture_has_a_panel_a_column() -> None:
    some = of("duration_s", [1.0, 2.0])
    one, five = draw_histograms([some]), draw_histograms([some] * 5)
    assert five.width > one.width
    assert five.height > one.height
    assert draw_histograms([of("coverage", []), of("coverage", [1.0])]).height == one.height


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


def advice_for(spec: DatasetSpec = SPEC, **changes: list):
    columns = {
        "sound_missing": [False] * 4,
        "silence_fraction": [0.0] * 4,
        "clipping_fraction": [0.0] * 4,
        "dual_mono": [None] * 4,
        "still_fraction": [0.0] * 4,
        "black_fraction": [0.0] * 4,
        "av_offset_s": [0.0] * 4,
        "coverage": [1.0] * 4,
        "effective_duration_s": [5.0] * 4,
        "native_fps": [25.0] * 4,
        "color_transfer": [None, None, "bt709", "bt709"],
    }
    types = {"sound_missing": pa.bool_(), "dual_mono": pa.bool_(), "color_transfer": pa.string()}
    table = pa.table(
        {
            name: pa.array(values, types.get(name, pa.float64()))
            for name, values in {**columns, **changes}.items()
        }
    )
    return advise(table, spec)


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
            "color_transfer",
            ["smpte2084", None, "arib-std-b67", "bt709"],
            "2 of 4 clips are PQ or HLG",
            "not (color_transfer in ('smpte2084', 'arib-std-b67'))",
        ),
    ],
)
def test_advice(column: str, values: list, text: str, where: str | None) -> None:
    (piece,) = advice_for(**{column: values})
    assert piece.column == column
    assert piece.text.startswith(text)
    assert piece.where == where
    # a comparison leaves out what has no value, `not` keeps it
    assert piece.num_missing == (values.count(None) if where and "<" in where else 0)


@pytest.mark.parametrize(
    ("video", "means"),
    [
        (VideoSpec(), "video.tone_map=hable"),
        (VideoSpec(codec="copy"), "video.tone_map=hable and video.codec=jpeg or h264"),
        (VideoSpec(tone_map="hable"), None),
    ],
)
def test_advice_on_tone_mapping(video: VideoSpec, means: str | None) -> None:
    spec = SPEC.model_copy(update={"video": video})
    advice = advice_for(spec, color_transfer=["smpte2084"] * 4)
    assert [piece.where for piece in advice] == ([] if means is None else [None])
    assert means is None or advice[0].means.endswith(f"build them with {means}")


def test_conditions_leave_exactly_the_clips_without_the_concern() -> None:
    from avdata.manifest import MANIFEST_SCHEMA
    from avdata.shards.row_filter import RowFilter

    generator = np.random.default_rng(0)
    checked = 0
    for concern in concerns(SPEC):
        if isinstance(concern.limit, tuple):
            values = generator.choice([*concern.limit, "bt709"], 50)
        elif concern.test == "is":
            values = generator.random(50) < 0.5
        else:
            values = concern.limit * generator.choice([-2.0, -1.0, 0.0, 0.5, 1.0, 1.5], 50)
        table = pa.table({concern.column: values})
        others = {
            name: pa.nulls(50, MANIFEST_SCHEMA.field(name).type)
            for name in {one.column for one in concerns(SPEC)} - {concern.column}
        }
        for name, column in others.items():
            table = table.append_column(name, column)
        (piece,) = advise(table, SPEC)
        kept = RowFilter(piece.where, MANIFEST_SCHEMA).mask(table)
        assert kept.sum() == 50 - piece.num_clips
        checked += 1
    assert checked == 11
