"""The order of samples: partition over epochs and ranks, exact continuation."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtrain.data.stream import StreamPlan, batches, epoch_order, sequential_batches


@st.composite
def plans(draw: st.DrawFn) -> StreamPlan:
    num_samples = draw(st.integers(1, 40))
    first = draw(st.integers(0, 5))
    return StreamPlan(
        samples=tuple(range(first, first + 3 * num_samples, 3)),
        seed=draw(st.integers(0, 2**63)),
        batch_size=draw(st.integers(1, 9)),
        clips_per_sample=draw(st.integers(1, 3)),
        num_ranks=draw(st.integers(1, 4)),
    )


def dealt(plan: StreamPlan, num_steps: int, *, num_seen: int = 0) -> list:
    """Items of all ranks in global order."""
    ranks = [
        itertools.islice(batches(plan, num_seen=num_seen, rank=r), num_steps)
        for r in range(plan.num_ranks)
    ]
    return [item for step in zip(*ranks, strict=True) for batch in step for item in batch]


@given(plans())
def test_every_epoch_holds_each_clip_of_each_sample_once(plan: StreamPlan) -> None:
    items = dealt(plan, plan.num_steps(2))
    wanted = {(s, o) for s in plan.samples for o in range(plan.clips_per_sample)}
    for epoch in (0, 1):
        seen = Counter((i.sample, i.occurrence) for i in items if i.epoch == epoch)
        assert seen == Counter(wanted)


@given(plans(), st.integers(0, 20), st.integers(1, 10))
def test_a_stopped_stream_goes_on_as_if_it_was_not(plan: StreamPlan, stop: int, more: int) -> None:
    whole = dealt(plan, stop + more)
    first = dealt(plan, stop)
    rest = dealt(plan, more, num_seen=stop * plan.global_batch_size)
    assert first + rest == whole


@given(plans())
def test_the_order_does_not_depend_on_the_number_of_ranks(plan: StreamPlan) -> None:
    alone = StreamPlan(
        samples=plan.samples,
        seed=plan.seed,
        batch_size=plan.global_batch_size,
        clips_per_sample=plan.clips_per_sample,
    )
    assert dealt(plan, 4) == dealt(alone, 4)


def test_epochs_and_seeds_have_different_orders() -> None:
    plan = StreamPlan(samples=tuple(range(100)), seed=3, batch_size=4)
    other = StreamPlan(samples=tuple(range(100)), seed=4, batch_size=4)
    assert not np.array_equal(epoch_order(plan, 0), epoch_order(plan, 1))
    assert not np.array_equal(epoch_order(plan, 0), epoch_order(other, 0))


def test_the_order_is_this_one_for_good() -> None:
    # golden: a change of this line is a change of kind ORDER and ends the resume of older runs
    plan = StreamPlan(samples=tuple(range(8)), seed=0, batch_size=4)
    assert epoch_order(plan, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        StreamPlan(samples=(), seed=0, batch_size=1)
    with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
        StreamPlan(samples=(1,), seed=0, batch_size=0)
    plan = StreamPlan(samples=(1,), seed=0, batch_size=1)
    with pytest.raises(ValueError, match="rank=1 must be in"):
        next(batches(plan, rank=1))
    with pytest.raises(ValueError, match="must not be negative"):
        next(batches(plan, num_seen=-1))


def test_sequential_batches_keep_order_and_end_short() -> None:
    seen = [[item.sample for item in batch] for batch in sequential_batches((4, 2, 9), 2)]
    assert seen == [[4, 2], [9]]
