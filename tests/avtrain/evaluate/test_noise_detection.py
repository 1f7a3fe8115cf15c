"""Detectors on known answers, and on a toy with known noise (specification, section 10, test 7)."""

from __future__ import annotations

import pytest
import torch
from disturbances import Bound
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from avtrain.evaluate import swapped_detection_auc, swapped_report, twin_target_mass
from avtrain.evaluate.noise_detection import NO_TWIN
from avtrain.objectives import RobustXIDCriterion, RobustXIDCriterionConfig

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_auc_of_known_orders() -> None:
    swapped = torch.tensor([True, True, False, False])
    assert swapped_detection_auc(torch.tensor([0.1, 0.2, 0.3, 0.4]), swapped) == 1.0
    assert swapped_detection_auc(torch.tensor([0.4, 0.3, 0.2, 0.1]), swapped) == 0.0
    assert swapped_detection_auc(torch.zeros(4), swapped) == 0.5
    assert swapped_detection_auc(torch.tensor([0.1, 0.3, 0.3, 0.2]), swapped) == 0.625


def test_auc_is_that_of_scikit_learn() -> None:
    draws = torch.Generator().manual_seed(0)
    score = torch.randint(0, 20, (300,), generator=draws).float()  # with ties
    swapped = torch.rand(300, generator=draws) < 0.3
    expected = roc_auc_score(swapped.numpy(), -score.numpy())
    assert swapped_detection_auc(score, swapped) == pytest.approx(expected, abs=1e-12)


def test_auc_refuses_what_it_cannot_rank() -> None:
    flags = torch.tensor([True, False])
    with pytest.raises(ValueError, match=r"equally many, float and bool, got \(3,\)"):
        swapped_detection_auc(torch.zeros(3), flags)
    with pytest.raises(ValueError, match=r"equally many, float and bool"):
        swapped_detection_auc(torch.zeros(2), flags.long())
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        swapped_detection_auc(torch.tensor([0.0, float("nan")]), flags)
    with pytest.raises(ValueError, match="swapped and intact instances, got 0 and 2"):
        swapped_detection_auc(torch.zeros(2), torch.zeros(2, dtype=torch.bool))


def _banks(video: Tensor, audio: Tensor, **settings: object) -> RobustXIDCriterion:
    config = RobustXIDCriterionConfig.model_validate(settings)
    criterion = RobustXIDCriterion(
        config, num_rows=len(video), dim=video.shape[1], generator=torch.Generator().manual_seed(0)
    )
    criterion.video_memory.memory.copy_(nn.functional.normalize(video, dim=1))
    criterion.audio_memory.memory.copy_(nn.functional.normalize(audio, dim=1))
    criterion.pairs.visited.fill_(True)
    criterion.recompute_similarities()
    return criterion


def test_equal_twins_share_the_target_equally() -> None:
    twins = torch.tensor([0, 1, 2, 0])
    rows = torch.eye(3)[twins]
    report = twin_target_mass(_banks(rows, rows), torch.tensor([3, NO_TWIN, NO_TWIN, 0]))
    assert report.twin_share == pytest.approx(0.5, abs=1e-6)
    assert report.own_share == pytest.approx(0.5, abs=1e-6)
    assert report.chance_share == pytest.approx(0.5 / 3, abs=1e-6)
    assert report.num_pairs == 2


def test_rows_that_were_never_trained_are_left_out() -> None:
    rows = torch.eye(4)[[0, 1, 2, 3, 0]]
    criterion = _banks(rows, rows.roll(1, dims=0))
    criterion.pairs.visited[3:] = False
    swapped = torch.tensor([True, False, False, True, True])
    report = swapped_report(criterion, swapped)
    assert (report.num_swapped, report.num_intact) == (1, 2)
    with pytest.raises(ValueError, match="no trained instance has a trained twin"):
        twin_target_mass(criterion, torch.tensor([4, NO_TWIN, NO_TWIN, NO_TWIN, 0]))
    with pytest.raises(ValueError, match=r"twin must have one entry for each of 5 bank rows"):
        twin_target_mass(criterion, torch.tensor([4]))
    with pytest.raises(ValueError, match=r"swapped must have one entry for each of 5 bank rows"):
        swapped_report(criterion, torch.tensor([True]))


NUM_INSTANCES, NUM_CLASSES, FEATURES = 240, 12, 24


def toy(*, swapped_part: float, num_twins: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Video and audio vectors, which instances have the sound of another one, and their twins.

    Both modalities see a class and an own part; the last instances repeat the first ones.
    """
    draws = torch.Generator().manual_seed(seed)
    classes = torch.arange(NUM_INSTANCES) % NUM_CLASSES
    code = torch.randn(NUM_CLASSES, 8, generator=draws)[classes]
    code = torch.cat([code, 0.7 * torch.randn(NUM_INSTANCES, 8, generator=draws)], dim=1)
    twin = torch.full((NUM_INSTANCES,), NO_TWIN)
    first, last = torch.arange(num_twins), NUM_INSTANCES - num_twins + torch.arange(num_twins)
    code[last] = code[first]
    twin[first], twin[last] = last, first
    views = [
        code @ torch.randn(16, FEATURES, generator=draws)
        + torch.randn(NUM_INSTANCES, FEATURES, generator=draws)
        for _ in range(2)
    ]
    swapped = torch.zeros(NUM_INSTANCES, dtype=torch.bool)
    moved = torch.randperm(NUM_INSTANCES, generator=draws)[: int(swapped_part * NUM_INSTANCES)]
    swapped[moved] = True
    views[1][moved] = views[1][moved.roll(1)]
    return views[0], views[1], swapped, twin


def train_toy(video: Tensor, audio: Tensor, *, num_steps: int, seed: int) -> RobustXIDCriterion:
    """Criterion after plain xID with linear encoders."""
    config = RobustXIDCriterionConfig(num_negatives="all")
    criterion = RobustXIDCriterion(
        config, num_rows=NUM_INSTANCES, dim=16, generator=torch.Generator().manual_seed(seed)
    )
    draws = torch.Generator().manual_seed(seed)
    weights = [nn.Parameter(0.2 * torch.randn(FEATURES, 16, generator=draws)) for _ in range(2)]
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    for _ in range(num_steps):
        index = torch.randperm(NUM_INSTANCES, generator=draws)[:60]
        noise = 0.3 * torch.randn(2, 60, FEATURES, generator=draws)
        output = criterion(
            (video[index] + noise[0]) @ weights[0],
            (audio[index] + noise[1]) @ weights[1],
            index=index,
            generator=draws,
        )
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
    criterion.recompute_similarities()
    return criterion


@pytest.mark.trains
@pytest.mark.parametrize("seed", [0, 1])
def test_swapped_sounds_are_found_after_the_warm_up(
    seed: int, training_seed: int, bound: Bound
) -> None:
    seed += training_seed
    video, audio, swapped, _ = toy(swapped_part=0.3, num_twins=0, seed=seed)
    before = swapped_report(train_toy(video, audio, num_steps=4, seed=seed), swapped)
    report = swapped_report(train_toy(video, audio, num_steps=200, seed=seed), swapped)
    assert (report.num_swapped, report.num_intact) == (72, 168)
    bound("AUC", report.similarity_auc, above=0.8)
    bound("gain of AUC", report.similarity_auc - before.similarity_auc, above=0)
    assert report.weight_auc == pytest.approx(report.similarity_auc, abs=1e-3)
    bound("weight of swapped", report.mean_weight_swapped, below=0.6)
    bound("weight of intact", report.mean_weight_intact, above=0.7)


@pytest.mark.trains
def test_twins_get_more_of_the_target_than_others(training_seed: int, bound: Bound) -> None:
    video, audio, _, twin = toy(swapped_part=0.0, num_twins=60, seed=training_seed)
    report = twin_target_mass(train_toy(video, audio, num_steps=200, seed=training_seed), twin)
    assert report.num_pairs == 120
    bound("share of twins over chance", report.twin_share / report.chance_share, above=5)
