"""The training loop. It knows the `Method` interface, never a method.

With several ranks all of them run it side by side: they make the same decisions at the same steps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from avtrain.data.sample_generator import step_seed
from avtrain.data.stream import StreamPlan
from avtrain.engine.bottleneck import LoadWatch
from avtrain.engine.checkpoint import Checkpoint
from avtrain.engine.checkpoint_writer import CheckpointWriter
from avtrain.engine.config import FitConfig
from avtrain.engine.decide import Decision, EndReason, decide
from avtrain.engine.feed import Feed
from avtrain.engine.journal import LogLine
from avtrain.engine.loss_window import LossWindow
from avtrain.engine.optim import learning_rate, load_optimizer, set_rate
from avtrain.engine.ranks import gather_from_ranks
from avtrain.engine.step import TrainStep
from avtrain.engine.stop_request import StopRequest
from avtrain.methods import Method, StepFacts
from avtrain.objectives.across_ranks import rank


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What one call of `train` did."""

    reason: EndReason
    signal_number: int | None
    """The signal that stopped it, if one did."""
    num_steps: int
    loss: float | None
    """Mean over the last log interval, whole or not; None where no step was made."""
    seconds: float
    wait_s: float
    """Part of the seconds in which steps waited for data."""
    advice: str | None
    """What holds the data up, if steps waited for it."""


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


class Notes(Protocol):
    """Who writes down what happens."""

    def write(self, line: LogLine) -> None:
        """Append a log line."""
        ...

    def write_keys(self, step: int, keys: list[str]) -> None:
        """Note the samples of a step."""
        ...

    def flush(self) -> None:
        """Hand everything to the operating system."""
        ...


class Watch(Protocol):
    """Who looks into single steps, as a profiler does."""

    def step(self, step: int) -> None:
        """A step is made."""
        ...


@dataclass(kw_only=True, slots=True)
class TrainState:
    """What changes from step to step, beside the method and the optimizer."""

    step: int = 0
    seconds: float = 0.0
    """Training time of all sessions."""
    window: LossWindow = field(default_factory=LossWindow)
    """Losses since the last log line."""
    num_skipped: int = 0
    """Clips of all ranks that could not be read."""
    saved_step: int = -1
    """Step of the checkpoint that holds this state, if one does."""


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Observers:
    """Everyone who is told of steps; on ranks but the first they do nothing."""

    notes: Notes
    progress: Progress
    watch: Watch
    writer: CheckpointWriter


def train(
    training: Training,
    state: TrainState,
    feed: Feed,
    observers: Observers,
    *,
    stop: StopRequest,
    clock: Callable[[], float] = time.perf_counter,
) -> Session:
    """Make steps until the schedule, the time or a signal ends them; then save a checkpoint.

    Raises:
        TrainingError: A loss is not finite; the text has the keys of its batch.
    """
    config, method, plan = training.config, training.method, training.plan
    optimizer, accumulate = training.optimizer, config.optim.accumulate
    make_step = TrainStep(method, optimizer, config, training.device)
    generator = torch.Generator(device=training.device)
    load = LoadWatch(feed, num_skipped=state.num_skipped)
    start_s = saved_s = logged_s = clock()
    seconds_before, first_step, logged_step = state.seconds, state.step, state.step
    loss: float | None = None
    decision = Decision()
    method.train()
    observers.progress.started(state.step, training.num_steps)

    while state.step < training.num_steps:
        # ---- the next batch, in parts; then all ranks agree to train on it
        now_s = clock()
        state.seconds = seconds_before + now_s - start_s
        decision = decide(
            lambda: [next(feed) for _ in range(accumulate)],
            signal_number=stop.signal_number,
            time_is_over=now_s - start_s >= (config.schedule.max_minutes or float("inf")) * 60,
            save_is_due=now_s - saved_s >= config.checkpoint.every_minutes * 60,
        )
        if decision.reason is not None:
            break
        parts = decision.parts
        keys = [training.keys[item.sample] for part in parts for item in part.items]

        # ---- where training stands
        num_seen = state.step * plan.batch_size
        epochs = num_seen / plan.epoch_length
        set_rate(
            optimizer,
            learning_rate(config.optim, epochs=epochs, total_epochs=config.schedule.epochs),
        )
        method.before_step(
            StepFacts(
                step=state.step,
                epochs=epochs,
                share=state.step / training.num_steps,
                new_epoch=int(epochs) != epoch_before(plan, num_seen),
            )
        )

        # ---- one step
        generator.manual_seed(step_seed(seed=config.seed, step=state.step))
        state.step += 1
        is_logged = state.step % config.log.every_steps == 0
        output, grad_norm = make_step(
            [part.batch for part in parts], generator=generator, measure_norm=is_logged
        )
        for part in parts:
            feed.release(part)
        state.window.add(output, step=state.step, keys=keys)
        state.num_skipped += decision.num_skipped
        if config.log.keys:
            everyone = gather_from_ranks(keys)
            observers.notes.write_keys(state.step, [key for rank in everyone for key in rank])
        observers.progress.stepped(state.step)
        observers.watch.step(state.step)

        # ---- log: the only place that waits for the device, beside checkpoints
        if is_logged:
            terms = state.window.means()
            loss = terms.pop("loss")
            now_s = clock()
            elapsed_s = max(now_s - logged_s, 1e-9)
            num_clips = (state.step - logged_step) * plan.batch_size
            facts = load.since_last(elapsed_s, num_skipped=state.num_skipped)
            line = LogLine(
                step=state.step,
                epoch=int(epochs),
                loss=loss,
                terms=terms,
                lr=optimizer.param_groups[0]["lr"],
                grad_norm=float(grad_norm) if grad_norm is not None else None,
                samples_per_s=num_clips / elapsed_s,
                data_wait=facts.wait_share,
                stage_rates=facts.stage_rates,
                advice=facts.advice,
                num_skipped=facts.num_skipped,
                seconds=seconds_before + now_s - start_s,
            )
            observers.notes.write(line)
            observers.progress.logged(line)
            state.window.clear()
            logged_s, logged_step = now_s, state.step

        # ---- checkpoint
        if decision.save_is_due or state.step % config.checkpoint.every_steps == 0:
            state.seconds = seconds_before + clock() - start_s
            save(training, state, observers)
            saved_s = clock()

    if state.saved_step != state.step:
        save(training, state, observers)
    return Session(
        reason=decision.reason or "finished",
        signal_number=decision.signal_number,
        num_steps=state.step - first_step,
        loss=state.window.means()["loss"] if len(state.window) else loss,
        seconds=state.seconds - seconds_before,
        wait_s=feed.wait_s,
        advice=load.advice(),
    )


def epoch_before(plan: StreamPlan, num_seen: int) -> int:
    """Epoch in which the batch before the one at `num_seen` began; negative before the first."""
    return (num_seen - plan.batch_size) // plan.epoch_length


def save(training: Training, state: TrainState, observers: Observers) -> None:
    """Begin to write a checkpoint, after a check that the losses up to here are finite.

    All ranks take part, since a method may gather what it keeps; rank 0 writes.
    """
    state.window.check_finite()
    observers.notes.flush()
    names, values = state.window.content()
    tensors = training.method.state_dict()
    state.saved_step = state.step
    if rank() != 0:
        return
    observers.writer.save(
        Checkpoint(
            step=state.step,
            num_seen=state.step * training.plan.batch_size,
            seconds=state.seconds,
            method_name=training.config.method,
            dataset_fingerprint=training.dataset_fingerprint,
            method=tensors,
            optimizer=training.optimizer.state_dict(),
            window_names=names,
            window=values,
            num_skipped=state.num_skipped,
        )
    )


def restore(training: Training, checkpoint: Checkpoint) -> TrainState:
    """Load a checkpoint into method and optimizer; returns the state that goes with it."""
    training.method.load_state_dict(checkpoint.method)
    load_optimizer(training.optimizer, checkpoint.optimizer)
    window = LossWindow()
    window.restore(checkpoint.window_names, checkpoint.window.to(training.device))
    return TrainState(
        step=checkpoint.step,
        seconds=checkpoint.seconds,
        window=window,
        num_skipped=checkpoint.num_skipped,
        saved_step=checkpoint.step,
    )
