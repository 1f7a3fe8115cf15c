from __future__ import annotations

import torch

from avtrain.evaluate.map_grids import grid_size, pool_to_grid


def test_published_lengths_of_the_full_networks() -> None:
    shapes = {12: (64, 8, 56, 56), 8: (128, 4, 28, 28), 6: (256, 2, 14, 14), 4: (512, 1, 7, 7)}
    lengths = [
        pool_to_grid(torch.zeros(1, *shape), side=side, pooling="max").shape[1]
        for side, shape in shapes.items()
    ]
    assert lengths == [9216, 8192, 9216, 8192]
    audio = {12: (64, 50, 65), 8: (128, 25, 33), 6: (256, 13, 17), 4: (512, 13, 17)}
    lengths = [
        pool_to_grid(torch.zeros(1, *shape), side=side, pooling="average").shape[1]
        for side, shape in audio.items()
    ]
    assert lengths == [9216, 8192, 9216, 8192]


def test_small_maps_keep_their_size() -> None:
    assert grid_size((2, 5, 30), 8) == [1, 5, 8]
    assert grid_size((5, 30), 8) == [5, 8]


def test_maximum_and_mean_of_the_cells() -> None:
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert pool_to_grid(maps, side=2, pooling="max").tolist() == [[5, 7, 13, 15]]
    assert pool_to_grid(maps, side=2, pooling="average").tolist() == [[2.5, 4.5, 10.5, 12.5]]
    clip = torch.stack([maps, maps + 100], dim=2)  # (b, c, t, h, w): the later frame is larger
    assert pool_to_grid(clip, side=2, pooling="max").tolist() == [[105, 107, 113, 115]]
