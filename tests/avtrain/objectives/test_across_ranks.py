"""Two processes over gloo keep equal banks and one normalizer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import distributed, multiprocessing

from avtrain.objectives import AVIDCriterion, AVIDCriterionConfig

NUM_RANKS = 2


def _step(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=NUM_RANKS
    )
    config = AVIDCriterionConfig(num_negatives=4)
    criterion = AVIDCriterion(
        config, num_rows=10, dim=3, generator=torch.Generator().manual_seed(0)
    )
    own = torch.Generator().manual_seed(100 + rank)
    video, audio = torch.randn(2, 3, generator=own), torch.randn(2, 3, generator=own)
    index = torch.tensor([rank, 9])  # row 9 is in both batches: rank 1 comes last
    criterion(video, audio, index=index, generator=own)
    torch.save({**criterion.state_dict(), "video": video}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_ranks_agree(tmp_path: Path) -> None:
    multiprocessing.spawn(_step, args=(str(tmp_path),), nprocs=NUM_RANKS)  # type: ignore[no-untyped-call]
    states = [torch.load(tmp_path / f"{rank}.pt") for rank in range(NUM_RANKS)]
    for name in ("video_memory.memory", "audio_memory.memory", "normalizer"):
        assert torch.equal(states[0][name], states[1][name]), name
    assert states[0]["normalizer"] > 0
    start = AVIDCriterion(
        AVIDCriterionConfig(), num_rows=10, dim=3, generator=torch.Generator().manual_seed(0)
    )
    before, after = start.video_memory.memory, states[0]["video_memory.memory"]
    assert torch.equal(after[2:9], before[2:9])
    normalize = torch.nn.functional.normalize
    for row, video in ((0, states[0]["video"][0]), (9, states[1]["video"][1])):
        expected = normalize(0.5 * before[row] + 0.5 * normalize(video, dim=0), dim=0)
        torch.testing.assert_close(after[row], expected)
