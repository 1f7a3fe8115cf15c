"""From settings and a shard set to a trained run."""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from avtrain.data.bad_samples import BadSampleLimit
from avtrain.data.device_feed import DeviceFeed
from avtrain.data.epoch_order import epoch_order
from avtrain.data.loader import BatchLoader, View
from avtrain.data.samples import SampleStore
from avtrain.data.shuffle_quality import measure_shuffle
from avtrain.data.stream import StreamItem, StreamPlan, batches, stream_fingerprint
from avtrain.engine.checkpoint_writer import CheckpointWriter
from avtrain.engine.compute import set_up_compute
from avtrain.engine.config import FitConfig
from avtrain.engine.initial import Initial, load_initial
from avtrain.engine.journal import Journal, NoJournal, check_wandb
from avtrain.engine.loop import (
    Notes,
    Observers,
    Progress,
    Session,
    Training,
    TrainState,
    Watch,
    restore,
    train,
)
from avtrain.engine.optim import make_optimizer
from avtrain.engine.place import check_place, take_place
from avtrain.engine.profiling import NoWatch, StepProfiler
from avtrain.engine.ranks import check_same, together
from avtrain.engine.run_data import RunData, num_loader_threads, read_run_data
from avtrain.engine.run_folder import RunRecord, holds_run, read_run, software_versions
from avtrain.engine.run_plan import plan_run
from avtrain.engine.stop_request import StopRequest
from avtrain.errors import DataError, RunError
from avtrain.methods import Method, MethodFacts
from avtrain.objectives.across_ranks import num_ranks, rank

logger = logging.getLogger(__name__)

_SAME_SIGNAL_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FitResult:
    """What a call of `fit` did, and where the run stands."""

    method: Method[Any, Any]
    """As it was trained, in training mode, on the device."""
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
    num_skipped: int
    """Clips of the whole run that could not be read, and were left out."""


def fit(
    shards: SampleStore,
    config: FitConfig,
    *,
    run: Path,
    resume: bool,
    device: torch.device,
    progress: Progress,
    notify: Callable[[str], object] = logger.info,
    profile: bool = False,
) -> FitResult:
    """Train a run, or go on with it where the folder holds one of the same settings and data.

    All steps follow from settings and shard set alone. With several ranks, in a `join_ranks`
    context, all of them call it.

    Args:
        shards: The set.
        config: The settings.
        run: The folder.
        resume: There has to be a run.
        device: Of this rank.
        progress: Sees steps and log lines.
        notify: Is told, in a line, what a person should know before the first step.
        profile: Record a few steps into the folder.

    Raises:
        DataError: The shard set does not have what the method needs.
        RunError: The folder cannot be used, or holds another run than the one asked for.
        TrainingError: A loss is not finite.
    """
    prepared = together(lambda: _prepare(shards, config, run=run, resume=resume, notify=notify))
    check_same(
        {
            "the shard set with fingerprint": prepared.data.fingerprint[:12],
            "the order of samples with fingerprint": stream_fingerprint(prepared.plan)[:12],
            "the settings with hash": _hash(config.model_dump_json().encode()),
        }
    )
    with ExitStack() as stack:
        place = take_place(run, prepared.record, resume=resume, stack=stack)
        training = together(
            lambda: _assemble(prepared, config, run=run, device=device, new=not place.checkpoint)
        )
        check_same({"first weights with hash": _weights_hash(training)})
        view = training.method.train_view(
            shards, prepared.data.table, seed=config.seed, pin_memory=device.type == "cuda"
        )
        if place.checkpoint is None:
            state = TrainState()
            if rank() == 0:
                notify(str(measure_shuffle(prepared.plan)))
            together(lambda: _calibrate(training, view))
        else:
            checkpoint = place.checkpoint
            state = together(lambda: restore(training, checkpoint))
            notify(f"going on after step {state.step} of the run in {run}")
        del place
        return _train(
            training,
            state,
            view,
            prepared.data,
            stack=stack,
            progress=progress,
            notify=notify,
            profile=profile,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Prepared:
    """All that can be checked before anything is written."""

    data: RunData
    plan: StreamPlan
    record: RunRecord
    initial: Initial | None


def _prepare(
    shards: SampleStore,
    config: FitConfig,
    *,
    run: Path,
    resume: bool,
    notify: Callable[[str], object],
) -> _Prepared:
    if config.log.wandb:
        check_wandb()
    old = read_run(run) if resume or holds_run(run) else None
    data = read_run_data(shards, config, notify=notify)
    record = RunRecord(
        config=config,
        shards=shards.location.url,
        dataset_fingerprint=data.fingerprint,
        num_samples=len(data.samples),
        init_sha256=old.init_sha256 if old else None,
        spec=shards.spec,
        software=software_versions(),
    )
    check_place(run, record, resume=resume)
    if config.init is None and (needs_init := config.method_config.needs_init):
        raise RunError(needs_init)
    initial = None
    if config.init is not None and old is None:
        initial = load_initial(Path(config.init), fingerprint=data.fingerprint)
        record = record.model_copy(update={"init_sha256": initial.sha256})
    plan = plan_run(data, config, num_ranks=num_ranks())
    if plan.part_size < 2:
        raise DataError(
            f"data.batch_size={plan.batch_size} on {plan.num_ranks} ranks in {plan.num_parts} "
            "parts is one clip at a time; batch normalization needs 2 or more: raise "
            "data.batch_size, or lower optim.accumulate"
        )
    return _Prepared(data=data, plan=plan, record=record, initial=initial)


def _assemble(
    prepared: _Prepared, config: FitConfig, *, run: Path, device: torch.device, new: bool
) -> Training:
    data, plan = prepared.data, prepared.plan
    method = config.method_config.build(
        MethodFacts(
            spec=data.shards.spec,
            where=data.where,
            trained_sources=data.sources,
            seed=config.seed,
            device=device,
        )
    )
    if config.init is not None and new:
        initial = prepared.initial or load_initial(Path(config.init), fingerprint=data.fingerprint)
        if initial.sha256 != prepared.record.init_sha256:
            raise RunError(
                f"{run} was to start from other weights than {config.init} holds now; give "
                "another --out"
            )
        method.start_from(initial.state)
    set_up_compute(method.networks(), config.compute, device)
    num_steps = plan.num_steps(config.schedule.epochs)
    return Training(
        run=run,
        config=config,
        plan=plan,
        num_steps=min(num_steps, config.schedule.max_steps or num_steps),
        dataset_fingerprint=data.fingerprint,
        keys=data.table.keys,
        device=device,
        method=method,
        optimizer=make_optimizer(method, config.optim),
    )


def _train(
    training: Training,
    state: TrainState,
    view: View[Any],
    data: RunData,
    *,
    stack: ExitStack,
    progress: Progress,
    notify: Callable[[str], object],
    profile: bool,
) -> FitResult:
    config, plan = training.config, training.plan
    under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    stop = stack.enter_context(StopRequest(same_s=_SAME_SIGNAL_S if under_torchrun else 0.0))
    notes: Notes = NoJournal()
    watch: Watch = NoWatch()
    if rank() == 0:
        notes = stack.enter_context(
            Journal(
                training.run,
                step=state.step,
                keys=config.log.keys,
                tensorboard=config.log.tensorboard,
                wandb=config.log.wandb,
            )
        )
        if profile:
            watch = stack.enter_context(StepProfiler(training.run, training.device, notify=notify))
    writer = stack.enter_context(CheckpointWriter(training.run, keep=config.checkpoint.keep))
    loader = stack.enter_context(
        BatchLoader(
            view,
            batches(plan, num_seen=state.step * plan.batch_size, rank=rank()),
            num_threads=_num_threads(config),
            prefetch_batches=config.data.prefetch_batches,
            keys=training.keys,
            bad_samples=BadSampleLimit(
                config.data.max_bad_share, keys=training.keys, where=data.where
            ),
        )
    )
    feed = stack.enter_context(DeviceFeed(loader, training.device))
    observers = Observers(notes=notes, progress=progress, watch=watch, writer=writer)
    session = train(training, state, feed, observers, stop=stop)
    writer.wait()
    seconds = max(session.seconds, 1e-9)
    return FitResult(
        method=training.method,
        session=session,
        step=state.step,
        num_steps=training.num_steps,
        epochs=state.step * plan.batch_size / plan.epoch_length,
        samples_per_s=session.num_steps * plan.batch_size / seconds,
        data_wait=session.wait_s / seconds,
        num_skipped=state.num_skipped,
    )


def _calibrate(training: Training, view: View[Any]) -> None:
    """Show the method clips that training never shows: their occurrence is -1."""
    if not training.method.num_calibration_clips:
        return
    plan = replace(training.plan, num_ranks=1, num_parts=1)  # the same clips on every rank
    samples, order = plan.samples, epoch_order(plan, 0).position
    chosen = list(dict.fromkeys(order.tolist()))[: training.method.num_calibration_clips]
    items = [StreamItem(sample=samples[i], epoch=0, occurrence=-1) for i in chosen]
    size = training.plan.part_size
    with BatchLoader(
        view,
        (items[start : start + size] for start in range(0, len(items), size)),
        num_threads=_num_threads(training.config),
        prefetch_batches=training.config.data.prefetch_batches,
        keys=training.keys,
    ) as loader:
        training.method.calibrate(loaded.batch for loaded in loader)


def _num_threads(config: FitConfig) -> int:
    return num_loader_threads(config.data, ranks_here=int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _weights_hash(training: Training) -> str:
    if num_ranks() == 1:
        return ""
    digest = hashlib.sha256()
    for parameter in training.method.parameters():
        digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
