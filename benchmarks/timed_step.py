"""Steps that are timed in turn: as one writes them first, and as the engine makes them.

Used by `train_step.py` and `multisensory_step.py`.
"""

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from avtrain.engine.compute import set_up_compute, uses_bf16
from avtrain.engine.config import FitConfig
from avtrain.engine.optim import make_optimizer
from avtrain.engine.step import TrainStep
from avtrain.methods import Method

TOLERANCE = {False: 1e-3, True: 3e-2}
"""Largest relative difference of the first losses, by whether the step is bf16."""
COMPARED_LOSSES = 3
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
"""Dense bf16, from the vendor's data sheets."""


class Subject:
    """Something whose steps are timed; its method takes a batch as it is."""

    def __init__(self, method: Method[Any, Any], config: FitConfig, device: torch.device) -> None:
        self.method, self.device = method, device
        self.generator = torch.Generator(device=device)
        self.config = config
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.losses: list[float] = []
        self.activation_bytes = 0

    def one(self, batch: Any) -> Tensor:
        """A step; returns its loss."""
        raise NotImplementedError

    def flags(self) -> None:
        """Switches that are global to torch."""
        raise NotImplementedError

    def turn(self, batch: Any, *, timed: bool) -> None:
        """One step, waited for."""
        self.flags()
        self.generator.manual_seed(len(self.losses))
        before = 0
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        started, cpu_started = time.perf_counter(), time.process_time()
        loss = self.one(batch)
        self.losses.append(float(loss))  # waits for the loss; then for the rest
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            self.activation_bytes = torch.cuda.max_memory_allocated() - before
        if timed:
            self.seconds.append(time.perf_counter() - started)
            self.cpu_seconds.append(time.process_time() - cpu_started)


class Plain(Subject):
    """As one writes it first."""

    def __init__(self, method: Method[Any, Any], config: FitConfig, device: torch.device) -> None:
        super().__init__(method, config, device)
        optim = config.optim
        self.optimizer: torch.optim.Optimizer
        if optim.name == "sgd":
            self.optimizer = torch.optim.SGD(
                method.parameters(),
                lr=optim.lr,
                momentum=optim.momentum,
                weight_decay=optim.weight_decay,
            )
        else:
            self.optimizer = torch.optim.Adam(
                method.parameters(), lr=optim.lr, weight_decay=optim.weight_decay
            )

    def flags(self) -> None:
        """No TF32."""
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

    def one(self, batch: Any) -> Tensor:
        """Forward, backward, update."""
        self.optimizer.zero_grad()
        output = self.method.loss(batch, generator=self.generator)
        output.total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return output.total.detach()


class Ours(Subject):
    """The step of the engine."""

    def __init__(self, method: Method[Any, Any], config: FitConfig, device: torch.device) -> None:
        super().__init__(method, config, device)
        set_up_compute(self.method.networks(), config.compute, device)
        optimizer = make_optimizer(self.method, config.optim)
        self.step = TrainStep(self.method, optimizer, config, device)

    def flags(self) -> None:
        """As the settings say."""
        torch.set_float32_matmul_precision("high" if self.config.compute.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self.config.compute.tf32

    def one(self, batch: Any) -> Tensor:
        """TrainStep."""
        output, _ = self.step([batch], generator=self.generator, measure_norm=False)
        return output.total


def time_in_turn(plain: Plain, step: Ours, batch: Any, *, rounds: int) -> dict[str, object]:
    """Both make a few steps to warm up, then `rounds` in turn; times, ratio and first losses."""
    subjects: tuple[Subject, ...] = (plain, step)
    for subject in subjects:
        for _ in range(COMPARED_LOSSES):
            subject.turn(batch, timed=False)
    for _ in range(rounds):
        for subject in subjects:
            subject.turn(batch, timed=True)
    of_plain, of_step = statistics.median(plain.seconds), statistics.median(step.seconds)
    differences = [
        abs(a - b) / abs(a)
        for a, b in zip(plain.losses[:COMPARED_LOSSES], step.losses, strict=False)
    ]
    ratios = [a / b for a, b in zip(plain.seconds, step.seconds, strict=True)]
    bf16 = uses_bf16(step.config.compute, step.device)
    return {
        "ms_plain": 1e3 * of_plain,
        "ms_step": 1e3 * of_step,
        "step_over_plain": of_plain / of_step,
        "spread": [min(ratios), max(ratios)],
        "processor_time_ratio": statistics.median(plain.cpu_seconds)
        / statistics.median(step.cpu_seconds),
        "largest_difference_of_losses": max(differences),
        "losses_agree": max(differences) <= TOLERANCE[bf16],
    }


def utilization(tflops: float, device_name: str) -> float | None:
    """Share of the peak of the device; None for one that is not listed."""
    peak = next((value for key, value in PEAK_TFLOPS.items() if key in device_name), None)
    return tflops / peak if peak else None


def print_figures(result: dict[str, object]) -> None:
    """One line a figure."""
    for name, value in result.items():
        print(f"{name:30} {value:.4g}" if isinstance(value, float) else f"{name:30} {value}")
