"""Crop boxes against torchvision's draws; resampling against Pillow and torchvision."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from avtrain.data.augment.crop import CropBox, center_crop_box, random_crop_box, resample_frames
from avtrain.data.augment.device_crop import crop_frames


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


@pytest.mark.parametrize(
    ("height", "width", "min_area"), [(256, 456, 0.08), (256, 340, 0.5), (64, 300, 0.6)]
)
def test_boxes_have_the_distribution_of_torchvision(
    height: int, width: int, min_area: float
) -> None:
    """Area, aspect and place; in the last shape hardly any draw fits: most are central."""
    num = 3000
    rng = np.random.default_rng(1)
    boxes = [
        random_crop_box(rng, height=height, width=width, min_area=min_area) for _ in range(num)
    ]
    ours = np.array([(b.top, b.left, b.height, b.width) for b in boxes], float)
    torch.manual_seed(1)
    picture = torch.empty(3, height, width)
    theirs = np.array(
        [
            RandomResizedCrop.get_params(picture, [min_area, 1.0], [3 / 4, 4 / 3])
            for _ in range(num)
        ],
        float,
    )
    for ask in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 0] / np.maximum(height - box[:, 2], 1),
        lambda box: box[:, 1] / np.maximum(width - box[:, 3], 1),
    ):
        assert stats.ks_2samp(ask(ours), ask(theirs)).pvalue > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_crops_of_a_batch_equal_torchvision(dtype: torch.dtype) -> None:
    """Boxes that shrink, grow and end at every edge; float16 is what CUDA computes with."""
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (8, 2, 50, 70, 3), np.uint8))
    boxes = [(0, 0, 50, 70), (3, 5, 40, 44), (49, 69, 1, 1), (0, 10, 50, 20), (30, 0, 20, 70)]
    boxes += [(10, 10, 24, 24), (26, 46, 24, 24), (1, 0, 48, 12)]
    crops = torch.tensor([(*box, i % 2) for i, box in enumerate(boxes)], dtype=torch.int32)
    got = crop_frames(frames, crops, side_px=24, dtype=dtype)
    assert got.shape == (8, 2, 3, 24, 24) and got.dtype == torch.float32
    for clip, (top, left, height, width) in enumerate(boxes):
        planes = frames[clip].permute(0, 3, 1, 2).double() / 255
        want = reference.resized_crop(planes, top, left, height, width, [24, 24], antialias=True)
        want = want.flip(-1) if clip % 2 else want
        limit = 1e-5 if dtype == torch.float32 else 0.5 / 255
        assert (got[clip] - want).abs().max() < limit, boxes[clip]
        box = CropBox(top=top, left=left, height=height, width=width)
        by_loader = resample_frames(frames[clip].numpy(), box, side_px=24, flip=clip % 2 == 1)
        levels = got[clip].permute(0, 2, 3, 1).numpy() * 255
        assert np.abs(levels - by_loader).max() <= (1.001 if dtype == torch.float32 else 1.3)
