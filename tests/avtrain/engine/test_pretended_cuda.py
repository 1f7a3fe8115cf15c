"""Whole steps of every method on a pretended CUDA device: nothing there meets the host.

What this cannot show is in `pretend_cuda.py`; what it shows no GPU is needed for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pretend_cuda import CUDA, PretendCuda, WrongDeviceError, pretend_cuda

from avdata import ShardSet, build_settings
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.engine.compute import set_up_compute
from avtrain.engine.config import FitConfig
from avtrain.engine.optim import make_optimizer
from avtrain.engine.step import TrainStep
from avtrain.methods import MethodFacts, StepFacts

MakeShardSet = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("one_torch_thread")

PAIRS = ("model=tiny", "criterion.num_negatives=8", "video.crop_px=32", "video.clip_frames=4")
CMA = ("criterion.num_negatives_within=4", "criterion.num_positives=4", "warmup_epochs=1")
SYNC = (
    "model={width=4, blocks_per_stage=1, norm_decay=0.9, sound_strides=[8,4,4,4,2]}",
    *("view.clip_frames=16", "view.fps=16", "view.min_shift_s=0.5"),
    *("view.short_side_px=36", "view.crop_px=32", "offsets.max_s=0.5", "offsets.step_s=0.25"),
)
SEPARATION = (
    "model={width=4, blocks_per_stage=1, norm_decay=0.9}",
    "unet={width=4, num_levels=5, norm_decay=0.9}",
    *("view.clip_frames=8", "view.fps=16", "view.short_side_px=64", "view.crop_px=32"),
    *("spectrogram.window_samples=128", "spectrogram.hop_samples=64"),
    *("spectrogram.fft_samples=128", "spectrogram.num_frames=56"),
)
STEPS = {
    "cross": ("avid", PAIRS),
    "self": ("avid", (*PAIRS, "criterion.mode=self")),
    "joint, cropped on the device": (
        "avid",
        (*PAIRS, "criterion.mode=joint", "video.crop_on=device"),
    ),
    "spectrograms": ("avid", (*PAIRS, "audio.input=spectrogram", "audio.num_bins=129")),
    "masks": ("avid", (*PAIRS, "audio.masks.num_time_masks=1", "audio.masks.num_band_masks=1")),
    "cma": ("cma", (*PAIRS, *CMA)),
    "cma, parity": ("cma", (*PAIRS, *CMA, "criterion.behavior=parity")),
    "xid": ("robust-xid", (*PAIRS, "criterion.weighting=false", "criterion.targets=none")),
    **{
        f"robust-xid, {targets}": (
            "robust-xid",
            (*PAIRS, "warmup_epochs=0.5", f"criterion.targets={targets}"),
        )
        for targets in ("bootstrap", "swapped", "neighbor", "cycle")
    },
    "sync": ("sync", SYNC),
    "sync of offsets": ("sync", (*SYNC, "objective=offset")),
    "sync, computed again": (
        "sync",
        ("model={width=4, blocks_per_stage=1, norm_decay=0.9, checkpoint_stem=true}", *SYNC[1:]),
    ),
    "on-off": ("separation", SEPARATION),
    "on-off+pit": ("separation", (*SEPARATION, "objective=on-off+pit")),
    "pit": ("separation", (*SEPARATION, "objective=pit", "use_video=false")),
    "masks of sound": ("separation", (*SEPARATION, "output=mask", "scale=root")),
}
"""Method and its settings."""


@pytest.fixture(scope="module")
def sets(make_shard_set: MakeShardSet) -> dict[str, Path]:
    """For methods over pairs and sync, and for separation."""
    return {
        "separation": make_shard_set(
            num_clips=12, fields=("frames", "audio"), sample_rate_hz=8000, durations_s=(1.0,)
        ),
        "others": make_shard_set(),
    }


def steps(path: Path, method_name: str, settings: tuple[str, ...], *, num: int) -> PretendCuda:
    """Make steps as the loop does; waits are those of the last one."""
    shards, size = ShardSet(path), 4
    named = tuple(f"{method_name.replace('-', '_')}.{text}" for text in settings)
    config = build_settings(FitConfig, {}, (f"method={method_name}", "optim.clip_norm=1", *named))
    with pretend_cuda() as pretended:
        facts = MethodFacts(
            spec=shards.spec, where="a set", trained_sources=None, seed=0, device=CUDA
        )
        method = config.method_config.build(facts)
        set_up_compute(method.networks(), config.compute, CUDA)
        step = TrainStep(method, make_optimizer(method, config.optim), config, CUDA)
        view = method.train_view(shards, read_sample_table(shards), seed=0, pin_memory=False)
        method.train()
        generator = torch.Generator(device=CUDA)
        for number in range(num):
            batch = view.allocate(size)
            for slot in range(size):
                view.fill(batch, slot, StreamItem(sample=slot, epoch=number, occurrence=0))
            if number == 0 and method.num_calibration_clips:
                method.calibrate([batch])
            at = StepFacts(
                step=number, epochs=float(number), share=number / num, new_epoch=number > 0
            )
            method.before_step(at)
            generator.manual_seed(number)
            moved = batch.to(CUDA)
            pretended.waits.clear()
            output, norm = step([moved], generator=generator, measure_norm=True)
        made = [output.total, *output.terms.values(), *output.metrics.values(), norm]
        assert all(value is not None and value.is_cuda for value in made)
        kept = [*method.parameters(), *method.buffers()]
        assert all(value.is_cuda for value in kept)
        waits = list(pretended.waits)
        assert torch.isfinite(output.total)
    pretended.waits = waits
    return pretended


@pytest.mark.parametrize("name", STEPS)
def test_a_step_stays_on_the_device_and_does_not_wait(sets: dict[str, Path], name: str) -> None:
    method, settings = STEPS[name]
    path = sets.get(method, sets["others"])
    assert steps(path, method, settings, num=3).waits == []


def test_the_pretended_device_refuses_what_a_device_refuses() -> None:
    with pretend_cuda() as pretended:
        there, here = torch.zeros(2, 3, device="cuda"), torch.zeros(2, 3)
        assert there.device == CUDA
        assert there.t()[0].is_cuda
        assert not here.is_cuda
        for work in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: torch.nn.functional.linear(there, here),
            lambda: torch.where(there > 0, there, here),
            there.numpy,
            lambda: torch.rand(2, device="cuda", generator=torch.Generator()),
            lambda: torch.rand(2, generator=torch.Generator(device="cuda")),
        ):
            with pytest.raises(WrongDeviceError):
                work()
        assert pretended.waits == []
        assert (there + torch.tensor(1.0)).is_cuda
        there[torch.tensor([0])] = 1.0
        float(there.sum())
        assert there.cpu().numpy().shape == (2, 3)
        there[there > 0] = 2.0
        here.to("cuda", non_blocking=True)
        here.to("cuda")
    kinds = [wait.partition(":")[0] for wait in pretended.waits]
    assert kinds == [
        "indices of the host",
        "reads a value",
        "a copy from the device",
        "a mask as an index",
        "a copy to the device",
    ]


def test_a_gradient_of_the_device_reaches_its_parameters() -> None:
    with pretend_cuda() as pretended:
        net = torch.nn.Linear(3, 2).to(CUDA)
        net(torch.randn(4, 3, device=CUDA)).square().sum().backward()
        assert net.weight.grad is not None
        assert net.weight.grad.is_cuda
        torch.optim.Adam(net.parameters(), fused=True).step()
        with pytest.raises(WrongDeviceError, match=r"mm.* of tensors on the host and on the dev"):
            net(torch.randn(4, 3))
    assert pretended.any_there(list(net.parameters()))
