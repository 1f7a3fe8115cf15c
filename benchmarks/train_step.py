"""Time of a training step, against a plain float32 eager step of the same model, in one run.

    python benchmarks/train_step.py [--rounds 10] [--set compute.compile=true] [--shards SET]

    plain    float32, contiguous weights, torch.optim.Adam as it comes, no TF32
    step     `avtrain`'s TrainStep with the default settings of the device

On CUDA the published AVID setup: R(2+1)D-18 on 8x224x224, Conv2D-10 on 200x257, 1024 negatives,
banks of 1,784,108 rows. On a CPU the preset `tiny` on 8x64x64 and 100x128, banks of 2000 rows.
Inputs lie on the device: the steps alone are compared; --shards adds a real run for the share of
time in which steps wait for data. Both start from the same weights, and their first losses have to
agree: to 1e-3 in float32, to 3e-2 in bf16. The CUDA part has never been run by its authors.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line sets it

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from avdata import build_settings
from avtrain.engine.compute import set_up_compute
from avtrain.engine.config import FitConfig
from avtrain.engine.optim import make_optimizer
from avtrain.engine.step import TrainStep
from avtrain.methods import Method
from avtrain.models import AUDIO_VISUAL_PRESETS, build_audio_visual
from avtrain.objectives import AVIDCriterion, AVIDCriterionConfig, LossOutput

TARGETS = {"cpu": 1.3, "cuda": 4.0}
TOLERANCE = {False: 1e-3, True: 3e-2}
"""Largest relative difference of the first losses, by whether the step is bf16."""
COMPARED_LOSSES = 3
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
"""Dense bf16, from the vendor's data sheets."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is trained."""

    preset: str
    video: tuple[int, ...]
    audio: tuple[int, ...]
    num_rows: int
    batch_size: int


CUDA_SETUP = Setup(
    preset="avid-r2plus1d-18",
    video=(3, 8, 224, 224),
    audio=(1, 200, 257),
    num_rows=1_784_108,
    batch_size=64,
)
CPU_SETUPS = {
    "tiny": Setup(
        preset="tiny", video=(3, 8, 64, 64), audio=(1, 100, 128), num_rows=2000, batch_size=32
    ),
    "avid-small": Setup(
        preset="avid-small",
        video=(3, 8, 112, 112),
        audio=(1, 100, 129),
        num_rows=2000,
        batch_size=8,
    ),
}
"""Ours, and the small networks of the paper's ablations."""


class FixedBatch(Method[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]):
    """AVID without views: its batch is what the networks take."""

    def __init__(self, setup: Setup, device: torch.device) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = build_audio_visual(AUDIO_VISUAL_PRESETS[setup.preset])  # type: ignore[index]
        self.criterion = AVIDCriterion(
            AVIDCriterionConfig(),
            num_rows=setup.num_rows,
            dim=128,
            generator=torch.Generator().manual_seed(0),
        )
        self.to(device).train()

    def prepare(
        self, batch: tuple[Tensor, Tensor, Tensor], device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As it is."""
        return batch

    def networks(self) -> nn.Module:
        """Both encoders and heads."""
        return self.model

    def loss(
        self, inputs: tuple[Tensor, Tensor, Tensor], *, generator: torch.Generator
    ) -> LossOutput:
        """AVID."""
        video, audio, index = inputs
        embeddings = self.model(video, audio)
        output: LossOutput = self.criterion(*embeddings, index=index, generator=generator)
        return output


class Subject:
    """Something whose steps are timed."""

    def __init__(self, setup: Setup, config: FitConfig, device: torch.device) -> None:
        self.method, self.device = FixedBatch(setup, device), device
        self.generator = torch.Generator(device=device)
        self.config = config
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.losses: list[float] = []
        self.activation_bytes = 0

    def one(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """A step; returns its loss."""
        raise NotImplementedError

    def flags(self) -> None:
        """Switches that are global to torch."""
        raise NotImplementedError

    def turn(self, batch: tuple[Tensor, Tensor, Tensor], *, timed: bool) -> None:
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

    def __init__(self, setup: Setup, config: FitConfig, device: torch.device) -> None:
        super().__init__(setup, config, device)
        self.optimizer = torch.optim.Adam(
            self.method.parameters(), lr=config.optim.lr, weight_decay=config.optim.weight_decay
        )

    def flags(self) -> None:
        """No TF32."""
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

    def one(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Forward, backward, Adam."""
        self.optimizer.zero_grad()
        output = self.method.loss(batch, generator=self.generator)
        output.total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return output.total.detach()


class Ours(Subject):
    """The step of the engine."""

    def __init__(self, setup: Setup, config: FitConfig, device: torch.device) -> None:
        super().__init__(setup, config, device)
        set_up_compute(self.method.networks(), config.compute, device)
        optimizer = make_optimizer(self.method, config.optim)
        self.step = TrainStep(self.method, optimizer, config, device)

    def flags(self) -> None:
        """As the settings say."""
        torch.set_float32_matmul_precision("high" if self.config.compute.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self.config.compute.tf32

    def one(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """TrainStep."""
        output, _ = self.step([batch], generator=self.generator, measure_norm=False)
        return output.total


def criterion_seconds(subject: Subject, batch: tuple[Tensor, Tensor, Tensor], rounds: int) -> float:
    """Median of the criterion alone: forward, backward to the embeddings, update of the banks."""
    embeddings = [torch.randn(len(batch[2]), 128, device=subject.device) for _ in range(2)]
    seconds = []
    for _ in range(rounds + 2):
        given = [embedding.requires_grad_() for embedding in embeddings]
        if subject.device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        output = subject.method.criterion(*given, index=batch[2], generator=subject.generator)
        output.total.backward()
        if subject.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def forward_flops(method: FixedBatch, batch: tuple[Tensor, Tensor, Tensor]) -> int:
    """Floating-point operations of the networks, forward."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        method.model(batch[0][:2], batch[1][:2])  # normalization in training needs two
    return counter.get_total_flops() * len(batch[2]) // 2


def real_run(
    shards: Path, device: torch.device, setup: Setup, *, batch_size: int, steps: int
) -> dict[str, float]:
    """Samples a second and share of waiting of `avtrain fit`, its first log line left out."""
    from avdata import ShardSet
    from avtrain.cli.fit import _NoProgress
    from avtrain.engine.fit import fit

    settings = [f"avid.model={setup.preset}", f"data.batch_size={batch_size}"]
    settings += [f"avid.video.crop_px={setup.video[-1]}", f"schedule.max_steps={steps}"]
    settings += ["schedule.epochs=1e6", "log.every_steps=10", "log.tensorboard=false"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        fit(
            ShardSet(shards),
            build_settings(FitConfig, {}, settings),
            run=run,
            resume=False,
            device=device,
            progress=_NoProgress(),
        )
        lines = [json.loads(text) for text in (run / "log.jsonl").read_text().splitlines()][1:]
    return {
        name: statistics.mean(line[name] for line in lines)
        for name in ("samples_per_s", "data_wait")
    }


def measure(args: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    cuda = torch.cuda.is_available() and args.device != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    setup = CUDA_SETUP if cuda else CPU_SETUPS[args.preset]
    config = build_settings(FitConfig, {}, args.set)
    bf16 = config.compute.precision == "bf16" or (cuda and config.compute.precision == "auto")
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    size = args.batch_size or setup.batch_size
    generator = torch.Generator().manual_seed(1)
    video = torch.randn(size, *setup.video, generator=generator).to(device)
    audio = torch.randn(size, *setup.audio, generator=generator).to(device)
    batch = (video, audio, torch.arange(size, device=device))
    subjects = {"plain": Plain(setup, config, device), "step": Ours(setup, config, device)}
    for subject in subjects.values():
        for _ in range(COMPARED_LOSSES):
            subject.turn(batch, timed=False)
    for _ in range(args.rounds):
        for subject in subjects.values():
            subject.turn(batch, timed=True)
    plain, ours = subjects.values()
    medians = {name: statistics.median(s.seconds) for name, s in subjects.items()}
    differences = [
        abs(a - b) / abs(a)
        for a, b in zip(plain.losses[:COMPARED_LOSSES], ours.losses, strict=False)
    ]
    ratios = [a / b for a, b in zip(plain.seconds, ours.seconds, strict=True)]
    result: dict[str, object] = {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "batch_size": size,
        "settings": args.set,
        "ms_plain": 1e3 * medians["plain"],
        "ms_step": 1e3 * medians["step"],
        "samples_per_s": size / medians["step"],
        "step_over_plain": medians["plain"] / medians["step"],
        "spread": [min(ratios), max(ratios)],
        "processor_time_ratio": statistics.median(plain.cpu_seconds)
        / statistics.median(ours.cpu_seconds),
        "wanted": TARGETS[device.type],
        "largest_difference_of_losses": max(differences),
        "losses_agree": max(differences) <= TOLERANCE[bf16],
        "share_of_bank_work": criterion_seconds(ours, batch, args.rounds) / medians["step"],
    }
    flops = 3 * forward_flops(ours.method, batch)  # backward is twice the forward
    result["tflops"] = flops / medians["step"] / 1e12
    if cuda:
        name = str(result["device"])
        peak = next((t for key, t in PEAK_TFLOPS.items() if key in name), None)
        result["model_flop_utilization"] = flops / medians["step"] / 1e12 / peak if peak else None
        result["gib_of_activations"] = {
            name: subject.activation_bytes / 2**30 for name, subject in subjects.items()
        }
        result["gib_of_banks"] = 2 * setup.num_rows * 128 * 4 / 2**30
    if args.shards is not None:
        result["real_run"] = real_run(args.shards, device, setup, batch_size=size, steps=args.steps)
    return result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--preset", choices=sorted(CPU_SETUPS), default="tiny", help="on a CPU")
    parser.add_argument("--threads", type=int, help="of torch, for both steps")
    parser.add_argument(
        "--set", action="append", default=[], help="as of avtrain fit: compute.compile=true"
    )
    parser.add_argument("--shards", type=Path, help="also run `avtrain fit` on this set")
    parser.add_argument("--steps", type=int, default=60, help="of that run")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in result.items():
        print(f"{name:30} {value:.4g}" if isinstance(value, float) else f"{name:30} {value}")


if __name__ == "__main__":
    main()
