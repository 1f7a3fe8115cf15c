"""Two processes over gloo are one with the whole batch (specification, section 10, test 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from avtrain.objectives import RobustXIDCriterion, RobustXIDCriterionConfig

NUM_ROWS, DIM, NUM_STEPS = 30, 5, 3
INDEX = torch.tensor([3, 0, 29, 7, 12, 3])
SPLITS = {"equal": 3, "unequal": 4}
"""Rows of rank 0."""
CASES: dict[str, dict[str, Any]] = {
    "robust": {},
    "all": {"num_negatives": "all", "targets": "neighbor"},
    "moving averages": {"statistics": "ema", "targets": "none"},
    "nce": {"loss": "nce", "targets": "none"},
    "sharded": {"banks": "sharded"},
}


def make(case: str) -> RobustXIDCriterion:
    config = RobustXIDCriterionConfig(**{"num_negatives": 10, **CASES[case]})
    criterion = RobustXIDCriterion(
        config, num_rows=NUM_ROWS, dim=DIM, generator=torch.Generator().manual_seed(0)
    )
    criterion.pairs.visited[:28] = True  # 29 is trained for the first time
    criterion.recompute_similarities()
    criterion.start_robust_stage(share=0.0)
    return criterion


def train(criterion: RobustXIDCriterion, rows: slice) -> dict[str, Tensor]:
    """Losses, gradients of the last step, metrics and state after a few steps of these rows."""
    results: dict[str, Tensor] = {}
    for step in range(NUM_STEPS):
        draws = torch.Generator().manual_seed(10 + step)
        embeddings = torch.randn(2, len(INDEX), DIM, generator=draws)
        video, audio = (e[rows].clone().requires_grad_() for e in embeddings)
        output = criterion(video, audio, index=INDEX[rows], generator=draws)
        output.total.backward()
        assert video.grad is not None
        assert audio.grad is not None
        results[f"gradient {step}"] = torch.stack([video.grad, audio.grad], dim=1)
        results[f"mean total {step}"] = output.total.detach()
        for name, value in (output.terms | output.metrics).items():
            results[f"mean {name} {step}"] = value
    criterion.recompute_similarities()
    results |= {f"state {name}": value for name, value in criterion.state_dict().items()}
    return results


def _run(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    for case in CASES:
        for split, first in SPLITS.items():
            rows = slice(first) if rank == 0 else slice(first, None)
            torch.save(train(make(case), rows), f"{folder}/{case}-{split}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(_run, args=(str(folder),), nprocs=2)  # type: ignore[no-untyped-call]
    return folder


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one(results: Path, case: str, split: str) -> None:
    whole = train(make(case), slice(None))
    parts = [torch.load(results / f"{case}-{split}-{rank}.pt") for rank in (0, 1)]
    assert parts[0].keys() == parts[1].keys() == whole.keys()
    for name, expected in whole.items():
        one, two = (part[name] for part in parts)
        if name.startswith("gradient"):  # DDP averages the gradients of the weights
            got = torch.cat([one, two]) / 2
        elif name.startswith("mean"):
            got = (one + two) / 2
        else:
            got = one  # of a shared bank only rank 0 has the rows
            if two.shape == one.shape:
                assert torch.equal(one, two), name
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6, msg=name)
