"""A trained method out of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from avdata import ShardSet
from avtrain.engine.checkpoint import load_latest_checkpoint
from avtrain.engine.run_folder import RunRecord, read_run
from avtrain.errors import DataError, RunError
from avtrain.methods import Method, MethodFacts


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedMethod:
    """A method as of the last checkpoint of its run, in evaluation mode."""

    method: Method[Any, Any]
    record: RunRecord
    step: int

    def check(self, shards: ShardSet) -> None:
        """Refuse a shard set whose stored fields are not those that the method was trained on.

        Raises:
            DataError: A field is missing, or its sound or log-mel was made in another way.
        """
        config, spec = self.record.config.method_config, shards.spec
        config.check(spec, where=str(shards.location))
        trained = self.record.spec
        for name, seen, known in (
            ("logmel", spec.logmel, trained.logmel),
            ("audio", spec.audio, trained.audio),
        ):
            if name in config.requires and seen != known:
                raise DataError(
                    f"{shards.location} has {name} made with {seen}, the run was trained on "
                    f"{known}; build the set again with the {name} settings of the run"
                )


def load_method(run: Path, device: torch.device) -> LoadedMethod:
    """The method of a run, on the device.

    Raises:
        RunError: There is no run, or it has no checkpoint yet.
    """
    record = read_run(run)
    checkpoint = load_latest_checkpoint(run)
    if checkpoint is None:
        raise RunError(
            f"{run} has no checkpoint yet; train it with `avtrain fit {record.shards} --out {run} "
            "--resume`"
        )
    facts = MethodFacts(
        spec=record.spec,
        where=record.shards,
        trained_sources=None,
        seed=record.config.seed,
        device=device,
    )
    method = record.config.method_config.build(facts)
    method.load_state_dict(checkpoint.method)
    return LoadedMethod(method=method.eval(), record=record, step=checkpoint.step)
