"""The order in which a run takes its samples, from its settings."""

from avtrain.data.samples import sample_groups
from avtrain.data.shard_mix import mix_weights
from avtrain.data.stream import StreamPlan
from avtrain.engine.config import FitConfig
from avtrain.engine.run_data import RunData


def plan_run(data: RunData, config: FitConfig, *, num_ranks: int) -> StreamPlan:
    """Plan of a run's stream.

    Raises:
        DataError: Ranks and parts of a step do not divide the batch, or a set of a mix is empty.
    """
    return StreamPlan(
        samples=data.samples,
        seed=config.seed,
        batch_size=config.data.batch_size,
        dataset_fingerprint=data.fingerprint,
        clips_per_sample=config.data.clips_per_sample,
        clips_per_source=config.data.clips_per_source,
        keep_sources_apart=config.data.keep_sources_apart,
        shuffle_window_shards=config.data.shuffle_window_shards,
        groups=sample_groups(data.table, data.samples),
        weights=mix_weights(data.shards),
        num_ranks=num_ranks,
        num_parts=config.optim.accumulate,
    )
