from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.objectives import AgreementKind, agreement, top_positives


def _plane(cosines: list[float]) -> Tensor:
    """Unit vectors with these cosines to the first."""
    cosine = torch.tensor(cosines, dtype=torch.float64)
    return torch.stack([cosine, (1 - cosine**2).sqrt()], dim=1)


def _random_banks(num_rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    video, audio = (
        F.normalize(torch.randn(num_rows, 8, generator=generator), dim=1) for _ in range(2)
    )
    return video, audio


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("consensus", [1, 0.1, 0.2, 0.7]),
        ("union", [1, 0.9, 0.95, 0.8]),
        ("video", [1, 0.9, 0.2, 0.8]),
        ("audio", [1, 0.1, 0.95, 0.7]),
    ],
)
def test_agreement_known_answer(kind: AgreementKind, expected: list[float]) -> None:
    video, audio = torch.tensor([[1, 0.9, 0.2, 0.8]]), torch.tensor([[1, 0.1, 0.95, 0.7]])
    assert torch.equal(agreement(video, audio, kind=kind), torch.tensor([expected]))


def test_top_positives_known_answer() -> None:
    found = top_positives(
        _plane([1, 0.9, 0.2, 0.8]),
        _plane([1, 0.1, 0.95, 0.7]),
        queries=torch.tensor([0]),
        candidates=torch.arange(4),
        num_positives=2,
    )
    assert found.dtype == torch.int32
    assert found.tolist() == [[2, 3]]


@pytest.mark.parametrize("kind", ["consensus", "union", "video", "audio"])
def test_top_positives_equal_a_full_sort_over_the_candidates(kind: AgreementKind) -> None:
    video, audio = _random_banks(60)
    queries, candidates = torch.arange(0, 60, 2), torch.arange(0, 60, 3)
    rho = agreement(video @ video.T, audio @ audio.T, kind=kind)
    expected = []
    for q in queries.tolist():
        ranked = sorted((c for c in candidates.tolist() if c != q), key=lambda c: -rho[q, c])
        expected.append(sorted(ranked[:5]))
    for chunk_rows in (1, 7, 100):
        found = top_positives(
            video,
            audio,
            queries=queries,
            candidates=candidates,
            num_positives=5,
            kind=kind,
            chunk_rows=chunk_rows,
        )
        assert found.tolist() == expected


def test_a_query_with_a_duplicate_finds_the_duplicate_and_not_itself() -> None:
    video, audio = _random_banks(20)
    video[11], audio[11] = video[3], audio[3]
    found = top_positives(
        video,
        audio,
        queries=torch.tensor([3, 11]),
        candidates=torch.arange(20),
        num_positives=1,
    )
    assert found.tolist() == [[11], [3]]


def test_errors() -> None:
    video, audio = _random_banks(4)
    rows = torch.arange(4)
    with pytest.raises(ValueError, match=r"num_positives=4 must be in \[1, 4\)"):
        top_positives(video, audio, queries=rows, candidates=rows, num_positives=4)
    with pytest.raises(ValueError, match=r"equal shapes, got video \(4, 8\) and audio \(3, 8\)"):
        top_positives(video, audio[:3], queries=rows, candidates=rows, num_positives=1)
    with pytest.raises(ValueError, match="kind 'both' is unknown"):
        agreement(video, audio, kind="both")  # type: ignore[arg-type]
