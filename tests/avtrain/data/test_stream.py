"""The order of samples: partition over epochs, ranks and parts, exact continuation."""

import itertools
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtrain.data.epoch_order import EpochOrders, epoch_order, set_counts
from avtrain.data.loader import BatchLoader
from avtrain.data.stream import (
    SampleGroups,
    StreamItem,
    StreamPlan,
    batches,
    sequential_batches,
    stream_fingerprint,
)
from avtrain.errors import DataError


@st.composite
def plans(draw: st.DrawFn) -> StreamPlan:
    """Any plan; its batches can be dealt to 1, 2, 3, 4 or 6 ranks x parts."""
    num_samples = draw(st.integers(1, 40))
    num_sets = draw(st.integers(1, min(3, num_samples)))
    first = draw(st.integers(0, 5))
    shard_set = np.sort(np.arange(num_samples) % num_sets)
    per_source = draw(st.one_of(st.none(), st.integers(1, 4)))
    source = np.array(draw(st.lists(st.integers(0, 9), min_size=num_samples, max_size=num_samples)))
    return StreamPlan(
        samples=tuple(range(first, first + 3 * num_samples, 3)),
        seed=draw(st.integers(0, 2**63)),
        batch_size=draw(st.sampled_from((12, 24))),
        dataset_fingerprint=draw(st.sampled_from(("", "a", "b"))),
        clips_per_sample=1 if per_source else draw(st.integers(1, 3)),
        clips_per_source=per_source,
        keep_sources_apart=draw(st.booleans()),
        shuffle_window_shards=draw(st.one_of(st.none(), st.integers(1, 4))),
        groups=SampleGroups(
            source=source + 10 * shard_set,
            shard=np.arange(num_samples) // draw(st.integers(1, 5)),
            shard_set=shard_set,
        ),
        weights=tuple(draw(st.floats(0.1, 5)) for _ in range(num_sets)),
    )


dealings = st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 2), (3, 1), (4, 1), (2, 3), (6, 2)])


def dealt_to(plan: StreamPlan, dealing: tuple[int, int]) -> StreamPlan:
    num_ranks, num_parts = dealing
    return replace(plan, num_ranks=num_ranks, num_parts=num_parts)


def dealt(plan: StreamPlan, num_steps: int, *, num_seen: int = 0) -> list[StreamItem]:
    """Items of all ranks and parts in global order."""
    taken = []
    for rank in range(plan.num_ranks):
        stream = batches(plan, num_seen=num_seen, rank=rank)
        parts = list(itertools.islice(stream, num_steps * plan.num_parts))
        assert {len(part) for part in parts} <= {plan.part_size}  # equal work on all ranks
        taken.append(
            [parts[step * plan.num_parts :][: plan.num_parts] for step in range(num_steps)]
        )
    steps = zip(*taken, strict=True)
    return [item for ranks in steps for parts in ranks for part in parts for item in part]


@settings(deadline=None)
@given(plans(), dealings)
def test_every_epoch_holds_each_clip_once(plan: StreamPlan, dealing: tuple[int, int]) -> None:
    plan = dealt_to(plan, dealing)
    assert plan.groups is not None
    items = dealt(plan, plan.num_steps(2))[: 2 * plan.epoch_length]
    source = dict(zip(plan.samples, plan.groups.source.tolist(), strict=True))
    for epoch in (0, 1):
        own = items[epoch * plan.epoch_length :][: plan.epoch_length]
        if len(plan.weights) > 1:
            continue
        assert {item.epoch for item in own} == {epoch}
        clips = Counter((item.sample, item.occurrence) for item in own)
        assert set(clips.values()) == {1}
        if plan.clips_per_source is None:
            wanted = range(plan.clips_per_sample)
            assert set(clips) == set(itertools.product(plan.samples, wanted))
        else:
            counts = Counter(source[item.sample] for item in own)
            assert counts == dict.fromkeys(source.values(), plan.clips_per_source)


@settings(deadline=None)
@given(plans(), dealings, dealings, st.integers(0, 6), st.integers(1, 4))
def test_a_stopped_stream_goes_on_with_any_ranks_as_if_it_was_not(
    plan: StreamPlan, before: tuple[int, int], after: tuple[int, int], stop: int, more: int
) -> None:
    whole = dealt(plan, stop + more)
    first = dealt(dealt_to(plan, before), stop)
    rest = dealt(dealt_to(plan, after), more, num_seen=stop * plan.batch_size)
    assert first + rest == whole


@settings(deadline=None)
@given(plans(), dealings)
def test_the_order_does_not_depend_on_ranks_and_parts(
    plan: StreamPlan, dealing: tuple[int, int]
) -> None:
    other = dealt_to(plan, dealing)
    assert dealt(other, 4) == dealt(plan, 4)
    assert stream_fingerprint(other) == stream_fingerprint(plan)


class _Echo:
    """A batch of the items themselves, from threads that finish out of order."""

    def allocate(self, num_items: int) -> list[StreamItem | None]:
        return [None] * num_items

    def fill(self, batch: list[StreamItem | None], slot: int, item: StreamItem) -> None:
        sum(range(500 * (item.sample % 3)))
        batch[slot] = item

    def select(self, batch: list[StreamItem | None], slots: list[int]) -> list[StreamItem | None]:
        return [batch[slot] for slot in slots]


@settings(deadline=None, max_examples=20)
@given(plans(), dealings, st.integers(1, 5), st.integers(1, 4))
def test_the_order_does_not_depend_on_threads(
    plan: StreamPlan, dealing: tuple[int, int], num_threads: int, prefetch_batches: int
) -> None:
    plan = dealt_to(plan, dealing)
    for rank in range(plan.num_ranks):
        wanted = list(itertools.islice(batches(plan, num_seen=7, rank=rank), 5))
        stream = batches(plan, num_seen=7, rank=rank)
        with BatchLoader(
            _Echo(), stream, num_threads=num_threads, prefetch_batches=prefetch_batches
        ) as loader:
            for items in wanted:
                loaded = next(loader)
                assert loaded.batch == loaded.items == items
                loader.release(loaded)


def plan_of(num_samples: int, **changes: object) -> StreamPlan:
    settings = {"samples": tuple(range(num_samples)), "seed": 3, "batch_size": 4} | changes
    return StreamPlan(**settings)  # type: ignore[arg-type]


def groups_of(
    source: np.ndarray, *, samples_per_shard: int = 10, shard_set: np.ndarray | None = None
) -> SampleGroups:
    return SampleGroups(
        source=source,
        shard=np.arange(len(source)) // samples_per_shard,
        shard_set=np.zeros(len(source), int) if shard_set is None else shard_set,
    )


def test_epochs_seeds_and_datasets_have_different_orders() -> None:
    plan = plan_of(100)
    orders = [
        epoch_order(plan, 0),
        epoch_order(plan, 1),
        epoch_order(replace(plan, seed=4), 0),
        epoch_order(replace(plan, dataset_fingerprint="other"), 0),
    ]
    for one, other in itertools.combinations(orders, 2):
        assert not np.array_equal(one.position, other.position)


def test_the_order_is_this_one_for_good() -> None:
    # golden: a change of these lines is a change of kind ORDER and ends the resume of older runs
    groups = groups_of(np.array([0, 0, 0, 1, 1, 2, 2, 2]), samples_per_shard=2)
    plan = StreamPlan(samples=tuple(range(8)), seed=0, batch_size=4, groups=groups)

    def order(**changes: object) -> list[int]:
        return epoch_order(replace(plan, **changes), 1).position.tolist()

    assert order() == GOLDEN["plain"]
    assert order(dataset_fingerprint="abc") == GOLDEN["fingerprint"]
    assert order(clips_per_source=2) == GOLDEN["per_source"]
    assert order(keep_sources_apart=True) == GOLDEN["apart"]
    assert order(shuffle_window_shards=2) == GOLDEN["window"]
    mixed = replace(groups, shard_set=np.array([0, 0, 0, 0, 0, 1, 1, 1]))
    assert order(groups=mixed, weights=(1.0, 1.0)) == GOLDEN["mix"]


GOLDEN = {
    "plain": [4, 3, 7, 5, 1, 6, 0, 2],
    "fingerprint": [4, 2, 3, 1, 0, 7, 6, 5],
    "per_source": [6, 3, 7, 0, 2, 4],
    "apart": [4, 2, 7, 5, 1, 6, 0, 3],
    "window": [3, 1, 0, 2, 4, 7, 5, 6],
    "mix": [4, 4, 3, 1, 5, 7, 6, 7],
}


def test_clips_of_a_source_go_round_its_samples() -> None:
    source = np.array([0] * 5 + [1] * 2 + [2])
    plan = plan_of(8, clips_per_source=2, groups=groups_of(source))
    assert plan.epoch_length == 6
    seen: dict[int, list[int]] = defaultdict(list)
    for epoch in range(5):
        order = epoch_order(plan, epoch)
        by_occurrence = np.lexsort((order.occurrence, order.position))
        for position in order.position[by_occurrence]:
            seen[int(source[position])].append(int(position))
    # in 5 epochs of 2 clips each of the 5 samples of source 0 is there twice
    assert Counter(seen[0]) == dict.fromkeys(range(5), 2)
    assert Counter(seen[1]) == dict.fromkeys((5, 6), 5)
    assert Counter(seen[2]) == {7: 10}
    # a sample that is there twice in an epoch has two occurrences: two different clips
    order = epoch_order(plan, 3)
    assert sorted(order.occurrence[order.position == 7].tolist()) == [0, 1]


@settings(deadline=None)
@given(
    st.integers(1, 8), st.integers(2, 12), st.integers(0, 2**32), st.integers(3, 20), st.booleans()
)
def test_sources_are_kept_apart(
    batch_size: int, num_batches: int, seed: int, extra_sources: int, windows: bool
) -> None:
    rng = np.random.default_rng(seed)
    num_sources = 2 * batch_size + extra_sources
    source = rng.integers(num_sources, size=batch_size * num_batches + int(rng.integers(7)))
    plan = plan_of(
        len(source),
        batch_size=batch_size,
        seed=seed,
        keep_sources_apart=True,
        shuffle_window_shards=2 if windows else None,
        groups=groups_of(source),
    )
    full_batches = len(source) // batch_size - 1
    if np.bincount(source).max() > full_batches / 2:
        return
    for items in itertools.islice(batches(plan), 4 * num_batches):
        sources = source[[item.sample for item in items]]
        assert len(set(sources.tolist())) == batch_size  # also where two epochs meet


def test_what_cannot_be_kept_apart_stays_spread() -> None:
    source = np.array([0] * 30 + list(range(1, 31)))  # half of all clips are of one source
    plan = plan_of(60, batch_size=6, keep_sources_apart=True, groups=groups_of(source))
    for items in itertools.islice(batches(plan), 10):
        rest = [s for s in source[[item.sample for item in items]] if s]
        assert len(set(rest)) == len(rest)


def test_a_window_keeps_few_shards_in_use() -> None:
    groups = groups_of(np.arange(200))
    plan = plan_of(200, batch_size=20, groups=groups, shuffle_window_shards=4)
    orders = [epoch_order(plan, epoch).position for epoch in (0, 1)]
    for order in orders:
        windows = groups.shard[order].reshape(5, 40)
        shards = [set(window.tolist()) for window in windows]
        assert [len(s) for s in shards] == [4] * 5
        assert set.union(*shards) == set(range(20))
    assert set(groups.shard[orders[0][:40]]) != set(groups.shard[orders[1][:40]])


def test_shards_move_between_ranks() -> None:
    groups = groups_of(np.arange(400))
    plan = plan_of(400, batch_size=40, num_ranks=2, groups=groups, shuffle_window_shards=1)
    seen = [
        {
            (item.sample, item.epoch)
            for items in itertools.islice(batches(plan, rank=rank), 20)
            for item in items
        }
        for rank in (0, 1)
    ]
    moved = [sample for sample, epoch in seen[0] if epoch == 0 and (sample, 1) in seen[1]]
    assert 60 < len(moved) < 140  # half of the 200


def test_sets_are_mixed_by_weight_and_each_has_its_own_epochs() -> None:
    sets = np.repeat([0, 1], [90, 10])
    groups = groups_of(np.arange(100), shard_set=sets)
    plan = plan_of(100, batch_size=10, groups=groups, weights=(2.0, 1.0))
    assert plan.epoch_length == 100
    seen: Counter[int] = Counter()
    for epoch in range(6):
        order = epoch_order(plan, epoch)
        counts = np.bincount(sets[order.position])
        assert counts.tolist() == [67, 33]
        # evenly over the epoch: the share of a set in its first half is near its weight
        assert 20 <= counts[0] - np.bincount(sets[order.position[:50]])[0] <= 45
        seen.update(order.position.tolist())
        clips = list(zip(order.position, order.occurrence, order.epoch, strict=True))
        assert len(set(clips)) == len(clips)
    times = [seen[position] for position in range(100)]
    assert max(times[:90]) - min(times[:90]) <= 1  # 402 clips of 90 samples
    assert max(times[90:]) - min(times[90:]) <= 1  # 198 clips of 10 samples
    second = [item for items in itertools.islice(batches(plan), 20) for item in items]
    own = [(item.sample, item.epoch, item.occurrence) for item in second]
    assert len(set(own)) == 200


@pytest.mark.parametrize(
    ("weights", "length", "counts"),
    [((1, 1), 5, [3, 2]), ((1, 1e-9), 10, [9, 1]), ((0.2, 0.3, 0.5), 100, [20, 30, 50])],
)
def test_counts_of_sets_add_up(weights: tuple[float, ...], length: int, counts: list[int]) -> None:
    assert set_counts(weights, length) == counts


def test_a_mix_with_an_empty_set_is_refused() -> None:
    groups = groups_of(np.arange(4))
    with pytest.raises(DataError, match=r"shard set 2 of 2 in the mix has no sample to train on"):
        plan_of(4, groups=groups, weights=(1.0, 2.0))


def test_a_batch_that_ranks_and_parts_do_not_divide_is_refused() -> None:
    message = (
        r"data.batch_size=30 is not a multiple of 4 ranks x 2 parts of a step; set "
        r"data.batch_size to 24 or 32"
    )
    with pytest.raises(DataError, match=message):
        plan_of(100, batch_size=30, num_ranks=4, num_parts=2)
    with pytest.raises(DataError, match=r"4 ranks x 1 parts of a step; set data.batch_size to 4"):
        plan_of(100, batch_size=3, num_ranks=4)


def test_fingerprints_tell_orders_apart() -> None:
    groups = groups_of(np.arange(20) // 2)
    plan = plan_of(20, groups=groups)
    others = [
        replace(plan, seed=9),
        replace(plan, batch_size=5),
        replace(plan, samples=tuple(range(1, 21))),
        replace(plan, clips_per_sample=2),
        replace(plan, clips_per_source=1),
        replace(plan, keep_sources_apart=True),
        replace(plan, shuffle_window_shards=3),
        replace(plan, dataset_fingerprint="x"),
    ]
    assert len({stream_fingerprint(p) for p in [plan, *others]}) == 9
    assert stream_fingerprint(replace(plan, groups=None)) == stream_fingerprint(plan)


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        StreamPlan(samples=(), seed=0, batch_size=1)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        StreamPlan(samples=(1,), seed=0, batch_size=0)
    with pytest.raises(ValueError, match="shuffle_window_shards=0 must be at least 1"):
        StreamPlan(samples=(1,), seed=0, batch_size=1, shuffle_window_shards=0)
    with pytest.raises(ValueError, match="clips_per_source=2 and clips_per_sample=3 exclude"):
        StreamPlan(samples=(1,), seed=0, batch_size=1, clips_per_source=2, clips_per_sample=3)
    with pytest.raises(ValueError, match="need the plan's groups"):
        StreamPlan(samples=(1,), seed=0, batch_size=1, keep_sources_apart=True)
    with pytest.raises(ValueError, match="of a plan of 1 samples"):
        StreamPlan(samples=(1,), seed=0, batch_size=1, groups=groups_of(np.arange(2)))
    with pytest.raises(ValueError, match="must be positive, one a shard set"):
        plan_of(2, groups=groups_of(np.arange(2), shard_set=np.arange(2)))
    plan = StreamPlan(samples=(1,), seed=0, batch_size=1)
    with pytest.raises(ValueError, match="rank=1 must be in"):
        next(batches(plan, rank=1))
    with pytest.raises(ValueError, match="must not be negative"):
        next(batches(plan, num_seen=-1))


def test_sequential_batches_keep_order_and_end_short() -> None:
    seen = [[item.sample for item in batch] for batch in sequential_batches((4, 2, 9), 2)]
    assert seen == [[4, 2], [9]]


def test_orders_of_only_two_epochs_are_kept() -> None:
    orders = EpochOrders(plan_of(10))
    first = orders.order(0)
    assert orders.order(0) is first
    orders.order(1), orders.order(2)
    assert orders.order(0) is not first
