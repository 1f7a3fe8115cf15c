from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from disturbances import Bound
from pydantic import ValidationError
from torch import Tensor

from avtrain.evaluate import cross_modal_retrieval
from avtrain.objectives import (
    AVIDCriterion,
    AVIDCriterionConfig,
    AVIDMode,
    bank_scores,
    estimate_normalizer,
    nce_loss,
    uniform_others,
)

DIM = 16


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _criterion(
    mode: AVIDMode = "cross", *, num_rows: int = 50, candidates: Tensor | None = None
) -> AVIDCriterion:
    config = AVIDCriterionConfig(mode=mode, num_negatives=8)
    return AVIDCriterion(
        config, num_rows=num_rows, dim=DIM, generator=_generator(), candidates=candidates
    )


def _embeddings(count: int, seed: int = 1, dim: int = DIM) -> tuple[Tensor, Tensor]:
    generator = _generator(seed)
    video, audio = (3 * torch.randn(count, dim, generator=generator) for _ in range(2))
    return video, audio


@pytest.mark.parametrize("mode", ["cross", "self", "joint"])
def test_equals_its_parts_put_together_by_hand(mode: AVIDMode) -> None:
    criterion = _criterion(mode)
    video, audio = _embeddings(4)
    index = torch.tensor([3, 0, 49, 7])
    banks = {
        "video": criterion.video_memory.memory.clone(),
        "audio": criterion.audio_memory.memory.clone(),
    }
    unit = {"video": F.normalize(video, dim=1), "audio": F.normalize(audio, dim=1)}
    negatives = uniform_others(index, num_rows=50, num_negatives=8, generator=_generator(2))
    pairs = {
        "cross": [("video", "audio"), ("audio", "video")],
        "self": [("video", "video"), ("audio", "audio")],
        "joint": [
            ("video", "audio"),
            ("audio", "video"),
            ("video", "video"),
            ("audio", "audio"),
        ],
    }[mode]
    expected: dict[str, Tensor] = {}
    normalizer = torch.tensor(-1.0)
    for anchor, target in pairs:
        pos = bank_scores(unit[anchor], banks[target][index][:, None], temperature=0.07)
        neg = bank_scores(unit[anchor], banks[target][negatives], temperature=0.07)
        if not expected:
            normalizer = estimate_normalizer(neg)
        expected[f"{anchor}_to_{target}"] = nce_loss(pos, neg, normalizer=normalizer)

    output = criterion(video, audio, index=index, generator=_generator(2))

    torch.testing.assert_close(criterion.normalizer, normalizer)
    assert output.terms.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(output.terms[name], term)
    torch.testing.assert_close(output.total, torch.stack(list(expected.values())).mean())
    for name, bank in (("video", criterion.video_memory), ("audio", criterion.audio_memory)):
        moved = F.normalize(0.5 * banks[name][index] + 0.5 * unit[name], dim=1)
        torch.testing.assert_close(bank.memory[index], moved)


def test_normalizer_is_set_once_by_training_and_banks_only_move_in_training() -> None:
    criterion = _criterion().eval()
    video, audio = _embeddings(4)
    index = torch.arange(4)
    start = {name: value.clone() for name, value in criterion.state_dict().items()}
    assert float(criterion.normalizer) == -1.0

    criterion(video, audio, index=index, generator=_generator(2))
    for name, value in criterion.state_dict().items():
        assert torch.equal(value, start[name]), name

    criterion.train()(video, audio, index=index, generator=_generator(2))
    first = criterion.normalizer.clone()
    assert first > 0
    assert not torch.equal(criterion.video_memory.memory, start["video_memory.memory"])
    criterion(video, audio, index=index, generator=_generator(3))
    assert torch.equal(criterion.normalizer, first)


def test_state_dict_restores_the_next_step() -> None:
    criterion, restored = _criterion(), _criterion()
    video, audio = _embeddings(4)
    index = torch.arange(4)
    criterion(video, audio, index=index, generator=_generator(2))
    state = criterion.state_dict()
    assert state.keys() == {"video_memory.memory", "audio_memory.memory", "normalizer"}
    restored.load_state_dict(state)
    one = criterion(audio, video, index=index, generator=_generator(3))
    two = restored(audio, video, index=index, generator=_generator(3))
    assert torch.equal(one.total, two.total)


def test_rows_outside_the_candidates_never_matter() -> None:
    candidates = torch.tensor([40, 5, 5, 12, 3])
    criterion, other = (_criterion(candidates=candidates) for _ in range(2))
    held_out = torch.ones(50, dtype=torch.bool)
    held_out[candidates] = False
    other.video_memory.memory[held_out] = math.nan
    other.audio_memory.memory[held_out] = math.nan
    video, audio = _embeddings(3)
    index = torch.tensor([5, 3, 40])
    one = criterion(video, audio, index=index, generator=_generator(2))
    two = other(video, audio, index=index, generator=_generator(2))
    assert torch.equal(one.total, two.total)


def test_gradient_reaches_the_embeddings_and_half_inputs_give_float32() -> None:
    criterion = _criterion("joint")
    video, audio = (e.bfloat16().requires_grad_() for e in _embeddings(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = criterion(video, audio, index=torch.arange(4), generator=_generator())
    output.total.backward()
    assert output.total.dtype == torch.float32
    assert video.grad is not None
    assert audio.grad is not None
    assert video.grad.any()
    assert audio.grad.any()
    exact = _criterion("joint")(
        video.detach().float(),
        audio.detach().float(),
        index=torch.arange(4),
        generator=_generator(),
    )
    torch.testing.assert_close(output.total, exact.total)


def test_swapping_modalities_swaps_the_terms() -> None:
    one, two = _criterion("joint"), _criterion("joint")
    two.video_memory.memory.copy_(one.audio_memory.memory)
    two.audio_memory.memory.copy_(one.video_memory.memory)
    for criterion in (one, two):
        criterion.normalizer.fill_(2.2)
    video, audio = _embeddings(4)
    index = torch.arange(4)
    a = one(video, audio, index=index, generator=_generator(2))
    b = two(audio, video, index=index, generator=_generator(2))
    torch.testing.assert_close(a.total, b.total)
    torch.testing.assert_close(a.terms["video_to_audio"], b.terms["audio_to_video"])


@pytest.mark.trains
def test_starts_at_the_published_loss_and_falls_from_chance(
    training_seed: int, bound: Bound
) -> None:
    num_rows, batch, dim = 20_000, 64, 128
    criterion = AVIDCriterion(
        AVIDCriterionConfig(), num_rows=num_rows, dim=dim, generator=_generator(training_seed)
    )
    embeddings = _embeddings(batch, dim=dim, seed=1 + training_seed)
    video, audio = (e.requires_grad_() for e in embeddings)
    index = torch.randperm(num_rows, generator=_generator(5 + training_seed))[:batch]
    optimizer = torch.optim.Adam([video, audio], lr=0.2)
    chance = cross_modal_retrieval(video.detach(), audio.detach()).video_to_audio
    bound("recall at 1 before", chance.recall_at_1, below=8.5 / batch)  # about 1 in a batch
    off = abs(chance.median_rank - chance.chance_median_rank)
    bound("median rank before, from chance", off, below=5 * batch**0.5 / 2)  # its deviation is 4
    draws = _generator(6 + training_seed)
    losses = []
    for _ in range(15):
        output = criterion(video, audio, index=index, generator=draws)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        losses.append(float(output.total.detach()))
    # 8.73 is the mean; in batches of 64 the published 8.47 is within its spread (0.11)
    bound("first loss, from its mean", abs(losses[0] - 8.73), below=5 * 0.11)
    bound("normalizer, from the expected", abs(float(criterion.normalizer) - 2.2), below=0.1)
    bound("last loss over first", losses[-1] / losses[0], below=0.6)
    learned = cross_modal_retrieval(video.detach(), audio.detach())
    bound("recall at 1, video to audio", learned.video_to_audio.recall_at_1, above=0.5)
    bound("recall at 1, audio to video", learned.audio_to_video.recall_at_1, above=0.5)


def test_errors() -> None:
    video, audio = _embeddings(4)
    criterion = _criterion()
    with pytest.raises(ValueError, match=r"embeddings must be \(3, 16\) for \(3,\) indices"):
        criterion(video, audio, index=torch.arange(3), generator=_generator())
    with pytest.raises(ValueError, match=r"at least 2 rows in \[0, 50\), got 2 distinct rows in"):
        _criterion(candidates=torch.tensor([3, 50]))
    with pytest.raises(ValueError, match=r"got 0 distinct rows"):
        _criterion(candidates=torch.tensor([], dtype=torch.long))
    with pytest.raises(ValidationError, match="temperature"):
        AVIDCriterionConfig(temperature=0.01)
    with pytest.raises(ValidationError, match="mode"):
        AVIDCriterionConfig.model_validate({"mode": "both"})
