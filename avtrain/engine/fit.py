"""From settings and a shard set to a trained run."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avdata import ShardSet, available_cores, folder_lock
from avtrain.data.loader import BatchLoader, View
from avtrain.data.samples import (
    SampleTable,
    check_shard_files,
    dataset_fingerprint,
    filter_samples,
    read_sample_table,
    select_samples,
)
from avtrain.data.stream import StreamItem, StreamPlan, batches, epoch_order
from avtrain.engine.checkpoint import Checkpoint, load_latest_checkpoint, remove_later_files
from avtrain.engine.config import DataConfig, FitConfig
from avtrain.engine.journal import Journal
from avtrain.engine.loop import Progress, Session, Training, TrainState, restore, train
from avtrain.engine.run_folder import (
    RunRecord,
    check_resumable,
    check_vacant,
    create_run,
    read_run,
    software_versions,
)
from avtrain.engine.stop_request import StopRequest
from avtrain.errors import DataError, RunError
from avtrain.methods import MethodFacts

logger = logging.getLogger(__name__)

_MOST_THREADS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """What a call of `fit` did, and where the run stands."""

    session: Session
    step: int
    num_steps: int
    """Steps of the whole schedule."""
    epochs: float
    """Passes over the samples so far."""
    samples_per_s: float
    """Of this session, its first batch included."""
    data_wait: float
    """Share of this session's time in which steps waited for data."""
    signal_number: int | None
    """The signal that stopped the session, if one did."""


def fit(
    shards: ShardSet,
    config: FitConfig,
    *,
    run: Path,
    resume: bool,
    device: torch.device,
    progress: Progress,
    notify: Callable[[str], object] = logger.info,
) -> FitResult:
    """Train a new run, or go on with one; all steps follow from settings and shard set alone.

    `notify` is told, in a line, what a person should know before the first step.

    Raises:
        DataError: The shard set does not have what the method needs.
        RunError: The folder cannot be used, or the run is another one than asked for.
        TrainingError: A loss is not finite.
    """
    table = read_sample_table(shards)
    where = str(shards.location)
    config.method_config.check(shards.spec, where=where)
    if resume:
        _check_same_condition(read_run(run).config.data, config.data)
    chosen = select_samples(table, config.data.split, where=where)
    samples = filter_samples(shards, chosen, config.data.where)
    if config.data.where is not None:
        notify(f"--where keeps {len(samples)} of {len(chosen)} samples")
    _check_sizes(table, samples, config.data, where=where)
    check_shard_files(shards)
    fingerprint = dataset_fingerprint(shards, samples if config.data.where is not None else None)
    if resume:
        record = read_run(run)
        check_resumable(record, config, fingerprint=fingerprint, shards=where, run=run)
    else:
        check_vacant(run)
    busy = RunError(f"{run} is in use by another `avtrain fit`; wait for it, or give another --out")
    with folder_lock(run, busy=busy):
        checkpoint = load_latest_checkpoint(run) if resume else None
        if not resume:
            create_run(
                run,
                RunRecord(
                    config=config,
                    shards=shards.location.url,
                    dataset_fingerprint=fingerprint,
                    num_samples=len(samples),
                    spec=shards.spec,
                    software=software_versions(),
                ),
            )
        training = _assemble(
            shards, table, samples, config, run=run, fingerprint=fingerprint, device=device
        )
        return _train(training, checkpoint, shards, table, progress)


def _check_same_condition(old: DataConfig, new: DataConfig) -> None:
    """First of all, since samples that are filtered otherwise look like another shard set."""
    if old.where != new.where:
        raise RunError(
            f"--resume cannot change data.where: {old.where!r} -> {new.where!r}; it decides which "
            "samples are trained. Drop it, or start a new run with another --out"
        )


def num_loader_threads(config: DataConfig) -> int:
    """Threads that the settings ask for."""
    return config.loader_threads or min(available_cores(), _MOST_THREADS)


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


def _assemble(
    shards: ShardSet,
    table: SampleTable,
    samples: tuple[int, ...],
    config: FitConfig,
    *,
    run: Path,
    fingerprint: str,
    device: torch.device,
) -> Training:
    plan = StreamPlan(
        samples=samples,
        seed=config.seed,
        batch_size=config.data.batch_size,
        clips_per_sample=config.data.clips_per_sample,
    )
    facts = MethodFacts(
        spec=shards.spec,
        where=str(shards.location),
        trained_sources=torch.from_numpy(np.unique(table.source_index[list(samples)])),
        seed=config.seed,
        device=device,
    )
    method = config.method_config.build(facts)
    num_steps = plan.num_steps(config.schedule.epochs)
    return Training(
        run=run,
        config=config,
        plan=plan,
        num_steps=min(num_steps, config.schedule.max_steps or num_steps),
        dataset_fingerprint=fingerprint,
        keys=table.keys,
        device=device,
        method=method,
        optimizer=torch.optim.Adam(
            method.parameters(),
            lr=config.optim.lr,
            betas=config.optim.betas,
            weight_decay=config.optim.weight_decay,
            fused=True,  # one kernel a step; also on the CPU
        ),
    )


def _train(
    training: Training,
    checkpoint: Checkpoint | None,
    shards: ShardSet,
    table: SampleTable,
    progress: Progress,
) -> FitResult:
    config, plan = training.config, training.plan
    view = training.method.train_view(
        shards, table, seed=config.seed, pin_memory=training.device.type == "cuda"
    )
    if checkpoint is None:
        state = TrainState()
        _calibrate(training, view)
    else:
        state = restore(training, checkpoint)
        logger.info("going on after step %d", state.step)
    remove_later_files(training.run, state.step)
    with (
        StopRequest() as stop,
        Journal(
            training.run,
            step=state.step,
            keys=config.log.keys,
            tensorboard=config.log.tensorboard,
        ) as journal,
        BatchLoader(
            view,
            batches(plan, num_seen=state.step * plan.global_batch_size),
            num_threads=num_loader_threads(config.data),
            prefetch_batches=config.data.prefetch_batches,
        ) as loader,
    ):
        session = train(training, state, loader, journal=journal, progress=progress, stop=stop)
    seconds = max(session.seconds, 1e-9)
    return FitResult(
        session=session,
        step=state.step,
        num_steps=training.num_steps,
        epochs=state.step * plan.global_batch_size / plan.epoch_length,
        samples_per_s=session.num_steps * plan.global_batch_size / seconds,
        data_wait=session.wait_s / seconds,
        signal_number=stop.signal_number,
    )


def _calibrate(training: Training, view: View[Any]) -> None:
    """Show the method clips that training never shows: their occurrence is -1."""
    if not training.method.num_calibration_clips:
        return
    samples, order = training.plan.samples, epoch_order(training.plan, 0)
    chosen = list(dict.fromkeys(order % len(samples)))[: training.method.num_calibration_clips]
    items = [StreamItem(sample=samples[i], epoch=0, occurrence=-1) for i in chosen]
    size = training.plan.batch_size
    with BatchLoader(
        view,
        (items[start : start + size] for start in range(0, len(items), size)),
        num_threads=num_loader_threads(training.config.data),
        prefetch_batches=training.config.data.prefetch_batches,
    ) as loader:
        training.method.calibrate(loaded.batch for loaded in loader)
