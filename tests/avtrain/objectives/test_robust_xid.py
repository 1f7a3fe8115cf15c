"""The criterion: equal to its parts, to plain xID where it is that, and constant where it must be.

Numbers of tests are those of the specification of Robust-xID, section 10.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from disturbances import Bound
from pydantic import ValidationError
from torch import Tensor, nn

from avtrain.evaluate import cross_modal_retrieval
from avtrain.objectives import (
    AVIDCriterion,
    AVIDCriterionConfig,
    RobustXIDCriterion,
    RobustXIDCriterionConfig,
)
from avtrain.objectives.across_ranks import RankRows

NUM_ROWS, DIM = 40, 6
TARGETS = ["bootstrap", "swapped", "neighbor", "cycle"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(
    *, robust: bool = True, visited: bool = True, rows: Tensor | None = None, **settings: Any
) -> RobustXIDCriterion:
    config = RobustXIDCriterionConfig(**{"num_negatives": 8, **settings})
    criterion = RobustXIDCriterion(
        config, num_rows=NUM_ROWS, dim=DIM, generator=generator(), candidates=rows
    )
    if visited:
        criterion.pairs.visited.fill_(True)
    criterion.recompute_similarities()
    if robust:
        criterion.start_robust_stage(share=0.5)
    return criterion


def embeddings(count: int, *, seed: int = 1) -> tuple[Tensor, Tensor]:
    draws = generator(seed)
    video, audio = (torch.randn(count, DIM, generator=draws) for _ in range(2))
    return video.requires_grad_(), audio.requires_grad_()


INDEX = torch.tensor([3, 0, 39, 7])


def naive_loss(criterion: RobustXIDCriterion, video: Tensor, audio: Tensor) -> float:
    """The formulas of the paper in float64, instance by instance, over the whole bank."""
    config = criterion.config
    banks = {
        "v": F.normalize(criterion.video_memory.memory.double(), dim=1),
        "a": F.normalize(criterion.audio_memory.memory.double(), dim=1),
    }
    s = (banks["v"] * banks["a"]).sum(dim=1)
    mean, std = s.mean(), s.std(correction=0)
    total, weight_sum = 0.0, 0.0
    for row, v, a in zip(
        INDEX.tolist(), F.normalize(video.double()), F.normalize(audio.double()), strict=True
    ):
        z = (s[row] - mean - config.delta * std) / (math.sqrt(config.kappa) * std)
        phi = 0.5 * (1 + math.erf(float(z) / math.sqrt(2)))
        weight = config.min_weight + (1 - config.min_weight) * phi if config.weighting else 1.0
        loss = 0.0
        for anchor, own, other, current in (("v", "v", "a", v), ("a", "a", "v", a)):
            similarity = {
                "bootstrap": banks[own][row] @ banks[other].T,
                "swapped": banks[other][row] @ banks[anchor].T,
                "neighbor": banks[own][row] @ banks[own].T,
                "cycle": banks[other][row] @ banks[anchor].T,
            }.get(config.targets)
            target = torch.zeros(NUM_ROWS, dtype=torch.float64)
            target[row] = 1.0
            if similarity is not None:
                exponent = similarity / config.source_temperature
                if config.targets == "cycle":
                    exponent = exponent + (s + s[row]) / config.target_temperature
                target = (1 - config.mix) * target + config.mix * exponent.softmax(dim=0)
            logits = current @ banks[other].T / config.temperature
            loss -= float((target * logits.log_softmax(dim=0)).sum())
        total += weight * loss
        weight_sum += weight
    return total / weight_sum


@pytest.mark.parametrize("targets", [*TARGETS, "none"])
@pytest.mark.parametrize("weighting", [True, False])
def test_equals_the_formulas_over_the_whole_bank(targets: str, weighting: bool) -> None:
    criterion = make(num_negatives="all", targets=targets, weighting=weighting, delta=0.3)
    video, audio = embeddings(4)
    expected = naive_loss(criterion, video.detach(), audio.detach())
    output = criterion(video, audio, index=INDEX, generator=generator())
    assert float(output.total.detach()) == pytest.approx(expected, rel=2e-5)
    assert float(sum(output.terms.values())) == pytest.approx(expected, rel=2e-5)


def test_as_many_draws_as_there_are_others_are_all_of_them() -> None:
    video, audio = embeddings(4)
    losses = [
        make(num_negatives=count)(video, audio, index=INDEX, generator=generator(3)).total
        for count in ("all", NUM_ROWS - 1, 1000)
    ]
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("num_negatives", [8, 30])
def test_draws_are_a_set_and_leave_out_the_own_row(num_negatives: int) -> None:
    criterion = make(num_negatives=num_negatives, targets="none", weighting=False)
    video, audio = embeddings(4)
    candidates = criterion._choose_candidates(INDEX, ranks_of(4), generator(5))
    for row, rows, valid in zip(INDEX.tolist(), candidates.rows, candidates.valid, strict=True):
        kept = rows[valid].tolist()
        assert kept[0] == row
        assert len(set(kept)) == len(kept)
        assert set(kept) == set(rows.tolist())
    output = criterion(video, audio, index=INDEX, generator=generator(5))
    scores = F.normalize(video.detach()) @ make().audio_memory.memory.T / 0.07
    expected = torch.stack(
        [
            -scores[i][sorted(set(rows.tolist()))].log_softmax(dim=0)[
                sorted(set(rows.tolist())).index(int(INDEX[i]))
            ]
            for i, rows in enumerate(candidates.rows)
        ]
    )
    torch.testing.assert_close(output.terms["video_to_audio"], expected.mean())


def ranks_of(count: int) -> RankRows:
    return RankRows(of_ranks=(count,))


# test 3
@pytest.mark.parametrize("targets", [*TARGETS, "none"])
def test_without_mix_and_with_a_floor_of_one_it_is_plain_xid(targets: str) -> None:
    results = []
    for criterion in (
        make(mix=0.0, min_weight=1.0, targets=targets),
        make(robust=False, targets=targets),
        make(targets="none", weighting=False),
    ):
        video, audio = embeddings(4)
        total = criterion(video, audio, index=INDEX, generator=generator(2)).total
        total.backward()
        results.append((total.detach(), video.grad, audio.grad))
    for name, got in zip(("total", "video", "audio"), zip(*results, strict=True), strict=True):
        for other in got[1:]:
            torch.testing.assert_close(got[0], other, rtol=1e-6, atol=1e-7, msg=name)


# test 3
@pytest.mark.parametrize("targets", TARGETS)
def test_no_gradient_through_weights_targets_or_banks(targets: str) -> None:
    """The gradient is that of a loss whose weights and targets are given numbers."""
    criterion = make(targets=targets, num_negatives="all")
    memories = {n: getattr(criterion, n).memory.clone() for n in ("video_memory", "audio_memory")}
    criterion.eval()  # in-place updates of a leaf are no part of this
    criterion.pairs.similarity = criterion.pairs.similarity.clone().requires_grad_()
    video, audio = embeddings(4)
    criterion(video, audio, index=INDEX, generator=generator()).total.backward()
    assert criterion.pairs.similarity.grad is None
    assert not criterion.video_memory.memory.requires_grad
    assert not criterion.audio_memory.memory.requires_grad

    candidates = criterion._choose_candidates(INDEX, ranks_of(4), generator())
    soft = criterion._soft_targets(INDEX, candidates, ranks=ranks_of(4))
    weights = criterion.sample_weights(INDEX)
    order = candidates.rows
    for name, current, bank in (
        ("video_to_audio", video, memories["audio_memory"]),
        ("audio_to_video", audio, memories["video_memory"]),
    ):
        unit = F.normalize(current.detach(), dim=1)
        scores = (unit @ bank.T / 0.07).gather(1, order)
        targets_given = 0.5 * soft[name]
        targets_given[:, 0] += 0.5
        # d CE / d scores = softmax - target
        by_scores = (scores.softmax(dim=1) - targets_given) * weights[:, None] / weights.sum()
        by_unit = torch.einsum("bm,bmd->bd", by_scores, bank[order]) / 0.07
        along = (by_unit * unit).sum(dim=1, keepdim=True)
        expected = (by_unit - along * unit) / current.detach().norm(dim=1, keepdim=True)
        assert current.grad is not None
        torch.testing.assert_close(current.grad, expected, rtol=1e-4, atol=1e-6)


# test 1, last property
def test_the_scale_of_the_weights_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    video, audio = embeddings(4)
    one = make()
    expected = one(video, audio, index=INDEX, generator=generator()).total
    two = make()
    given = two.sample_weights(INDEX)
    monkeypatch.setattr(two, "sample_weights", lambda index: 7.0 * given)
    torch.testing.assert_close(
        two(video, audio, index=INDEX, generator=generator()).total, expected
    )


# test 6
def test_autocast_and_half_embeddings_give_float32() -> None:
    video, audio = (e.detach().bfloat16().requires_grad_() for e in embeddings(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = make()(video, audio, index=INDEX, generator=generator())
    output.total.backward()
    assert output.total.dtype == torch.float32
    assert {t.dtype for t in (output.terms | output.metrics).values()} == {torch.float32}
    exact = make()(
        video.detach().float(), audio.detach().float(), index=INDEX, generator=generator()
    )
    assert torch.equal(output.total, exact.total)
    assert video.grad is not None
    assert video.grad.any()


def test_the_binary_form_is_that_of_avid() -> None:
    ours = make(loss="nce", targets="none", weighting=False)
    avid = AVIDCriterion(
        AVIDCriterionConfig(num_negatives=8), num_rows=NUM_ROWS, dim=DIM, generator=generator()
    )
    for seed in range(3):
        video, audio = embeddings(4, seed=seed)
        one = ours(video, audio, index=INDEX, generator=generator(seed))
        two = avid(video, audio, index=INDEX, generator=generator(seed))
        assert one.terms.keys() == two.terms.keys()
        for name, term in one.terms.items():
            torch.testing.assert_close(term, two.terms[name])
        torch.testing.assert_close(one.total, 2 * two.total)  # the sum, where AVID has the mean
    torch.testing.assert_close(ours.normalizer, avid.normalizer)
    assert torch.equal(ours.video_memory.memory, avid.video_memory.memory)


def test_the_binary_form_takes_weights() -> None:
    criterion = make(loss="nce", targets="none", num_negatives="all")
    criterion.normalizer.fill_(1.5)
    video, audio = embeddings(4)
    weights = criterion.sample_weights(INDEX)
    singles = []
    for i in range(4):
        alone = make(loss="nce", targets="none", num_negatives="all")
        alone.normalizer.fill_(1.5)
        output = alone(
            video[i : i + 1], audio[i : i + 1], index=INDEX[i : i + 1], generator=generator()
        )
        singles.append(output.total)
    expected = (weights * torch.stack(singles)).sum() / weights.sum()
    total = criterion(video, audio, index=INDEX, generator=generator()).total
    torch.testing.assert_close(total, expected)


# ---- instances that were never trained


def test_rows_that_were_never_trained_do_not_matter() -> None:
    """Neither as candidates nor in the statistics; the own row always does."""
    seen = torch.tensor([0, 3, 5, 7, 11, 39])
    losses = []
    for value in (0.5, -0.5):
        criterion = make(visited=False, num_negatives="all")
        criterion.pairs.visited[seen] = True
        unseen = ~criterion.pairs.visited
        criterion.video_memory.memory[unseen] = value
        criterion.audio_memory.memory[unseen] = 0.5
        criterion.recompute_similarities()
        video, audio = embeddings(4)
        losses.append(criterion(video, audio, index=INDEX, generator=generator()).total)
    assert losses[0] == losses[1]


def test_statistics_are_those_of_trained_instances() -> None:
    criterion = make(visited=False)
    assert criterion.pairs.mean == 0
    assert criterion.pairs.std == 0
    seen = torch.tensor([0, 3, 5])
    criterion.pairs.visited[seen] = True
    criterion.recompute_similarities()
    s = (criterion.video_memory.memory * criterion.audio_memory.memory).sum(dim=1)
    torch.testing.assert_close(criterion.pairs.similarity, s)
    torch.testing.assert_close(criterion.pairs.mean, s[seen].mean())
    torch.testing.assert_close(criterion.pairs.std, s[seen].std(correction=0))


def test_the_first_time_an_instance_is_trained_as_in_the_warm_up() -> None:
    robust = make(visited=False)
    plain = make(visited=False, robust=False)
    for criterion in (robust, plain):
        criterion.pairs.visited[torch.arange(20, 30)] = True
        criterion.recompute_similarities()
    video, audio = embeddings(4)
    one, two = (c(video, audio, index=INDEX, generator=generator()) for c in (robust, plain))
    torch.testing.assert_close(one.total, two.total)
    assert float(one.metrics["weight"]) == 1.0
    assert robust.pairs.visited.nonzero()[:, 0].tolist() == sorted(
        [*INDEX.tolist(), *range(20, 30)]
    )


def test_the_first_positive_is_the_embedding_of_the_other_modality() -> None:
    seen = torch.arange(20, 30)
    criterion = make(visited=False, robust=False, num_negatives="all", first_rows="embedding")
    criterion.pairs.visited[seen] = True
    rows = criterion.audio_memory.memory.clone()
    video, audio = embeddings(4)
    output = criterion(video, audio, index=INDEX, generator=generator())
    units = F.normalize(video.detach()), F.normalize(audio.detach())
    own = (units[0] * units[1]).sum(dim=1, keepdim=True)
    scores = torch.cat([own, units[0] @ rows[seen].T], dim=1) / 0.07
    expected = -scores.log_softmax(dim=1)[:, 0].mean()
    torch.testing.assert_close(output.terms["video_to_audio"], expected)
    # as a target it takes no gradient
    output.total.backward()
    probability = scores.softmax(dim=1)
    by_scores = torch.cat([probability[:, :1] - 1, probability[:, 1:]], dim=1) / 4 / 0.07
    by_unit = by_scores[:, :1] * units[1] + by_scores[:, 1:] @ rows[seen]
    along = (by_unit * units[0]).sum(dim=1, keepdim=True)
    expected = (by_unit - along * units[0]) / video.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(video.grad, expected, rtol=1e-4, atol=1e-6)


def test_random_first_rows_are_candidates_in_the_warm_up_and_mix_with_the_embedding() -> None:
    settings = {"targets": "none", "weighting": False, "num_negatives": "all"}
    random = make(visited=False, robust=False, first_rows="random", **settings)
    seen = make(visited=True, robust=False, **settings)
    video, audio = embeddings(4)
    before = random.video_memory.memory.clone()
    one, two = (c(video, audio, index=INDEX, generator=generator()) for c in (random, seen))
    assert torch.equal(one.total, two.total)
    moved = F.normalize(0.5 * before[INDEX] + 0.5 * F.normalize(video.detach()))
    torch.testing.assert_close(random.video_memory.memory[INDEX], moved)
    assert random.pairs.visited.sum() == 4
    random.start_robust_stage(share=0.5)
    candidates = random._choose_candidates(INDEX, ranks_of(4), generator())
    assert (candidates.valid.sum(dim=1) == 4).all()


def test_rows_outside_the_candidates_are_never_compared_with() -> None:
    rows = torch.tensor([0, 3, 7, 12, 39])
    losses = []
    for value in (0.5, -0.5):
        criterion = make(rows=rows, num_negatives=3)
        others = torch.ones(NUM_ROWS, dtype=torch.bool)
        others[rows] = False
        criterion.pairs.visited[others] = False
        criterion.video_memory.memory[others] = value
        criterion.recompute_similarities()
        video, audio = embeddings(4)
        losses.append(criterion(video, audio, index=INDEX, generator=generator()).total)
    assert losses[0] == losses[1]


# ---- what a step leaves behind


def test_a_step_updates_banks_similarities_and_visits_and_evaluation_does_not() -> None:
    criterion = make(visited=False).eval()
    start = {name: value.clone() for name, value in criterion.state_dict().items()}
    video, audio = embeddings(4)
    criterion(video, audio, index=INDEX, generator=generator())
    assert all(torch.equal(v, start[n]) for n, v in criterion.state_dict().items())

    criterion.train()(video, audio, index=INDEX, generator=generator())
    banks = {m: getattr(criterion, f"{m}_memory").memory for m in ("video", "audio")}
    units = {"video": F.normalize(video.detach()), "audio": F.normalize(audio.detach())}
    for modality, unit in units.items():  # rows start as the first embeddings
        torch.testing.assert_close(banks[modality][INDEX], unit)
    criterion(audio, video, index=INDEX, generator=generator())
    for modality, other in (("video", "audio"), ("audio", "video")):
        moved = F.normalize(0.5 * units[modality] + 0.5 * units[other])
        torch.testing.assert_close(banks[modality][INDEX], moved)
    s = (criterion.video_memory.memory * criterion.audio_memory.memory).sum(dim=1)
    torch.testing.assert_close(criterion.pairs.similarity, s)
    assert criterion.pairs.visited.sum() == 4


@pytest.mark.parametrize("statistics", ["bank", "ema"])
def test_state_dict_restores_the_next_steps(statistics: str) -> None:
    criterion, restored = make(statistics=statistics), make(statistics=statistics, robust=False)
    video, audio = embeddings(4)
    criterion(video, audio, index=INDEX, generator=generator(2))
    restored.load_state_dict(criterion.state_dict())
    assert restored.robust
    for _ in range(2):
        one = criterion(audio, video, index=INDEX, generator=generator(3))
        two = restored(audio, video, index=INDEX, generator=generator(3))
        assert torch.equal(one.total, two.total)
        assert one.metrics.keys() == two.metrics.keys()
        assert all(torch.equal(one.metrics[n], two.metrics[n]) for n in one.metrics)


def test_moving_averages_of_the_statistics() -> None:
    criterion = make(statistics="ema", statistics_decay=0.9, visited=False)
    pairs = criterion.pairs
    pairs.visited[:20] = True
    criterion.recompute_similarities()
    mean, square = pairs.mean.clone(), pairs.mean.square() + pairs.std.square()
    seen = pairs.similarity[[3, 0, 7]]  # 39 was never trained
    video, audio = embeddings(4)
    criterion(video, audio, index=INDEX, generator=generator())
    torch.testing.assert_close(pairs.mean, 0.9 * mean + 0.1 * seen.mean())
    expected = 0.9 * square + 0.1 * seen.square().mean()
    torch.testing.assert_close(pairs.mean.square() + pairs.std.square(), expected)
    mean = pairs.mean.clone()
    pairs.average_in(torch.tensor([30, 31]), decay=0.9)
    torch.testing.assert_close(pairs.mean, mean)


def test_metrics_have_the_same_names_in_both_stages() -> None:
    video, audio = embeddings(4)
    outputs = {
        robust: make(robust=robust, targets="swapped")(
            video, audio, index=INDEX, generator=generator()
        )
        for robust in (False, True)
    }
    assert outputs[False].metrics.keys() == outputs[True].metrics.keys()
    warm_up, robust = ({n: float(v) for n, v in outputs[r].metrics.items()} for r in (False, True))
    assert (warm_up["stage"], robust["stage"]) == (1, 2)
    assert (warm_up["weight"], warm_up["own_target"], warm_up["target_entropy"]) == (1, 1, 0)
    assert 0.25 < robust["weight"] < 1
    assert 0 < robust["own_target"] < 1
    assert robust["target_entropy"] > 0
    assert robust["similarity_std"] > 0


def test_the_part_of_soft_targets_rises_by_half_a_cosine() -> None:
    criterion = make(mix_start=0.1, mix=0.9)
    seen = []
    for share in (0.5, 0.625, 0.75, 1.0):
        criterion.set_share(share)
        seen.append(criterion.mix)
    assert seen == pytest.approx([0.1, 0.9 - 0.8 * (1 + math.cos(math.pi / 4)) / 2, 0.5, 0.9])
    constant = make(mix=0.4)
    constant.set_share(0.9)
    assert constant.mix == 0.4


def test_errors() -> None:
    video, audio = embeddings(4)
    criterion = make(targets="none")
    with pytest.raises(ValueError, match=r"embeddings must be \(3, 6\) for \(3,\) indices"):
        criterion(video, audio, index=torch.arange(3), generator=generator())
    with pytest.raises(ValueError, match="targets='none' has no soft targets; choose"):
        criterion.target_shares(INDEX, INDEX)
    with pytest.raises(ValueError, match="must be equally many rows of trained instances"):
        make(rows=torch.arange(5)).target_shares(torch.tensor([1]), torch.tensor([20]))
    with pytest.raises(ValidationError, match=r"set targets='none', or loss='infonce'"):
        RobustXIDCriterionConfig(loss="nce")
    with pytest.raises(ValidationError, match="kappa"):
        RobustXIDCriterionConfig(kappa=0)
    with pytest.raises(ValidationError, match="targets"):
        RobustXIDCriterionConfig.model_validate({"targets": "swav"})


def _train_from_a_common_mean(*, momentum: float, seed: int, **settings: Any) -> float:
    """Share of right retrievals after 300 steps of two small networks on 240 instances.

    All inputs have one large component in common, so that all embeddings start out alike.
    """
    count, features, batch = 240, 24, 32
    draws = generator(seed)
    code = torch.randn(count, 16, generator=draws)
    inputs = [
        code @ torch.randn(16, features, generator=draws)
        + torch.randn(count, features, generator=draws)
        + 12 * torch.randn(1, features, generator=draws)
        for _ in range(2)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = [
            nn.Sequential(
                nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32)
            )
            for _ in inputs
        ]
    criterion = RobustXIDCriterion(
        RobustXIDCriterionConfig(num_negatives="all", momentum=momentum, **settings),
        num_rows=count,
        dim=32,
        generator=generator(seed),
    )
    optimizer = torch.optim.Adam([p for n in networks for p in n.parameters()], lr=1e-3)
    for step in range(300):
        if step % 7 == 0:  # an epoch
            order = torch.randperm(count, generator=draws)
            criterion.recompute_similarities()
        if step == 150:
            criterion.start_robust_stage(share=0.5)
        index = order[batch * (step % 7) :][:batch]
        noise = 0.3 * torch.randn(2, batch, features, generator=draws)
        video, audio = (
            network(x[index] + n) for network, x, n in zip(networks, inputs, noise, strict=True)
        )
        output = criterion(video, audio, index=index, generator=draws)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
    with torch.no_grad():
        video, audio = (n(x) for n, x in zip(networks, inputs, strict=True))
    return cross_modal_retrieval(video, audio).video_to_audio.recall_at_1


@pytest.mark.trains
@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("weighting", [False, True])
@pytest.mark.parametrize("targets", ["none", "cycle"])
def test_every_variant_learns(
    targets: str, weighting: bool, training_seed: int, bound: Bound
) -> None:
    recall = _train_from_a_common_mean(
        momentum=0.5, seed=training_seed, targets=targets, weighting=weighting
    )
    bound("recall at 1", recall, above=0.8)  # chance is 1/240
