"""Where the time of a step goes: a trace of a few steps and a table of the operations."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch

PROFILE_NAME = "profile"
_WARM_UP, _RECORDED = 5, 5
"""Steps of a session that are let pass, and that are recorded after them."""
_ROWS = 15


class NoWatch:
    """Does not look."""

    def step(self, step: int) -> None:
        """Nothing."""


class StepProfiler:
    """Records a few steps into RUN/profile; use as a context manager.

    The trace is read by chrome://tracing and ui.perfetto.dev.
    """

    def __init__(self, run: Path, device: torch.device, *, notify: Callable[[str], object]) -> None:
        self._folder, self._notify = run / PROFILE_NAME, notify
        activities = [torch.profiler.ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._sort_by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
        # started by hand: with a schedule of its own it crashes when a run ends before it is over
        self._profiler = torch.profiler.profile(activities=activities, acc_events=True)
        self._num_steps = 0

    def __enter__(self) -> "StepProfiler":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._num_steps >= _WARM_UP + _RECORDED:
            return
        if self._num_steps >= _WARM_UP:
            self._profiler.stop()
        if error is None:
            self._notify(
                f"--profile records steps {_WARM_UP + 1} to {_WARM_UP + _RECORDED} of a session, "
                f"this one had {self._num_steps}: no trace was written"
            )

    def step(self, step: int) -> None:
        """A step is made."""
        self._num_steps += 1
        if self._num_steps == _WARM_UP:
            self._profiler.start()
        elif self._num_steps == _WARM_UP + _RECORDED:
            self._profiler.stop()
            self._write(step)

    def _write(self, step: int) -> None:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"steps-{step - _RECORDED + 1}-to-{step}.json"
        self._profiler.export_chrome_trace(str(path))
        table = self._profiler.key_averages().table(sort_by=self._sort_by, row_limit=_ROWS)
        self._notify(f"{table}\ntrace of {_RECORDED} steps: {path} (open in ui.perfetto.dev)")
