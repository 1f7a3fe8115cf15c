"""Two processes over gloo share banks, positives and losses as if they were one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, distributed, multiprocessing

from avtrain.objectives import (
    CMACriterion,
    CMACriterionConfig,
    MemoryBank,
    ShardedMemoryBank,
    build_bank,
    mine_positives,
)
from avtrain.objectives.across_ranks import rows_across_ranks

NUM_RANKS, NUM_ROWS, DIM = 2, 40, 5
OF_RANKS = ((0, 3), (3, 5))
"""Rank 0 has three anchors, rank 1 two."""
INDEX = torch.tensor([7, 7, 39, 0, 7])
"""Row 7 is on both ranks, and twice on one."""
CMA = {
    "num_negatives": 9,
    "num_negatives_within": 4,
    "num_positives": 3,
    "coefficients": {"within_instance": 1.0, "cross_positive": 1.0},
}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _bank(kind: type) -> MemoryBank:
    return kind(num_rows=NUM_ROWS, dim=DIM, momentum=0.5, generator=_generator())


def _unit(seed: int) -> Tensor:
    return F.normalize(torch.randn(len(INDEX), DIM, generator=_generator(seed)), dim=1)


def _bank_results(bank: MemoryBank, here: slice) -> dict[str, Tensor]:
    """What a bank does for the anchors of a rank, and what it becomes."""
    embedding = _unit(1)[here].requires_grad_()
    wanted = torch.randint(NUM_ROWS, (len(INDEX), 6), generator=_generator(2))[here]
    ranks = rows_across_ranks(len(embedding))
    scores = bank.scores(embedding, wanted, temperature=0.07, ranks=ranks)
    bank.update(INDEX, _unit(3))  # before the backward pass, as criteria do
    weights = torch.linspace(1, 2, 30).reshape(5, 6)[here]
    (weights * scores).sum().backward()
    assert embedding.grad is not None
    bank.update(torch.tensor([], dtype=torch.long), torch.zeros(0, DIM))
    bank.update(torch.tensor([2, 3]), torch.stack([torch.full((DIM,), torch.nan), _unit(4)[0]]))
    return {
        "scores": scores.detach(),
        "gradient": embedding.grad,
        "rows": bank.rows(wanted),
        "common": bank.common_rows(torch.arange(NUM_ROWS)),
    }


def _cma_results(banks: str, here: slice) -> dict[str, Tensor]:
    """Two steps of CMA with mining between, for the anchors of a rank."""
    config = CMACriterionConfig.model_validate({**CMA, "banks": banks})
    criterion = CMACriterion(config, num_rows=NUM_ROWS, dim=DIM, generator=_generator())
    results: dict[str, Tensor] = {}
    for step in range(3):
        if step == 1:
            criterion.mine(epoch=0)
        video, audio = (2 * _unit(10 + step + m)[here] for m in (0, 50))
        video.requires_grad_(), audio.requires_grad_()
        output = criterion(video, audio, index=INDEX[here], generator=_generator(step))
        output.total.backward()
        results[f"total {step}"] = output.total.detach()
        results |= {f"{name} {step}": term for name, term in output.terms.items()}
        results[f"video gradient {step}"] = video.grad
        results[f"audio gradient {step}"] = audio.grad
    return {**results, **{f"state {n}": t.clone() for n, t in criterion.state_dict().items()}}


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=NUM_RANKS
    )
    here = slice(*OF_RANKS[rank])
    bank = _bank(ShardedMemoryBank)
    results = {"bank": _bank_results(bank, here), "state": dict(bank.state_dict())}
    results["layouts"] = {
        layout: type(
            build_bank(layout, num_rows=9, dim=4, momentum=0.5, generator=_generator())
        ).__name__
        for layout in ("auto", "replicated", "sharded")
    }
    again = _bank(ShardedMemoryBank)
    whole = torch.arange(NUM_ROWS * DIM, dtype=torch.float32).reshape(NUM_ROWS, DIM)
    again.load_state_dict({"memory": whole})
    results["loaded"] = again.common_rows(torch.arange(NUM_ROWS))
    try:
        again.load_state_dict({"memory": whole[:0]})
    except RuntimeError as error:
        results["no rows"] = str(error)
    try:
        ShardedMemoryBank(num_rows=9, dim=1, momentum=0.5, generator=_generator())
    except ValueError as error:
        results["narrow"] = str(error)
    for layout in ("sharded", "replicated"):
        results[layout] = _cma_results(layout, here)
    results["mined"] = mine_positives(
        _bank(MemoryBank), _bank(ShardedMemoryBank), candidates=torch.arange(39), num_positives=3
    )
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two processes found, from one start for all tests."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(_work, args=(str(folder),), nprocs=NUM_RANKS)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt") for rank in range(NUM_RANKS)]


def test_scores_gradients_and_rows_equal_a_whole_bank(ranks: list[dict]) -> None:
    expected = _bank_results(_bank(MemoryBank), slice(None))
    for name in ("scores", "gradient", "rows"):
        found = torch.cat([result["bank"][name] for result in ranks])
        torch.testing.assert_close(found, expected[name], atol=1e-5, rtol=1e-6)
    for result in ranks:
        torch.testing.assert_close(
            result["bank"]["common"], expected["common"], atol=1e-6, rtol=1e-6
        )


def test_the_state_is_that_of_a_whole_bank_and_rank_0_has_it(ranks: list[dict]) -> None:
    assert torch.equal(ranks[0]["state"]["memory"], ranks[0]["bank"]["common"])
    assert ranks[1]["state"]["memory"].shape == (0, DIM)
    whole = torch.arange(NUM_ROWS * DIM, dtype=torch.float32).reshape(NUM_ROWS, DIM)
    for result in ranks:
        assert torch.equal(result["loaded"], whole)
        assert "memory is (0, 5) and must be (40, 5)" in result["no rows"]
    one = _bank(MemoryBank)
    one.load_state_dict(ranks[0]["state"])
    assert torch.equal(one.memory, ranks[0]["state"]["memory"])


def test_cma_on_two_ranks_is_cma_on_one(ranks: list[dict]) -> None:
    expected = _cma_results("auto", slice(None))
    for layout in ("sharded", "replicated"):
        one, two = (result[layout] for result in ranks)
        for name, value in expected.items():
            if name.startswith("state"):
                found = one[name]
            elif "gradient" in name:
                # averaged over ranks by DDP: each has the gradient of its own total
                found = torch.cat([one[name], two[name]]) / NUM_RANKS
            else:
                found = (one[name] + two[name]) / NUM_RANKS
            torch.testing.assert_close(found, value, atol=2e-5, rtol=1e-5, msg=f"{layout} {name}")


def test_both_ranks_mine_the_same(ranks: list[dict]) -> None:
    expected = mine_positives(
        _bank(MemoryBank), _bank(MemoryBank), candidates=torch.arange(39), num_positives=3
    )
    for result in ranks:
        assert torch.equal(result["mined"], expected)


def test_layouts(ranks: list[dict]) -> None:
    for result in ranks:
        assert result["layouts"] == {
            "auto": "MemoryBank",
            "replicated": "MemoryBank",
            "sharded": "ShardedMemoryBank",
        }
        assert "a bank of 1 columns cannot be spread over 2 ranks" in result["narrow"]
    alone = build_bank("sharded", num_rows=9, dim=4, momentum=0.5, generator=_generator())
    assert type(alone) is MemoryBank
