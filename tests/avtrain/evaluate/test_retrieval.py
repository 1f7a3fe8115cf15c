from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from avtrain.evaluate import cross_modal_retrieval, retrieval_metrics


def _random(shape: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_perfect_shifted_and_known_ranks() -> None:
    rows = torch.eye(20)
    perfect = retrieval_metrics(rows, 3 * rows)
    assert (perfect.recall_at_1, perfect.recall_at_10, perfect.median_rank) == (1.0, 1.0, 1.0)
    # the match is orthogonal, as are 18 others, and one wrong row is parallel: 1 + 1 + 18 / 2
    shifted = retrieval_metrics(rows, rows.roll(1, dims=0))
    assert (shifted.recall_at_10, shifted.median_rank) == (0.0, 11.0)
    angle = torch.tensor([0.0, 0.1, 0.3])
    plane = torch.stack([angle.cos(), angle.sin()], dim=1)
    # of query 0.1 the nearest is 0.1; the queries are moved by one
    known = retrieval_metrics(plane, plane.roll(-1, dims=0))
    assert known.recall_at_1 == 0.0
    assert known.median_rank == 3.0
    assert known.recall_at_5 == 1.0


def test_chance_values() -> None:
    result = retrieval_metrics(_random((40, 4), 0), _random((40, 4), 1))
    assert result.chance_recall_at_1 == 1 / 40
    assert result.chance_recall_at_5 == 5 / 40
    assert result.chance_recall_at_10 == 10 / 40
    assert result.chance_median_rank == 20.5
    assert result.num_gallery == 40
    assert retrieval_metrics(torch.eye(4), torch.eye(4)).chance_recall_at_10 == 1.0


def test_collapsed_embeddings_are_at_chance() -> None:
    collapsed = torch.ones(200, 8)
    result = retrieval_metrics(collapsed, collapsed)
    assert (result.recall_at_1, result.recall_at_10) == (0.0, 0.0)
    assert result.median_rank == result.chance_median_rank


def test_random_embeddings_are_near_chance() -> None:
    result = retrieval_metrics(_random((1000, 32), 0), _random((1000, 32), 1))
    assert result.recall_at_10 == pytest.approx(result.chance_recall_at_10, abs=0.01)
    assert result.median_rank == pytest.approx(result.chance_median_rank, rel=0.1)


@given(seed=st.integers(0, 2**31), chunk_rows=st.integers(1, 40))
def test_equals_a_plain_loop_and_does_not_depend_on_order_or_chunks(
    seed: int, chunk_rows: int
) -> None:
    queries, gallery = _random((30, 4), seed), _random((30, 4), seed + 1)
    result = retrieval_metrics(queries, gallery, chunk_rows=chunk_rows)
    ranks = []
    for i, q in enumerate(queries):
        cosines = torch.cosine_similarity(q[None].double(), gallery.double())
        ranks.append(1 + int((cosines > cosines[i]).sum()))
    assert result.recall_at_1 == pytest.approx(sum(r <= 1 for r in ranks) / 30)
    assert result.recall_at_5 == pytest.approx(sum(r <= 5 for r in ranks) / 30)
    assert result.median_rank == sum(sorted(ranks)[14:16]) / 2
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    assert retrieval_metrics(queries[order], 2 * gallery[order]) == result


def test_both_directions() -> None:
    video, audio = _random((30, 4), 0), _random((30, 4), 1)
    both = cross_modal_retrieval(video, audio)
    assert both.video_to_audio == retrieval_metrics(video, audio)
    assert both.audio_to_video == retrieval_metrics(audio, video)


def test_errors() -> None:
    rows = torch.eye(3)
    with pytest.raises(ValueError, match=r"row i matching row i, got \(3, 3\) and \(2, 3\)"):
        retrieval_metrics(rows, rows[:2])
    with pytest.raises(ValueError, match="at least 2 rows"):
        retrieval_metrics(rows[:1], rows[:1])
    with pytest.raises(ValueError, match="queries are empty"):
        retrieval_metrics(rows[:0], rows[:0])
    with pytest.raises(ValueError, match="gallery are not finite in 3 of 3 rows"):
        retrieval_metrics(rows, rows * math.inf)
