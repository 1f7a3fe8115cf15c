"""Time and memory of a training step of sync, against a plain float32 eager step, in one run.

    python benchmarks/multisensory_step.py [--rounds 10] [--set compute.precision=bf16]

    plain    float32, contiguous weights, torch.optim.SGD as it comes, no TF32
    step     `avtrain`'s TrainStep with the default settings of the device; --checkpoint computes
             V1 and V2_1 again in the backward

On CUDA the published network on its clips: 125x224x224 and 87,588 samples, 5 videos, as on one GPU
of the authors. On a CPU the preset multisensory-tiny: 32x64x64 and 17,067 samples, 8 videos. A step
has two passes, in sync and shifted; the video stem works once. Inputs lie on the device. Both start
from the same weights, and their first losses have to agree: to 1e-3 in float32, to 3e-2 in bf16.

`mib_kept` is what the step of the published network keeps from its forward for its backward, every
tensor that autograd saves, each storage once, without the weights; with and without --checkpoint.
On CUDA it is of the same batch, on a CPU of 2 videos of 32x112x112, a sixteenth of a clip. It does
not count what the backward holds while it computes a part again; on CUDA the peak is measured too.
The CUDA part has never been run by its authors.
"""

import argparse
import json
import os
import platform
import statistics
from dataclasses import dataclass

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line sets it

import torch
from timed_step import Ours, Plain, print_figures, time_in_turn, utilization
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from avdata import AudioSpec, DatasetSpec, VideoSpec, build_settings
from avtrain.engine.compute import autocast, set_up_compute
from avtrain.engine.config import FitConfig
from avtrain.methods import MethodFacts, SyncConfig
from avtrain.methods.sync import Sync, SyncInputs
from avtrain.models import MULTISENSORY_PRESETS, MultisensoryPreset

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is trained."""

    preset: MultisensoryPreset
    clip_frames: int
    fps: float
    crop_px: int
    sample_rate_hz: int
    batch_size: int


SETUPS = {
    "cuda": Setup(
        preset="multisensory",
        clip_frames=125,
        fps=29.97,
        crop_px=224,
        sample_rate_hz=21_000,
        batch_size=5,
    ),
    "cpu": Setup(
        preset="multisensory-tiny",
        clip_frames=32,
        fps=30.0,
        crop_px=64,
        sample_rate_hz=16_000,
        batch_size=8,
    ),
}

KEPT_ON_CPU = Setup(
    preset="multisensory",
    clip_frames=32,
    fps=29.97,
    crop_px=112,
    sample_rate_hz=21_000,
    batch_size=2,
)


class FixedSync(Sync):
    """Sync whose batch is what the network takes."""

    def prepare(self, batch: SyncInputs, device: torch.device) -> SyncInputs:  # type: ignore[override]
        """As it is."""
        return batch


def new_method(setup: Setup, device: torch.device, *, checkpoint: bool) -> FixedSync:
    """The method with weights of seed 0, in training mode."""
    model = MULTISENSORY_PRESETS[setup.preset].model_copy(update={"checkpoint_stem": checkpoint})
    config = SyncConfig.model_validate(
        {
            "model": model,
            "view": {
                "clip_frames": setup.clip_frames,
                "fps": setup.fps,
                "crop_px": setup.crop_px,
                "short_side_px": round(setup.crop_px * 8 / 7),
            },
        }
    )
    spec = DatasetSpec.without_samples(
        ("frames", "audio"),
        video=VideoSpec(fps=setup.fps),
        audio=AudioSpec(sample_rate_hz=setup.sample_rate_hz, layout="stereo"),
        name="random inputs",
    )
    facts = MethodFacts(spec=spec, where="benchmark", trained_sources=None, seed=0, device=device)
    method = FixedSync(config, facts)
    return method.train()


def random_batch(setup: Setup, size: int, device: torch.device) -> SyncInputs:
    """Noise in the ranges of pictures and sound, the same every time."""
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> Tensor:
        return (torch.rand(size, *shape, generator=generator) * 2 - 1).to(device)

    num_samples = round(setup.sample_rate_hz * setup.clip_frames / setup.fps)
    return SyncInputs(
        frames=noise(3, setup.clip_frames, setup.crop_px, setup.crop_px),
        sound=noise(2, 2, num_samples),
        delay_s=torch.tensor([0.0, 3.0], device=device).expand(size, 2),
        valid=torch.ones(size, 2, dtype=torch.bool, device=device),
    )


def kept_mib(
    config: FitConfig, device: torch.device, *, batch_size: int, checkpoint: bool
) -> float:
    """MiB that the forward of a step of the published network keeps for its backward."""
    setup = SETUPS["cuda"] if device.type == "cuda" else KEPT_ON_CPU
    method = new_method(setup, device, checkpoint=checkpoint)
    set_up_compute(method.networks(), config.compute, device)
    size = batch_size if device.type == "cuda" else setup.batch_size
    return kept_bytes(method, random_batch(setup, size, device), config) / MIB


def kept_bytes(method: FixedSync, batch: SyncInputs, config: FitConfig) -> int:
    """Bytes of the tensors that the forward of a step keeps for its backward, without weights."""
    weights = {p.untyped_storage().data_ptr() for p in method.parameters()}
    kept: dict[int, int] = {}
    held: list[Tensor] = []  # else a freed storage's place is taken by the next one

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    device = batch.frames.device
    generator = torch.Generator(device).manual_seed(0)
    hooks = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
    with hooks, autocast(config.compute, device):
        method.loss(batch, generator=generator)
    return sum(kept.values())


def forward_flops(method: FixedSync, batch: SyncInputs) -> int:
    """Floating-point operations of both passes, forward."""
    device = batch.frames.device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        method.loss(batch, generator=torch.Generator(device).manual_seed(0))
    return counter.get_total_flops()


def measure(args: argparse.Namespace) -> dict[str, object]:
    """All figures."""
    cuda = torch.cuda.is_available() and args.device != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    setup = SETUPS[device.type]
    published = ["optim.name=sgd", "optim.lr=1e-2", "optim.decay_vectors=false"]
    config = build_settings(FitConfig, {}, ["method=sync", *published, *args.set])
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    size = args.batch_size or setup.batch_size
    batch = random_batch(setup, size, device)
    plain = Plain(new_method(setup, device, checkpoint=False), config, device)
    ours = Ours(new_method(setup, device, checkpoint=args.checkpoint), config, device)
    times = time_in_turn(plain, ours, batch, rounds=args.rounds)
    step_s = statistics.median(ours.seconds)
    tflops = 3 * forward_flops(ours.method, batch) / step_s / 1e12  # backward is twice the forward
    result: dict[str, object] = {
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "preset": setup.preset,
        "batch_size": size,
        "settings": args.set,
        "checkpoint": args.checkpoint,
        **times,
        "videos_per_s": size / step_s,
        "tflops": tflops,
        "mib_kept": {
            name: kept_mib(config, device, batch_size=size, checkpoint=name != "as it is")
            for name in ("as it is", "checkpoint")
        },
    }
    if cuda:
        result["model_flop_utilization"] = utilization(tflops, str(result["device"]))
        result["gib_at_the_peak"] = {
            "plain": plain.activation_bytes / 2**30,
            "step": ours.activation_bytes / 2**30,
        }
    return result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int, help="videos")
    parser.add_argument("--threads", type=int, help="of torch, for both steps")
    parser.add_argument("--checkpoint", action="store_true", help="in the step of the engine")
    parser.add_argument(
        "--set", action="append", default=[], help="as of avtrain fit: compute.precision=bf16"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print_figures(result)


if __name__ == "__main__":
    main()
