"""The u-net of the separation: the published table, and a plain float64 computation of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from avtrain.models import (
    MultisensoryConfig,
    SeparationUnet,
    SeparationUnetConfig,
    build_multisensory,
)
from avtrain.models.separation_unet import resize_steps

pytestmark = pytest.mark.usefixtures("one_torch_thread")

VIDEO = (64, 128, 512)
SMALL = SeparationUnetConfig(width=2, num_levels=6)


def num_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1


def build(
    config: SeparationUnetConfig, video_channels: tuple[int, int, int] | None
) -> SeparationUnet:
    """A float64 u-net in evaluation; weights are larger than published, that all layers count."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SeparationUnet(config, video_channels=video_channels).double()
        for name, tensor in net.state_dict().items():
            if name.endswith(("running_mean", "bias")):
                tensor.normal_(std=0.2)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("conv.weight"):
                tensor.mul_(10)
    return net.eval()


def test_parameters_are_the_published_numbers() -> None:
    with torch.device("meta"):
        with_video = SeparationUnet(SeparationUnetConfig(), video_channels=VIDEO)
        alone = SeparationUnet(SeparationUnetConfig(), video_channels=None)
        multisensory = build_multisensory(MultisensoryConfig(gamma=True))
    assert num_parameters(with_video) == 77_617_924
    assert num_parameters(alone) == 67_001_092
    assert num_parameters(with_video) + num_parameters(multisensory) == 113_669_445


def test_shapes_are_those_of_the_published_table() -> None:
    seen: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    with torch.device("meta"):
        net = SeparationUnet(SeparationUnetConfig(), video_channels=VIDEO)
        for layer in (*net.encoder, *net.decoder, net.heads):
            layer.register_forward_hook(
                lambda _, inputs, output: seen.append(
                    (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))
                )
            )
        video = (torch.empty(2, 64, 16), torch.empty(2, 128, 16), torch.empty(2, 512, 8))
        on, off = net(torch.empty(2, 2, 128, 1024), video)
    assert on.shape == off.shape == (2, 2, 128, 1024)
    assert seen == [
        ((2, 128, 1024), (64, 128, 512)),
        ((64, 128, 512), (128, 128, 256)),
        ((128, 128, 256), (256, 64, 128)),
        ((320, 64, 128), (512, 32, 64)),
        ((640, 32, 64), (512, 16, 32)),
        ((1024, 16, 32), (512, 8, 16)),
        ((512, 8, 16), (512, 4, 8)),
        ((512, 4, 8), (512, 2, 4)),
        ((512, 2, 4), (512, 1, 2)),
        ((512, 1, 2), (512, 2, 4)),
        ((1024, 2, 4), (512, 4, 8)),
        ((1024, 4, 8), (512, 8, 16)),
        ((1024, 8, 16), (512, 16, 32)),
        ((1536, 16, 32), (512, 32, 64)),
        ((1152, 32, 64), (256, 64, 128)),
        ((576, 64, 128), (128, 128, 256)),
        ((256, 128, 256), (64, 128, 512)),
        ((128, 128, 512), (4, 128, 1024)),
    ]


def test_interpolation_of_steps_is_that_of_tensorflow_1() -> None:
    steps = torch.tensor([[[0.0, 1.0, 4.0]]])
    expected = [0, 0.5, 1, 2.5, 4, 4]  # at 0, 0.5, 1, 1.5, 2 and behind the last
    assert resize_steps(steps, 6)[0, 0].tolist() == expected
    assert resize_steps(steps, 3)[0, 0].tolist() == [0, 1, 4]
    assert resize_steps(torch.arange(8.0)[None, None], 4)[0, 0].tolist() == [0, 2, 4, 6]
    x = random(2, 3, 16)
    for size in (16, 32, 64, 40, 7):
        places = [i * 16 / size for i in range(size)]
        naive = [
            x[:, :, int(p)] * (1 - p % 1) + x[:, :, min(int(p) + 1, 15)] * (p % 1) for p in places
        ]
        torch.testing.assert_close(resize_steps(x, size), torch.stack(naive, 2))


def plain(net: SeparationUnet, x: Tensor, video: tuple[Tensor, ...] | None) -> Tensor:
    """The u-net of six levels from its table: encoder, injection and decoder written out."""
    state = net.state_dict()

    def norm(y: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.norm.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def pads(stride: tuple[int, int]) -> list[int]:  # kernel 4: 1/1 at stride 2, 1/2 at stride 1
        return [1, 3 - stride[1], 1, 3 - stride[0]]

    def back(y: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int]) -> Tensor:
        rows, columns = y.shape[2] * stride[0], y.shape[3] * stride[1]
        full = F.conv_transpose2d(y, weight, bias, stride=stride)
        return full[:, :, 1 : 1 + rows, 1 : 1 + columns]

    strides = [(1, 2), (1, 2), (2, 2), (2, 2), (2, 2), (2, 2)]
    skips = []
    for index, stride in enumerate(strides):
        name = f"encoder.{index}"
        y = F.conv2d(F.pad(x, pads(stride)), state[f"{name}.conv.weight"], stride=stride)
        y = norm(y, name)
        x = torch.where(y > 0, y, 0.2 * y)
        skips.append(y)
        if video is not None and index in (2, 3, 4):
            steps = resize_steps(video[index - 2], x.shape[2])
            x = skips[-1] = torch.cat([x, steps[..., None].repeat(1, 1, 1, x.shape[3])], 1)
    x = skips[5]
    for index in range(5):
        name = f"decoder.{index}"
        y = back(x.clamp(min=0), state[f"{name}.conv.weight"], None, strides[5 - index])
        x = torch.cat([norm(y, name), skips[4 - index]], 1)
    outputs = back(x.clamp(min=0), state["heads.weight"], state["heads.bias"], strides[0])
    return torch.tanh(outputs)


@pytest.mark.parametrize("sees", [False, True])
def test_values_are_those_of_a_plain_computation(sees: bool) -> None:
    channels = (3, 4, 5)
    net = build(SMALL, channels if sees else None)
    spectrogram = random(2, 2, 32, 64)
    video = None
    if sees:
        video = (random(2, 3, 4), random(2, 4, 4, seed=1), random(2, 5, 2, seed=2))
    with torch.no_grad():
        on, off = net(spectrogram, video)
        expected = plain(net, spectrogram, video)
    torch.testing.assert_close(torch.cat([on, off], 1), expected, rtol=1e-9, atol=1e-9)
    assert expected.std() > 0.05 and expected.abs().max() < 1
    bare = build(SMALL.model_copy(update={"activation": "none"}), channels if sees else None)
    bare.load_state_dict(net.state_dict())
    torch.testing.assert_close(torch.tanh(bare(spectrogram, video)[0]), on)


@pytest.mark.parametrize("norm", ["renorm", "batch", "group"])
@pytest.mark.parametrize("num_levels", [5, 7])
def test_other_sizes_and_normalizations_train(norm: str, num_levels: int) -> None:
    config = SeparationUnetConfig(width=4, num_levels=num_levels, norm=norm)
    net = SeparationUnet(config, video_channels=(2, 2, 2))
    frames, bins = 2 * config.frame_multiple, config.bin_multiple
    assert (frames, bins) == ((16, 32) if num_levels == 5 else (64, 128))
    video = tuple(random(2, 2, 4, seed=k).float() for k in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        on, off = net(random(2, 2, frames, bins).float(), video)
    assert on.shape == off.shape == (2, 2, frames, bins)
    (on.float().square().mean() + off.float().mean()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_initial_weights_are_as_published() -> None:
    net = SeparationUnet(SeparationUnetConfig(width=32, num_levels=6), video_channels=None)
    weights = torch.cat([p.flatten() for n, p in net.named_parameters() if "conv.weight" in n])
    scales = torch.cat([p for n, p in net.named_parameters() if "norm.weight" in n])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert weights.mean().abs() < 1e-4
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)
    assert scales.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.all(net.heads.bias == 0)


def test_wrong_inputs_are_refused() -> None:
    net, alone = build(SMALL, (3, 4, 5)), build(SMALL, None)
    good = random(2, 2, 32, 64)
    video = (random(2, 3, 4), random(2, 4, 4), random(2, 5, 2))
    text = r"t a multiple of 16 and f of 64 for num_levels=6, got shape \(2, 2, 24, 64\); take"
    with pytest.raises(ValueError, match=text):
        alone(good[:, :, :24])
    for wrong in (good[..., :63], good[:, :1], good[0]):
        with pytest.raises(ValueError, match="the spectrogram must be"):
            alone(wrong)
    with pytest.raises(ValueError, match="this u-net only hears"):
        alone(good, video)
    text = r"\(b, c\) are \[\(2, 3\), \(2, 4\), \(2, 5\)\], got "
    with pytest.raises(ValueError, match=text + "None"):
        net(good)
    with pytest.raises(ValueError, match=text + r"\[\(2, 3\), \(2, 4\)\]"):
        net(good, video[:2])
    with pytest.raises(ValueError, match=text + r"\[\(2, 3\), \(2, 3\), \(2, 5\)\]"):
        net(good, (video[0], video[0], video[2]))
    with pytest.raises(ValidationError, match="greater than or equal to 5"):
        SeparationUnetConfig(num_levels=4)
