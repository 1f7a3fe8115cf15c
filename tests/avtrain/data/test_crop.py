"""Crop boxes in range and of the promised shapes; resampling against Pillow."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from avtrain.data.augment.crop import CropBox, center_crop_box, random_crop_box, resample_frames


@given(st.integers(0, 2**64), st.integers(16, 300), st.integers(16, 300), st.floats(0.05, 1))
def test_random_boxes_fit_the_picture(seed: int, height: int, width: int, area: float) -> None:
    box = random_crop_box(np.random.default_rng(seed), height=height, width=width, min_area=area)
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert min(box.height, box.width) > 0


def test_random_boxes_have_areas_and_aspects_of_the_ranges() -> None:
    rng = np.random.default_rng(0)
    boxes = [random_crop_box(rng, height=256, width=456, min_area=0.08) for _ in range(500)]
    area = np.array([b.height * b.width / (256 * 456) for b in boxes])
    aspect = np.array([b.width / b.height for b in boxes])
    assert area.min() > 0.075
    assert 0.3 < np.median(area) < 0.6
    assert 0.74 < aspect.min() < aspect.max() < 1.35


def test_center_box_is_a_centered_square() -> None:
    box = center_crop_box(height=100, width=180, share=0.875)
    assert box == CropBox(top=6, left=46, height=88, width=88)


def test_resampling_equals_pillow_on_the_cut_picture() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 50, 70, 3), np.uint8)
    box = CropBox(top=3, left=5, height=40, width=44)
    got = resample_frames(frames, box, side_px=24)
    for frame, small in zip(frames, got, strict=True):
        cut = Image.fromarray(np.ascontiguousarray(frame[3:43, 5:49]))
        want = np.asarray(cut.resize((24, 24), Image.Resampling.BILINEAR))
        assert np.abs(small.astype(int) - want).max() <= 1


def test_a_box_of_the_asked_size_is_copied_exactly() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), np.uint8)
    box = CropBox(top=2, left=4, height=16, width=16)
    np.testing.assert_array_equal(resample_frames(frames, box, side_px=16), frames[:, 2:18, 4:20])
