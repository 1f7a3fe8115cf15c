"""Maps over time: windows that fade into each other, withheld stretches, peaks, colors."""

from dataclasses import replace

import numpy as np
import pytest

from avtrain.apps.map_timeline import MapTimeline, WindowMap, Withheld
from avtrain.apps.overlay import OverlayRange, draw_map, enlarged, jet, overlay_range, sheet, shrunk
from avtrain.apps.peaks import find_peaks

CLIP_S, CELL_S = 2.0, 0.5


def _window(start_s: float, values: np.ndarray, withheld: str | None = None) -> WindowMap:
    return WindowMap(
        start_s=start_s,
        clip_s=CLIP_S,
        cell_s=CELL_S,
        first_center_s=CELL_S / 2,
        values=values.astype(np.float32),
        withheld=(withheld,) * len(values),
    )


def _timeline(windows: list[WindowMap]) -> MapTimeline:
    timeline = MapTimeline(start_s=windows[0].start_s, step_s=CELL_S)
    for window in windows:
        timeline.add(window)
    return timeline


@pytest.mark.parametrize("offset_s", [0.0, 0.3])
def test_windows_that_agree_are_one_map(offset_s: float) -> None:
    """What is linear in time and place comes out as it went in, also between steps."""
    slope = np.arange(6.0).reshape(2, 3)

    def truth(time_s: float) -> np.ndarray:
        return slope * time_s + 1

    starts = [offset_s, offset_s + 1, offset_s + 2, offset_s + 2.7]  # the last ends with the video
    windows = [
        _window(s, np.stack([truth(s + (i + 0.5) * CELL_S) for i in range(4)])) for s in starts
    ]
    timeline = _timeline(windows)
    assert timeline.shown().shape == (10, 2, 3)
    # at a window's ends its outer cells stand still
    for time_s in np.arange(offset_s + 0.5, offset_s + 4.2, 0.07):
        np.testing.assert_allclose(timeline.at(time_s), truth(time_s), rtol=0.03, atol=0.03)


def test_one_window_fades_into_the_next() -> None:
    timeline = _timeline([_window(0, np.zeros((4, 1, 1))), _window(1, np.ones((4, 1, 1)))])
    levels = [float(timeline.values(i)[0, 0]) for i in range(len(timeline))]
    assert levels == pytest.approx([0, 0, 0.146, 0.854, 1, 1], abs=2e-3)


def test_withheld_windows_do_not_count() -> None:
    windows = [
        _window(0, np.full((4, 1, 1), 7.0), withheld="silence"),
        _window(1, np.full((4, 1, 1), 9.0), withheld="silence"),
        _window(3, np.full((4, 1, 1), 2.0)),
        _window(4, np.full((4, 1, 1), 5.0), withheld="off-screen"),
    ]
    timeline = _timeline(windows)
    assert timeline.withheld() == [
        Withheld(start_s=0.0, end_s=3.0, reason="silence"),
        Withheld(start_s=5.0, end_s=6.0, reason="off-screen"),
    ]
    shown = timeline.shown()[:, 0, 0]
    assert (shown[:6] == 0).all() and (shown[10:] == 0).all()
    assert shown[6:8] == pytest.approx([2, 2], abs=1e-3)
    assert 0 < shown[9] < shown[8] < 2  # fades out where the next window says nothing
    assert timeline.values(8)[0, 0] == pytest.approx(2.0)


def test_a_part_of_a_window_may_be_withheld() -> None:
    window = _window(0, np.ones((4, 1, 1)))
    timeline = _timeline([replace(window, withheld=(None, None, "silence", "silence"))])
    assert timeline.shown()[:, 0, 0].tolist() == pytest.approx([1, 1, 0, 0])
    assert timeline.withheld() == [Withheld(start_s=1.0, end_s=2.0, reason="silence")]


def test_peaks_are_the_strongest_of_half_a_second_around() -> None:
    strengths = np.zeros((20, 2, 4))
    times = [0.2 * i for i in range(20)]
    strengths[3, 1, 2], strengths[4, 0, 0], strengths[12, 0, 3], strengths[18, 0, 0] = 5, 4, 6, 0.5
    peaks = find_peaks(strengths, times_s=times, width_px=400, height_px=100, lowest=1.0)
    assert [(p.time_s, p.x_px, p.y_px, p.strength) for p in peaks] == [
        (pytest.approx(0.6), 250, 75, 5),
        (pytest.approx(2.4), 350, 25, 6),
    ]
    assert find_peaks(np.zeros((5, 2, 2)), times_s=times, width_px=4, height_px=4, lowest=0) == []


def test_the_range_is_that_of_the_paper_s_code() -> None:
    strengths = np.random.default_rng(0).random((50, 7, 7)) * 3
    shown = overlay_range(strengths)
    highest = np.sort(strengths.ravel())[round(0.97 * (strengths.size - 1))]
    assert shown.low == pytest.approx(0.5 * highest, rel=1e-3)
    assert shown.high == pytest.approx(highest + 0.001, rel=1e-3)
    assert overlay_range(strengths, threshold=2.0) == OverlayRange(low=1.0, high=2.001)
    assert overlay_range(np.full((4, 2, 2), 3.0)).is_flat
    assert overlay_range(np.zeros((0, 2, 2))).is_flat


def test_a_map_is_blended_by_the_formula() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (8, 12, 3), np.uint8)
    values = rng.uniform(-1, 4, (8, 12))  # a cell a pixel: nothing is interpolated
    shown = OverlayRange(low=1.0, high=3.0)
    drawn = draw_map(pixels, np.abs(values), shown)
    place = (np.abs(values) - 1) / 2
    alpha = np.clip(place, 0, 0.35)[..., None]
    wanted = (1 - alpha) * pixels + alpha * 255 * jet(place)
    np.testing.assert_allclose(drawn, wanted, atol=2)
    untouched = np.abs(values) <= 1
    np.testing.assert_array_equal(drawn[untouched], pixels[untouched])


def test_what_speaks_against_sync_is_cold() -> None:
    gray = np.full((40, 80, 3), 100, np.uint8)
    values = np.array([[-3.0, 3.0]])
    drawn = draw_map(gray, values, OverlayRange(low=0.5, high=3.1)).astype(int)
    cold, warm = drawn[20, 5], drawn[20, 75]
    assert cold[2] > cold[0] and warm[0] > warm[2]


def test_flat_or_weak_maps_leave_the_picture_alone() -> None:
    gray = np.full((4, 8, 3), 100, np.uint8)
    strong = np.full((2, 2), 9.0)
    assert draw_map(gray, strong, OverlayRange(low=0, high=0)) is gray
    assert draw_map(gray, strong / 10, OverlayRange(low=1, high=2)) is gray


@pytest.mark.parametrize(
    ("place", "color"),
    [
        (0, (0, 0, 0.5)),
        (0.25, (0, 0.5, 1)),
        (0.5, (0.5, 1, 0.5)),
        (1, (0.5, 0, 0)),
        (2, (0.5, 0, 0)),
    ],
)
def test_jet(place: float, color: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(jet(np.array(place)), color, atol=1e-9)


def test_a_sheet_holds_its_pictures() -> None:
    pictures = [np.full((30, 60, 3), 40 * i, np.uint8) for i in range(1, 5)]
    page = np.asarray(sheet(pictures, ["one", "two", "three", "four"]))
    for level in (40, 80, 120, 160):
        assert ((page == level).all(axis=2)).sum() >= 30 * 60
    with pytest.raises(ValueError, match="at least one picture"):
        sheet([], [])
    assert shrunk(pictures[0], max_width_px=20).shape == (10, 20, 3)
    assert shrunk(pictures[0], max_width_px=100) is pictures[0]
    assert enlarged(pictures[0], min_width_px=100).shape == (60, 120, 3)
    assert enlarged(pictures[0], min_width_px=60) is pictures[0]
