from __future__ import annotations

import pytest
import torch

from avtrain.objectives import AgreementKind, agreement


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


def test_the_result_may_take_the_place_of_an_argument() -> None:
    video, audio = torch.tensor([[0.3, 0.9]]), torch.tensor([[0.4, 0.1]])
    found = agreement(video, audio, kind="consensus", out=video)
    assert found is video
    assert torch.equal(video, torch.tensor([[0.3, 0.1]]))


def test_errors() -> None:
    similarity = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="kind 'both' is unknown"):
        agreement(similarity, similarity, kind="both")  # type: ignore[arg-type]
