"""One step: parts, clipping, layouts and precision against the plain computation."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from avdata import build_settings
from avtrain.engine.compute import (
    autocast,
    lay_out_channels_last,
    set_up_compute,
    synchronize_batch_norm,
    uses_bf16,
)
from avtrain.engine.config import ComputeConfig, FitConfig
from avtrain.engine.optim import make_optimizer
from avtrain.engine.step import TrainStep
from avtrain.errors import AvtrainError
from avtrain.methods import Method
from avtrain.models import (
    AUDIO_VISUAL_PRESETS,
    MULTISENSORY_PRESETS,
    ProjectionConfig,
    build_audio_visual,
    build_multisensory,
)
from avtrain.objectives import LossOutput

CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Points:
    x: Tensor


class _Regression(Method[_Points, Tensor]):
    """The smallest method: squares of a linear map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 2)

    def prepare(self, batch: _Points, device: torch.device) -> Tensor:
        return batch.x.to(device)

    def networks(self) -> nn.Module:
        return self.net

    def loss(self, inputs: Tensor, *, generator: torch.Generator) -> LossOutput:
        total = self.net(inputs).square().mean()
        return LossOutput(total=total, terms={"square": total.detach()})


def step(settings: list[str], parts: list[Tensor]) -> tuple[_Regression, LossOutput, Tensor | None]:
    method = _Regression()
    config = build_settings(FitConfig, {}, ["optim.lr=0.1", "optim.name=sgd", *settings])
    make = TrainStep(method, make_optimizer(method, config.optim), config, CPU)
    output, norm = make(
        [_Points(part) for part in parts], generator=torch.Generator(), measure_norm=True
    )
    return method, output, norm


def batch() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(3))


def test_parts_add_up_to_the_batch() -> None:
    one, whole, norm = step([], [batch()])
    two, parts, norm_of_parts = step(["optim.accumulate=3"], list(batch().split(2)))
    torch.testing.assert_close(parts.total, whole.total)
    torch.testing.assert_close(parts.terms, whole.terms)
    torch.testing.assert_close(norm, norm_of_parts)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_clipping_shortens_the_step_to_its_length() -> None:
    before = _Regression().net.weight
    free, _, norm = step(["optim.weight_decay=0"], [batch()])
    clipped, _, same_norm = step(["optim.weight_decay=0", "optim.clip_norm=0.01"], [batch()])
    assert norm is not None
    torch.testing.assert_close(norm, same_norm)
    assert norm > 0.01
    moved = (clipped.net.weight - before) / (free.net.weight - before)
    torch.testing.assert_close(moved, (0.01 / norm).expand_as(moved), rtol=1e-3, atol=1e-5)


def test_channels_last_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    heads = ProjectionConfig()  # batch normalization of vectors so alike would magnify rounding
    tiny = AUDIO_VISUAL_PRESETS["tiny"].model_copy(
        update={"video_proj": heads, "audio_proj": heads}
    )
    plain, fast = build_audio_visual(tiny), build_audio_visual(tiny)
    fast.load_state_dict(plain.state_dict())
    lay_out_channels_last(fast)
    assert fast.video_model.conv1[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    video, audio = torch.randn(2, 3, 4, 32, 32), torch.randn(2, 1, 50, 128)
    for a, b in zip(plain(video, audio), fast(video, audio), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_precision_by_device() -> None:
    with autocast(ComputeConfig(), CPU):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(ComputeConfig(precision="bf16"), CPU):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize(
    ("capabilities", "has_it"),
    [({}, False), ({"avx2": True, "avx512_f": True}, False)]
    + [({name: True}, True) for name in ("avx512_bf16", "amx_bf16")],
)
def test_fast_is_bf16_where_the_processor_has_it(
    capabilities: dict[str, bool],
    has_it: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    found = {
        (name, place): uses_bf16(ComputeConfig(precision=name), torch.device(place))
        for name in ("auto", "fast", "bf16", "float32")
        for place in ("cpu", "cuda")
    }
    assert found == {
        ("auto", "cpu"): False,
        ("auto", "cuda"): True,
        ("fast", "cpu"): has_it,
        ("fast", "cuda"): True,
        ("bf16", "cpu"): True,
        ("bf16", "cuda"): True,
        ("float32", "cpu"): False,
        ("float32", "cuda"): False,
    }
    for precision in ("fast", "bf16"):
        caplog.clear()
        torch.set_num_threads(3)
        set_up_compute(nn.Linear(1, 1), ComputeConfig(precision=precision), CPU)
        assert torch.get_num_threads() == (1 if has_it and precision == "fast" else 3)
        warned = "no instructions for bf16" in caplog.text
        assert warned == (precision == "bf16" and not has_it)


def test_sync_batch_norm_of_one_rank_is_batch_norm() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    set_up_compute(net, ComputeConfig(sync_batch_norm=True), CPU)
    assert type(net[1]) is nn.BatchNorm2d


def test_sync_batch_norm_changes_torchs_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    synchronize_batch_norm(net)
    assert type(net[1]) is nn.SyncBatchNorm


@pytest.mark.parametrize("kind", ["renorm", "batch"])
def test_sync_batch_norm_is_refused_where_it_would_change_nothing(kind: str) -> None:
    config = MULTISENSORY_PRESETS["multisensory-tiny"].model_copy(update={"norm": kind})
    with torch.device("meta"):
        net = build_multisensory(config)
    text = r"does not reach \d+ normalizations .* sound.conv1.norm: .* Set .*=false; .*group"
    with pytest.raises(AvtrainError, match=text):
        synchronize_batch_norm(net)
    with torch.device("meta"):
        of_examples = build_multisensory(config.model_copy(update={"norm": "group"}))
    synchronize_batch_norm(of_examples)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_step_does_not_wait_for_the_device() -> None:
    device = torch.device("cuda")
    method = _Regression().to(device)
    config = build_settings(FitConfig, {}, ["optim.clip_norm=1"])
    make = TrainStep(method, make_optimizer(method, config.optim), config, device)
    points, generator = _Points(batch().to(device)), torch.Generator(device=device)
    make([points], generator=generator, measure_norm=False)
    torch.cuda.set_sync_debug_mode("error")
    try:
        make([points], generator=generator, measure_norm=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("layout", ["channels_last=true", "channels_last=false"])
def test_bf16_on_a_cpu_is_near_float32_and_finite(layout: str) -> None:
    losses = {}
    for precision in ("float32", "bf16"):
        settings = [f'precision="{precision}"', "threads=1", layout]
        config = build_settings(ComputeConfig, {}, settings)
        torch.manual_seed(0)
        model = build_audio_visual(AUDIO_VISUAL_PRESETS["tiny"])
        set_up_compute(model, config, CPU)
        assert torch.get_num_threads() == 1
        with autocast(config, CPU):
            video, audio = model(torch.randn(4, 3, 4, 32, 32), torch.randn(4, 1, 24, 32))
        loss = (video.float() - audio.float()).square().mean()
        loss.backward()
        losses[precision] = float(loss.detach())
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all(), name
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.03)
    assert losses["bf16"] != losses["float32"]


@pytest.mark.parametrize("size", [(2, 4, 4), (1, 5, 1), (4, 2, 8), (3, 3, 3)])
@pytest.mark.parametrize("kernel", [(3, 1, 1), (1, 3, 3), (3, 3, 3)])
@pytest.mark.parametrize("layout", ["channels_last=true", "channels_last=false"])
def test_bf16_gradients_of_small_inputs_are_those_of_float32(
    size: tuple[int, int, int], kernel: tuple[int, int, int], layout: str
) -> None:
    torch.manual_seed(0)
    inputs, gradients = torch.randn(4, 16, *size), {}
    net = nn.Conv3d(16, 16, kernel, padding=tuple(side // 2 for side in kernel))
    for precision in ("float32", "bf16"):
        settings = [f'precision="{precision}"', "threads=1", layout]
        config = build_settings(ComputeConfig, {}, settings)
        set_up_compute(net, config, CPU)
        net.zero_grad()
        # memory that nobody has written is not zero by chance
        dirty = [torch.full((1 << power,), float("nan")) for power in range(8, 20) for _ in "ab"]
        del dirty
        with autocast(config, CPU):
            net(inputs).float().square().sum().backward()
        assert net.weight.grad is not None
        gradients[precision] = net.weight.grad.clone()
    scale = float(gradients["float32"].abs().max())
    torch.testing.assert_close(gradients["bf16"], gradients["float32"], rtol=0, atol=0.03 * scale)
