"""Numbers about an order: known for orders made by hand, and near 1 for a perfect shuffle."""

from dataclasses import replace

import numpy as np
import pytest

from avtrain.data.epoch_order import epoch_order
from avtrain.data.shuffle_quality import measure_shuffle
from avtrain.data.stream import SampleGroups, StreamPlan


def plan_of(num_samples: int, *, batch_size: int = 8, **changes: object) -> StreamPlan:
    plan = StreamPlan(
        samples=tuple(range(num_samples)),
        seed=1,
        batch_size=batch_size,
        groups=SampleGroups(
            source=np.arange(num_samples) // 4,
            shard=np.arange(num_samples) // 50,
            shard_set=np.zeros(num_samples, int),
        ),
    )
    return replace(plan, **changes)


def test_one_shuffle_of_all_is_perfect() -> None:
    quality = measure_shuffle(plan_of(20_000, batch_size=200))
    assert quality.neighbor_distance == pytest.approx(1, abs=0.02)
    assert quality.min_neighbor_distance in (1, 2)
    assert quality.neighbors_together == pytest.approx(1, abs=0.2)
    assert quality.epoch_distance == pytest.approx(1, abs=0.02)
    # of 199 other clips each is one of the 3 twins with probability 3 / 19999
    assert quality.rows_with_twin == pytest.approx(3 * 199 / 19_999, rel=0.2)
    assert quality.num_shards == 400
    assert quality.shards_per_batch == pytest.approx(400 * (1 - (1 - 1 / 400) ** 200), rel=0.02)


def test_a_small_window_is_told_from_a_perfect_shuffle() -> None:
    plan = plan_of(2000, batch_size=50, shuffle_window_shards=2)
    quality = measure_shuffle(plan)
    assert quality.neighbor_distance is not None and quality.neighbor_distance < 0.1
    assert quality.neighbors_together is not None and quality.neighbors_together > 5
    assert quality.shards_per_batch <= 2
    # shards come in another order, and so do the samples
    assert quality.epoch_distance == pytest.approx(1, abs=0.2)


def test_kept_apart_is_without_twins() -> None:
    assert measure_shuffle(plan_of(2000)).rows_with_twin > 0.005
    assert measure_shuffle(plan_of(2000, keep_sources_apart=True)).rows_with_twin == 0


def test_numbers_of_an_order_are_those_of_a_naive_count() -> None:
    plan = plan_of(60, clips_per_sample=2)
    assert plan.groups is not None
    order, second = (epoch_order(plan, epoch).position.tolist() for epoch in (0, 1))
    quality = measure_shuffle(plan)
    distances = [abs(order.index(i) - order.index(i + 1)) for i in range(59)]
    assert quality.neighbor_distance == pytest.approx(np.mean(distances) / (121 / 3))
    assert quality.min_neighbor_distance == min(distances)
    together = [order.index(i) // 8 == order.index(i + 1) // 8 for i in range(59)]
    assert quality.neighbors_together == pytest.approx(np.mean(together) / (7 / 119))
    moved = [abs(order.index(i) - second.index(i)) for i in range(60)]
    assert quality.epoch_distance == pytest.approx(np.mean(moved) / ((120 - 1 / 120) / 3))
    batches = [order[i : i + 8] for i in range(0, 120, 8)]
    source, shard = plan.groups.source, plan.groups.shard
    twins = [[source[b].tolist().count(source[s]) > 1 for s in b] for b in map(np.array, batches)]
    assert quality.rows_with_twin == pytest.approx(np.mean(twins))
    assert quality.shards_per_batch == pytest.approx(np.mean([len(set(shard[b])) for b in batches]))


def test_where_nothing_is_to_be_measured_there_are_no_numbers() -> None:
    plan = plan_of(12, batch_size=3, clips_per_source=1)  # 3 sources, one of 4 samples an epoch
    quality = measure_shuffle(plan)
    assert quality.epoch_distance is None  # the samples of the second epoch are others
    assert "epochs" not in str(quality)
    one = measure_shuffle(plan_of(1, batch_size=1))
    assert one.neighbor_distance is None
    assert str(one) == (
        "shuffle: 0.0% of a batch's clips have another clip of their source in it; a batch takes "
        "clips of 1.0 of 1 shards"
    )
    with pytest.raises(ValueError, match="give the plan its groups"):
        measure_shuffle(StreamPlan(samples=(1, 2), seed=0, batch_size=1))


def test_the_line_of_the_log() -> None:
    line = str(measure_shuffle(plan_of(2000, keep_sources_apart=True)))
    assert line.startswith("shuffle: neighbors ")
    assert "0.0% of a batch's clips have another clip of their source in it" in line
    assert line.endswith("of 40 shards")
