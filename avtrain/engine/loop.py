"""The training loop. It knows the `Method` interface, never a method."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from avtrain.data.loader import BatchLoader
from avtrain.data.sample_generator import step_seed
from avtrain.data.stream import StreamPlan
from avtrain.engine.checkpoint import Checkpoint, save_checkpoint
from avtrain.engine.config import FitConfig
from avtrain.engine.journal import Journal, LogLine
from avtrain.engine.loss_window import LossWindow
from avtrain.engine.stop_request import StopRequest
from avtrain.methods import Method, StepFacts

EndReason = Literal["finished", "max_minutes", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What one call of `train` did."""

    reason: EndReason
    num_steps: int
    loss: float | None
    """Mean over the last log interval, whole or not; None where no step was made."""
    seconds: float
    wait_s: float
    """Part of the seconds in which steps waited for data."""


class Progress(Protocol):
    """Who wants to see how training goes."""

    def started(self, step: int, num_steps: int) -> None:
        """Training goes on after `step` of `num_steps`."""
        ...

    def stepped(self, step: int) -> None:
        """A step is made."""
        ...

    def logged(self, line: LogLine) -> None:
        """A log line is written."""
        ...


@dataclass(kw_only=True, slots=True)
class TrainState:
    """What changes from step to step, beside the method and the optimizer."""

    step: int = 0
    seconds: float = 0.0
    """Training time of all sessions."""
    window: LossWindow = field(default_factory=LossWindow)
    """Losses since the last log line."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Training:
    """Everything a run is made of."""

    run: Path
    config: FitConfig
    plan: StreamPlan
    num_steps: int
    dataset_fingerprint: str
    keys: list[str]
    """Key of each sample of the shard set."""
    device: torch.device
    method: Method[Any, Any]
    optimizer: torch.optim.Optimizer


def train(
    training: Training,
    state: TrainState,
    loader: BatchLoader[Any],
    *,
    journal: Journal,
    progress: Progress,
    stop: StopRequest,
    clock: Callable[[], float] = time.perf_counter,
) -> Session:
    """Make steps until the schedule, the time or a signal ends them; then save a checkpoint.

    Raises:
        TrainingError: A loss is not finite; the text has the keys of its batch.
    """
    config, method, optimizer = training.config, training.method, training.optimizer
    generator = torch.Generator(device=training.device)
    start_s = saved_s = logged_s = clock()
    seconds_before, waited_s, logged_step, saved_step = state.seconds, 0.0, state.step, -1
    first_step = state.step
    loss: float | None = None
    max_s = (config.schedule.max_minutes or float("inf")) * 60
    every = config.checkpoint
    method.train()
    progress.started(state.step, training.num_steps)

    while True:
        # ---- is it over?
        now_s = clock()
        state.seconds = seconds_before + now_s - start_s
        if state.step >= training.num_steps:
            reason: EndReason = "finished"
            break
        if stop.signal_number is not None:
            reason = "stopped"
            break
        if now_s - start_s >= max_s:
            reason = "max_minutes"
            break

        # ---- the next batch
        loaded = next(loader)
        keys = [training.keys[item.sample] for item in loaded.items]
        num_seen = state.step * training.plan.global_batch_size
        epoch = num_seen // training.plan.epoch_length
        method.before_step(
            StepFacts(
                step=state.step,
                epochs=num_seen / training.plan.epoch_length,
                share=state.step / training.num_steps,
                new_epoch=epoch != epoch_before(training.plan, num_seen),
            )
        )

        # ---- one step
        inputs = method.prepare(loaded.batch, training.device)
        generator.manual_seed(step_seed(seed=config.seed, step=state.step))
        output = method.loss(inputs, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        output.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        state.step += 1
        state.window.add(output, step=state.step, keys=keys)
        journal.write_keys(state.step, keys)
        progress.stepped(state.step)

        # ---- log: the only place that waits for the device, beside checkpoints
        if state.step % config.log.every_steps == 0:
            terms = state.window.means()
            loss = terms.pop("loss")
            now_s = clock()
            elapsed_s = max(now_s - logged_s, 1e-9)
            num_clips = (state.step - logged_step) * training.plan.global_batch_size
            line = LogLine(
                step=state.step,
                epoch=epoch,
                loss=loss,
                terms=terms,
                lr=optimizer.param_groups[0]["lr"],
                samples_per_s=num_clips / elapsed_s,
                data_wait=(loader.wait_s - waited_s) / elapsed_s,
                seconds=seconds_before + now_s - start_s,
            )
            journal.write(line)
            progress.logged(line)
            state.window.clear()
            logged_s, logged_step, waited_s = now_s, state.step, loader.wait_s

        # ---- checkpoint
        now_s = clock()
        if state.step % every.every_steps == 0 or now_s - saved_s >= every.every_minutes * 60:
            state.seconds = seconds_before + now_s - start_s
            save(training, state, journal)
            saved_s, saved_step = clock(), state.step

    if saved_step != state.step:
        save(training, state, journal)
    return Session(
        reason=reason,
        num_steps=state.step - first_step,
        loss=state.window.means()["loss"] if len(state.window) else loss,
        seconds=state.seconds - seconds_before,
        wait_s=loader.wait_s,
    )


def epoch_before(plan: StreamPlan, num_seen: int) -> int:
    """Epoch in which the batch before the one at `num_seen` began; negative before the first."""
    return (num_seen - plan.global_batch_size) // plan.epoch_length


def save(training: Training, state: TrainState, journal: Journal) -> None:
    """Write a checkpoint, after a check that the losses up to here are finite."""
    state.window.check_finite()
    journal.flush()
    names, values = state.window.content()
    save_checkpoint(
        training.run,
        Checkpoint(
            step=state.step,
            num_seen=state.step * training.plan.global_batch_size,
            seconds=state.seconds,
            dataset_fingerprint=training.dataset_fingerprint,
            method=training.method.state_dict(),
            optimizer=training.optimizer.state_dict(),
            window_names=names,
            window=values,
        ),
        keep=training.config.checkpoint.keep,
    )


def restore(training: Training, checkpoint: Checkpoint) -> TrainState:
    """Load a checkpoint into method and optimizer; returns the state that goes with it."""
    training.method.load_state_dict(checkpoint.method)
    training.optimizer.load_state_dict(checkpoint.optimizer)
    window = LossWindow()
    window.restore(checkpoint.window_names, checkpoint.window.to(training.device))
    return TrainState(step=checkpoint.step, seconds=checkpoint.seconds, window=window)
