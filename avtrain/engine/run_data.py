"""The samples of a run, read and checked before anything is trained."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avdata import available_cores
from avtrain.data.samples import (
    SampleStore,
    SampleTable,
    check_shard_files,
    dataset_fingerprint,
    filter_samples,
    read_sample_table,
    select_samples,
)
from avtrain.engine.config import DataConfig, FitConfig
from avtrain.errors import DataError
from avtrain.methods import ChoosesSamples

_MOST_THREADS = 32


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunData:
    """What a run trains on."""

    shards: SampleStore
    table: SampleTable
    samples: tuple[int, ...]
    """Rows of the table to train on, ascending."""
    fingerprint: str
    """Hash of the build and of the samples in their order."""

    def __repr__(self) -> str:
        return f"RunData({len(self.samples)} samples of {self.where})"

    @property
    def where(self) -> str:
        """Name of the shard set, for messages."""
        return str(self.shards.location)

    @property
    def sources(self) -> Tensor:
        """int64, sources with at least one training sample, ascending."""
        return torch.from_numpy(np.unique(self.table.source_index[list(self.samples)]))


def read_run_data(
    shards: SampleStore, config: FitConfig, *, notify: Callable[[str], object]
) -> RunData:
    """The samples that the settings choose.

    Raises:
        DataError: The shard set does not have what the method needs.
    """
    where = str(shards.location)
    config.method_config.check(shards.spec, where=where)
    table = read_sample_table(shards)
    chosen = select_samples(table, config.data.split, where=where)
    samples = filter_samples(shards, chosen, config.data.where)
    if config.data.where is not None:
        notify(f"--where keeps {len(samples)} of {len(chosen)} samples")
    if isinstance(config.method_config, ChoosesSamples):
        samples = config.method_config.usable_samples(
            table, samples, shards.spec, where=where, notify=notify
        )
    _check_sizes(table, samples, config.data, where=where)
    check_shard_files(shards)
    return RunData(
        shards=shards,
        table=table,
        samples=samples,
        fingerprint=dataset_fingerprint(shards, samples if config.data.where is not None else None),
    )


def num_loader_threads(config: DataConfig, *, ranks_here: int = 1) -> int:
    """Threads that the settings ask for; without a number, one a core, shared among ranks."""
    return config.loader_threads or max(1, min(available_cores() // ranks_here, _MOST_THREADS))


def _check_sizes(
    table: SampleTable, samples: tuple[int, ...], config: DataConfig, *, where: str
) -> None:
    if config.batch_size > len(samples):
        raise DataError(
            f"data.batch_size={config.batch_size} is larger than the {len(samples)} samples to "
            f"train on in {where}; set data.batch_size to {len(samples)} or less"
        )
    if len({int(table.source_index[sample]) for sample in samples}) < 2:
        raise DataError(
            f"the {len(samples)} samples to train on in {where} are all of one source; at least "
            "2 sources are needed to tell apart. Build a set of more media"
        )
