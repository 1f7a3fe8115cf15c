"""The picture's one time axis: what happens at t is drawn at x(t), in every panel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.schema import LogMelSpec
from avdata.shards.color_map import MAGMA, color
from avdata.shards.picture import (
    HEADER_PX,
    LEAST_MARGIN_PX,
    SampleContents,
    draw_sample,
    strip_indices,
)
from avdata.shards.picture_panels import WAVE, LogMelPanel, frequency_ticks, mel_position
from avdata.shards.stored_frames import StoredFrames
from avdata.shards.time_axis import TimeAxis, bin_means

RATE_HZ, DURATION_S, EVENT_S, FPS = 8000, 6.0, 3.0, 4.0
HOP_S = 0.01


def contents(**changes: object) -> SampleContents:
    """A white frame, a click and a bright column, all at EVENT_S; all else is dark and still."""
    frames = np.zeros((24, 64, 64, 3), np.uint8)
    frames[round(EVENT_S * FPS)] = 255
    audio = np.zeros((1, round(DURATION_S * RATE_HZ)), np.int16)
    audio[0, round(EVENT_S * RATE_HZ)] = 30000
    logmel = np.full((1, 601, 16), -10, np.float16)
    logmel[0, round(EVENT_S / HOP_S)] = 5
    facts: dict[str, object] = {
        "key": "event",
        "facts": "a flash with a click",
        "duration_s": DURATION_S,
        "fps": FPS,
        "frames": StoredFrames(
            count=len(frames), read=lambda indices: [frames[k] for k in indices]
        ),
        "audio": audio,
        "sample_rate_hz": RATE_HZ,
        "logmel": LogMelPanel(values=logmel, column_s=HOP_S, spec=None),
    }
    return SampleContents(**{**facts, **changes})  # type: ignore[arg-type]


def test_flash_click_and_column_share_their_pixel() -> None:
    picture = np.asarray(draw_sample(contents())).astype(int)
    x = TimeAxis(left_px=LEAST_MARGIN_PX, width_px=1440, duration_s=DURATION_S).x_px(EVENT_S)
    strip = picture[HEADER_PX + 40, LEAST_MARGIN_PX - 50 :]
    # the background is white as well: look for the white frame between its dark neighbors
    dark = np.flatnonzero(strip.sum(-1) < 100) + LEAST_MARGIN_PX - 50
    left, right = dark[dark < x].max() + 1, dark[dark > x].min() - 1
    assert abs((left + right) / 2 - x) <= 1.5
    wave = picture[HEADER_PX + 116 + 14 + 20]
    clicks = np.flatnonzero((wave == WAVE).all(-1))
    assert len(clicks)
    assert np.abs(clicks - x).max() <= 2
    mel = picture[-48 - 14 - 100, LEAST_MARGIN_PX : LEAST_MARGIN_PX + 1440]
    bright = np.flatnonzero(mel[:, 1] > 200) + LEAST_MARGIN_PX
    assert abs(bright.mean() - x) <= 2


@pytest.mark.parametrize("missing", [("frames", "fps"), ("audio", "sample_rate_hz"), ("logmel",)])
def test_missing_fields_leave_their_panel_out(missing: tuple[str, ...]) -> None:
    whole = draw_sample(contents())
    less = draw_sample(contents(**dict.fromkeys(missing)))
    assert less.width == whole.width
    assert less.height < whole.height


def test_all_silent_and_black() -> None:
    zeros = LogMelPanel(values=np.full((2, 9, 4), -np.inf, np.float16), column_s=0.1, spec=None)
    audio = np.zeros((4, 8000), np.int16)
    assert (
        draw_sample(contents(frames=None, audio=audio, logmel=zeros, duration_s=1.0)).height > 200
    )


@given(st.floats(0.05, 700), st.integers(40, 200))
def test_ticks_are_even_and_apart(duration_s: float, distance_px: int) -> None:
    axis = TimeAxis(left_px=10, width_px=1440, duration_s=duration_s)
    ticks = axis.ticks_s(min_distance_px=distance_px)
    assert ticks[0] == 0
    assert ticks[-1] <= duration_s + 1e-6
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[:1].repeat(len(steps)), rtol=1e-3)
    assert (steps * axis.px_per_s >= distance_px * 0.999).all()
    texts = [axis.tick_text(tick, min_distance_px=distance_px) for tick in ticks]
    assert len(set(texts)) == len(texts)


@given(st.integers(1, 500), st.floats(0.5, 1500), st.integers(1, 240))
def test_strip_frames_do_not_overlap(num_frames: int, px_per_frame: float, width_px: int) -> None:
    picked = strip_indices(num_frames, px_per_frame=px_per_frame, frame_width_px=width_px)
    assert picked[0] == 0
    assert picked[-1] < num_frames
    assert (np.diff(picked) * px_per_frame >= width_px).all()


def test_bin_means_by_hand() -> None:
    values = np.array([[1.0, 3.0, 8.0]])
    positions = np.array([0.0, 0.4, 2.1])
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    # bin 0 holds two values, bin 1 none (2.1 is nearer to 1.5 than 0.4), bin 2 one
    np.testing.assert_allclose(bin_means(values, positions, edges), [[2.0, 8.0, 8.0]])


def test_colors_span_the_map() -> None:
    values = np.array([-5.0, 0.0, 1.0, 9.0])
    np.testing.assert_array_equal(color(values, low=0, high=1)[[0, -1]], [MAGMA[0], MAGMA[-1]])
    light = color(np.linspace(0, 1, 64), low=0, high=1) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > 0).all()


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_position_meets_its_ends(scale: str) -> None:
    spec = LogMelSpec(mel_scale=scale)  # type: ignore[arg-type]
    assert mel_position(spec.fmin_hz, spec) == pytest.approx(-1)
    assert mel_position(spec.fmax_hz, spec) == pytest.approx(spec.num_mels)


@pytest.mark.parametrize(("filterbank", "num_bins"), [("linear", 257), ("avid", 129)])
def test_frequencies_of_linear_bins(filterbank: str, num_bins: int) -> None:
    spec = LogMelSpec(
        sample_rate_hz=16000,
        n_fft=512,
        win_samples=512,
        num_mels=num_bins,
        fmax_hz=8000,
        filterbank=filterbank,  # type: ignore[arg-type]
    )
    centers_hz = np.arange(257) * 16000 / 512
    if filterbank == "avid":
        centers_hz = np.concatenate([centers_hz[:1], centers_hz[1:].reshape(-1, 2).mean(1)])
    seen = [mel_position(hz, spec) for hz in centers_hz]
    np.testing.assert_allclose(seen, np.arange(num_bins), atol=1e-9)
    heights = [y for y, _ in frequency_ticks(spec, 256)]
    assert heights == sorted(heights, reverse=True)
    assert frequency_ticks(spec, 256)[-1][1] == "8 kHz"
    assert frequency_ticks(None, 256) == []
