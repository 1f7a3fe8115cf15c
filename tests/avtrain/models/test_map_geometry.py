"""Centers of map cells: the published clip, and where positions really go through the layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.models import (
    MULTISENSORY_PRESETS,
    MultisensoryConfig,
    MultisensoryPreset,
    build_multisensory,
    map_geometry,
)


def test_the_published_clip() -> None:
    geometry = map_geometry(MultisensoryConfig(), num_frames=125, height_px=224, width_px=224)
    assert geometry.frames == tuple(range(2, 125, 8)) and geometry.frame_pitch == 8
    assert geometry.rows_px == geometry.columns_px == (17, 49, 81, 113, 145, 177, 209)
    assert geometry.pitch_px == 32
    assert geometry.times_s(29.97)[1] - geometry.times_s(29.97)[0] == pytest.approx(0.267, abs=1e-3)
    cam = map_geometry(
        MULTISENSORY_PRESETS["multisensory-cam"], num_frames=125, height_px=224, width_px=224
    )
    assert cam.rows_px == tuple(range(9, 224, 16)) and cam.pitch_px == 16
    assert cam.frames == geometry.frames


@pytest.mark.parametrize("preset", sorted(MULTISENSORY_PRESETS))
@pytest.mark.parametrize("size", [(125, 224, 256), (63, 112, 112), (30, 64, 64), (17, 50, 61)])
def test_there_is_one_center_a_cell(preset: MultisensoryPreset, size: tuple[int, int, int]) -> None:
    config = MULTISENSORY_PRESETS[preset]
    num_frames, height, width = size
    with torch.device("meta"):
        net = build_multisensory(config)
        stem = net.video_stem(torch.empty(1, 3, num_frames, height, width))
        cells = net.fuse(stem, torch.empty(1, 2, 90_000)).scale2.shape[2:]
    geometry = map_geometry(config, num_frames=num_frames, height_px=height, width_px=width)
    assert tuple(map(len, (geometry.frames, geometry.rows_px, geometry.columns_px))) == cells
    for centers, length in (
        (geometry.frames, num_frames),
        (geometry.rows_px, height),
        (geometry.columns_px, width),
    ):
        assert centers[0] > -1 and centers[-1] < length + geometry.pitch_px / 4


@pytest.mark.parametrize("size", [1000, 1001, 1023, 1024, 1031])
def test_centers_are_means_of_the_positions_that_cells_see(size: int) -> None:
    def mean_of_windows(x: Tensor, kernel: int, stride: int) -> Tensor:
        """A "SAME" layer whose weights are all equal."""
        total = max((-(-x.shape[1] // stride) - 1) * stride + kernel - x.shape[1], 0)
        padded = F.pad(x[:, None], (total // 2, total - total // 2))
        return F.avg_pool1d(padded, kernel, stride)[:, 0]

    def block(x: Tensor, stride: int) -> Tensor:
        main = mean_of_windows(mean_of_windows(x, 3, stride), 3, 1)
        return (main + x[:, ::stride]) / 2

    # positions, and ones that stay 1 where a cell has seen no padding
    inputs = torch.stack([torch.arange(size), torch.ones(size)]).double()
    time = mean_of_windows(inputs, 5, 2)
    for stride in (1, 2, 1, 1, 2, 1, 1, 1):
        time = block(time, stride)
    space = mean_of_windows(mean_of_windows(inputs, 7, 2), 3, 2)
    for stride in (1, 2, 1, 1, 2, 1, 2, 1):
        space = block(space, stride)
    geometry = map_geometry(MultisensoryConfig(), num_frames=size, height_px=size, width_px=size)
    for centers, (means, ones) in ((geometry.frames, time), (geometry.rows_px, space)):
        assert len(centers) == len(means)
        inside = ones > 1 - 1e-12
        assert inside.sum() > 5
        exact = torch.tensor(centers, dtype=torch.float64)
        torch.testing.assert_close(exact[inside], means[inside])


def test_an_empty_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="size=0 must be at least 1 on every axis"):
        map_geometry(MultisensoryConfig(), num_frames=0, height_px=64, width_px=64)
